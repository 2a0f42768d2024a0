// SPDX-License-Identifier: MIT
// Extended attributes, on the kernel: written, read and refused, by path and by descriptor.
#include <gyre/runtime/as_result.hpp>
#include <gyre/runtime/executor.hpp>
#include <gyre/runtime/ops/direct.hpp>
#include <gyre/runtime/ops/xattr.hpp>

#include "../../support/bytes.hpp"
#include "../../support/huge_memory.hpp"
#include "../../support/skip.hpp"
#include "../../support/temp_folder.hpp"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <array>
#include <cstddef>
#include <filesystem>
#include <span>
#include <string>
#include <system_error>

namespace gyre {
namespace {

using namespace test;

constexpr auto no_such_attribute = std::errc::no_message_available;  // ENODATA

// A file in a file system that may know no attributes of users.
struct attributed_file {
  attributed_file() {
    fd.reset(::open(path.c_str(), O_RDWR | O_CLOEXEC));
    has_attributes = ::fsetxattr(fd.get(), "user.probe", "", 0, 0) == 0;
    if (!has_attributes) SAY_SKIPPED("the file system of ", folder.path(), " has no attributes of users");
  }
  temp_folder folder;
  std::string path = folder.file("a", "text");
  unique_fd fd;
  bool has_attributes = false;
};

}  // namespace

TEST_CASE("an attribute that is written by path is read by path, through links") {
  const attributed_file file;
  if (!file.has_attributes) return;
  std::filesystem::create_symlink("a", file.folder.file("link"));
  executor loop;

  loop.run([&]() -> task<> {
    std::array<std::byte, 16> buffer;
    co_await ops::setxattr(file.path.c_str(), "user.comment", bytes_of("a value"));
    const auto link = file.folder.file("link");
    CHECK(co_await ops::getxattr(link.c_str(), "user.comment", buffer) == 7);
    CHECK(text_of(std::span{buffer}.first(7)) == "a value");
    CHECK(co_await ops::getxattr(file.path.c_str(), "user.comment", std::span<std::byte>()) == 7);
    co_await ops::setxattr(link.c_str(), "user.comment", std::span<const std::byte>(), XATTR_REPLACE);
    CHECK(co_await ops::getxattr(file.path.c_str(), "user.comment", buffer) == 0);
  });
}

TEST_CASE("an attribute that is written by descriptor is read by descriptor, plain and direct") {
  const attributed_file file;
  if (!file.has_attributes) return;
  executor loop{{.direct_descriptors = 1}};

  loop.run([&]() -> task<> {
    std::array<std::byte, 16> buffer;
    co_await ops::fsetxattr(file.fd, "user.comment", bytes_of("plain"), XATTR_CREATE);
    CHECK(co_await ops::fgetxattr(file.fd, "user.comment", buffer) == 5);
    CHECK(text_of(std::span{buffer}.first(5)) == "plain");
    const direct_fd direct = co_await ops::to_direct(file.fd);
    CHECK(co_await ops::fgetxattr(direct, "user.comment", buffer) == 5);
    co_await ops::fsetxattr(direct, "user.comment", bytes_of("direct"));
    CHECK(co_await ops::fgetxattr(file.fd, "user.comment", std::span<std::byte>()) == 6);
  });
}

TEST_CASE("what is wrong with an attribute is said") {
  const attributed_file file;
  if (!file.has_attributes) return;
  const auto path_only = unique_fd{::open(file.path.c_str(), O_PATH | O_CLOEXEC)};
  const huge_memory memory{std::size_t{5} << 30};
  const std::string long_name = "user." + std::string(300, 'x');
  executor loop;

  loop.run([&]() -> task<> {
    const char* const path = file.path.c_str();
    std::array<std::byte, 2> small;
    co_await ops::setxattr(path, "user.a", bytes_of("value"));
    const auto range = std::errc::result_out_of_range;
    CHECK((co_await as_result(ops::getxattr(path, "user.a", small))).error() == range);
    CHECK((co_await as_result(ops::fgetxattr(file.fd, "user.a", small))).error() == range);
    CHECK((co_await as_result(ops::getxattr(path, long_name.c_str(), small))).error() == range);
    CHECK((co_await as_result(ops::setxattr(path, long_name.c_str(), small))).error() == range);
    CHECK((co_await as_result(ops::getxattr(path, "user.b", small))).error() == no_such_attribute);
    CHECK((co_await as_result(ops::fgetxattr(file.fd, "user.b", small))).error() == no_such_attribute);
    const auto replaced = co_await as_result(ops::setxattr(path, "user.b", small, XATTR_REPLACE));
    CHECK(replaced.error() == no_such_attribute);
    const auto made = co_await as_result(ops::fsetxattr(file.fd, "user.a", small, XATTR_CREATE));
    CHECK(made.error() == std::errc::file_exists);
    const auto classless = co_await as_result(ops::setxattr(path, "no class", small));
    CHECK(classless.error() == std::errc::operation_not_supported);
    const auto missing = co_await as_result(ops::getxattr("/not/there", "user.a", small));
    CHECK(missing.error() == std::errc::no_such_file_or_directory);
    const auto bad = std::errc::bad_file_descriptor;
    CHECK((co_await as_result(ops::fgetxattr(-1, "user.a", small))).error() == bad);
    CHECK((co_await as_result(ops::fsetxattr(-1, "user.a", small))).error() == bad);
    CHECK((co_await as_result(ops::fgetxattr(path_only, "user.a", small))).error() == bad);
    const auto huge = co_await as_result(ops::setxattr(path, "user.huge", memory.bytes()));
    CHECK(huge.error() == std::errc::argument_list_too_long);
    CHECK(co_await ops::getxattr(path, "user.a", memory.bytes()) == 5);
  });
}

}  // namespace gyre
