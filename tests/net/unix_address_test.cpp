// SPDX-License-Identifier: MIT
// Addresses of Unix sockets: each sort, as text, as the kernel's bytes, and all that is none.
#include <gyre/net/address.hpp>
#include <gyre/net/unix_address.hpp>
#include <gyre/runtime/error.hpp>
#include <gyre/runtime/unique_fd.hpp>

#include "../support/temp_folder.hpp"

#include <doctest/doctest.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <functional>
#include <ostream>
#include <random>
#include <string>
#include <string_view>
#include <system_error>
#include <type_traits>
#include <unordered_set>
#include <vector>

namespace gyre::net {
namespace {

using namespace std::string_literals;
using namespace std::string_view_literals;

unix_address path(std::string_view name) { return unix_address::path(name).value(); }

unix_address abstract(std::string_view name) { return unix_address::abstract(name).value(); }

std::string reprinted(std::string_view text) {
  const auto parsed = unix_address::parse(text);
  return parsed ? parsed->to_string() : "no address";
}

// What the kernel says of a socket that is bound to it.
unix_address as_bound(const unix_address& at) {
  const unique_fd bound{::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)};
  REQUIRE(::bind(bound.get(), at.data(), at.size()) == 0);
  ::sockaddr_storage storage{};
  ::socklen_t size = sizeof storage;
  REQUIRE(::getsockname(bound.get(), reinterpret_cast<::sockaddr*>(&storage), &size) == 0);
  return unix_address::from_kernel(storage, size).value();
}

// A path in a folder that is as long as is said.
std::string path_of_length(const test::temp_folder& folder, std::size_t length) {
  std::string made = folder.path() + '/';
  REQUIRE(made.size() < length);
  return made + std::string(length - made.size(), 'x');
}

}  // namespace

static_assert(!std::is_convertible_v<unix_address, address> && !std::is_convertible_v<address, unix_address>);
static_assert(sizeof(unix_address) == 116 && std::is_trivially_copyable_v<unix_address>);

TEST_CASE("there are three sorts of addresses") {
  const unix_address unnamed;
  const auto file = path("/run/app.sock");
  const auto name = abstract("app");

  CHECK((unnamed.is_unnamed() && !unnamed.is_abstract() && !unnamed.is_path()));
  CHECK((!file.is_unnamed() && !file.is_abstract() && file.is_path()));
  CHECK((!name.is_unnamed() && name.is_abstract() && !name.is_path()));
  CHECK(unnamed.name().empty());
  CHECK(file.name() == "/run/app.sock");
  CHECK(name.name() == "app");
}

TEST_CASE("addresses print as people write them") {
  CHECK(unix_address{}.to_string().empty());
  CHECK(path("/run/app.sock").to_string() == "/run/app.sock");
  CHECK(path("relative name").to_string() == "relative name");
  CHECK(path("/run/gr\xc3\xbc\xc3\x9f.sock").to_string() == "/run/gr\xc3\xbc\xc3\x9f.sock");
  CHECK(abstract("app").to_string() == "@app");
  CHECK(abstract("").to_string() == "@");
}

TEST_CASE("what cannot be printed, or would read as something else, is printed by its number") {
  CHECK(abstract("a\0b"sv).to_string() == R"(@a\x00b)");
  CHECK(abstract("\0"sv).to_string() == R"(@\x00)");
  CHECK(abstract("@twice").to_string() == "@@twice");
  CHECK(path("@not abstract").to_string() == R"(\x40not abstract)");
  CHECK(path("back\\slash\n\x7f").to_string() == R"(back\\slash\x0a\x7f)");
}

TEST_CASE("texts read as the sort of address that they are") {
  CHECK(unix_address::parse("").value() == unix_address{});
  CHECK(unix_address::parse("/run/app.sock").value() == path("/run/app.sock"));
  CHECK(unix_address::parse("app.sock").value() == path("app.sock"));
  CHECK(unix_address::parse("@app").value() == abstract("app"));
  CHECK(unix_address::parse("@").value() == abstract(""));
  CHECK(unix_address::parse(R"(@a\x00\xFF\\b)").value() == abstract("a\0\xff\\b"sv));
  CHECK(unix_address::parse(R"(\x40app)").value() == path("@app"));
  CHECK(unix_address::parse("@raw\0byte"sv).value() == abstract("raw\0byte"sv));
}

TEST_CASE("a text that is no address is refused") {
  for (const auto text : {R"(\)"sv, R"(@\)"sv, R"(@\x)"sv, R"(@\x4)"sv, R"(@\xg0)"sv, R"(@\x0g)"sv, R"(@\n)"sv,
                          R"(/run\x00)"sv, "\0"sv, "/run/\0app"sv}) {
    CAPTURE(text);
    CHECK(unix_address::parse(text).error() == make_error_code(errc::invalid_address));
  }
  CHECK(unix_address::path("").error() == make_error_code(errc::invalid_address));
  CHECK(unix_address::path("a\0b"sv).error() == make_error_code(errc::invalid_address));
}

TEST_CASE("whatever bytes a name has, it prints so that it reads as the same one") {
  std::mt19937_64 random{20260103};
  for (int i = 0; i < 10'000; ++i) {
    std::string name(1 + random() % unix_address::abstract_bytes_max, '\0');
    for (char& each : name) each = static_cast<char>(random() % 4 == 0 ? random() : "@\\x0a"[random() % 5]);
    const auto without_file = abstract(name);
    CHECK(unix_address::parse(without_file.to_string()).value() == without_file);

    std::ranges::replace(name, '\0', '0');
    const auto file = path(name);
    CHECK(unix_address::parse(file.to_string()).value() == file);
    CHECK(file != without_file);
  }
}

TEST_CASE("a name that is too long is told as that") {
  const std::string longest_path(unix_address::path_bytes_max, 'x');
  const std::string longest_name(unix_address::abstract_bytes_max, 'x');

  CHECK(unix_address::path_bytes_max == 108);
  CHECK(path(longest_path).name() == longest_path);
  CHECK(abstract(longest_name).name() == longest_name);
  CHECK(unix_address::path(longest_path + 'x').error() == std::errc::filename_too_long);
  CHECK(unix_address::abstract(longest_name + 'x').error() == std::errc::filename_too_long);
  CHECK(unix_address::parse('@' + longest_name + 'x').error() == std::errc::filename_too_long);
  CHECK(reprinted(longest_path) == longest_path);
  CHECK(reprinted('@' + longest_name) == '@' + longest_name);
}

TEST_CASE("the kernel takes each sort of address for what it is, and says the same of the socket") {
  const test::temp_folder folder;
  const auto unique = folder.path();

  for (const auto& at : {path(folder.file("app.sock")), path(path_of_length(folder, unix_address::path_bytes_max - 1)),
                         path(path_of_length(folder, unix_address::path_bytes_max)), abstract(unique),
                         abstract(unique + "\0with more"s), abstract(unique + '\0')}) {
    CAPTURE(at.to_string());
    CHECK(as_bound(at) == at);
  }
  CHECK(as_bound(unix_address{}).is_abstract());  // unix(7), autobind: the kernel chooses a name
}

TEST_CASE("a socket that is bound to nothing is unnamed") {
  const unique_fd unbound{::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)};
  ::sockaddr_storage storage{};
  ::socklen_t size = sizeof storage;
  REQUIRE(::getsockname(unbound.get(), reinterpret_cast<::sockaddr*>(&storage), &size) == 0);

  CHECK(unix_address::from_kernel(storage, size).value().is_unnamed());
  CHECK(unix_address::from_kernel({}, 0).value().is_unnamed());  // as recvmsg(2) says it of a sender
}

TEST_CASE("an address of another family is none") {
  const auto internet = address::loopback(80);
  ::sockaddr_storage storage{};
  std::memcpy(&storage, internet.data(), internet.size());

  CHECK(unix_address::from_kernel(storage, internet.size()).error() == make_error_code(errc::invalid_address));
}

TEST_CASE("addresses have an order, and can be kept in sets") {
  const std::vector in_order{unix_address{}, abstract(""), abstract("\0"sv), abstract("a"), abstract("a\0"sv),
                             abstract("b"),  path("a"),    path("aa"),       path("b")};
  std::vector<unix_address> shuffled(in_order.rbegin(), in_order.rend());

  std::ranges::sort(shuffled);
  const std::unordered_set<unix_address> hashed{shuffled.begin(), shuffled.end()};

  CHECK((shuffled == in_order));
  CHECK(hashed.size() == in_order.size());
  for (const auto& each : in_order) CHECK(hashed.contains(each));
}

}  // namespace gyre::net
