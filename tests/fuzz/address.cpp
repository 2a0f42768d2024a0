// SPDX-License-Identifier: MIT
// Any bytes as the text of an address: what is taken for one prints so that it reads as the same, and is what
// inet_pton(3) takes for one.
#include <gyre/net/address.hpp>
#include <gyre/net/address_range.hpp>
#include <gyre/net/unix_address.hpp>

#include "fuzz.hpp"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <cstring>
#include <optional>
#include <string>
#include <string_view>

namespace gyre::net {
namespace {

using test::require;

template <class Bytes>
std::optional<Bytes> as_libc_reads_it(int family, std::string_view text) {
  Bytes bytes{};
  if (text.find('\0') != std::string_view::npos) return std::nullopt;
  if (::inet_pton(family, std::string{text}.c_str(), bytes.data()) != 1) return std::nullopt;
  return bytes;
}

void check_host(std::string_view text) {
  require(detail::parse_v4(text) == as_libc_reads_it<detail::v4_bytes>(AF_INET, text));
  require(detail::parse_v6(text) == as_libc_reads_it<detail::v6_bytes>(AF_INET6, text));
}

void check_address(std::string_view text) {
  const auto parsed = address::parse(text, 7);
  if (!parsed) return;
  require(address::parse(parsed->to_string()).value() == *parsed);
  require(address::parse(parsed->host(), parsed->port()).value() == *parsed);
  require(parsed->mapped().unmapped().with_scope_id(0) == parsed->unmapped().with_scope_id(0));

  ::sockaddr_storage storage{};
  std::memcpy(&storage, parsed->data(), parsed->size());
  require(address::from_kernel(storage).value() == *parsed);
}

void check_range(std::string_view text) {
  const auto parsed = address_range::parse(text);
  if (!parsed) return;
  require(address_range::parse(parsed->to_string()).value() == *parsed);
  require(parsed->contains(parsed->first()) && parsed->contains(parsed->last()));
  require(parsed->first() <= parsed->last());
  require(address_range{parsed->last(), parsed->prefix_length()} == *parsed);
}

void check_unix_address(std::string_view text) {
  if (const auto parsed = unix_address::parse(text)) {
    require(unix_address::parse(parsed->to_string()).value() == *parsed);
    ::sockaddr_storage storage{};
    std::memcpy(&storage, parsed->data(), parsed->size());
    require(unix_address::from_kernel(storage, parsed->size()).value() == *parsed);
  }
  if (const auto name = unix_address::abstract(text)) {
    require(name->name() == text);
    require(unix_address::parse(name->to_string()).value() == *name);
  }
  if (const auto path = unix_address::path(text)) {
    require(path->name() == text);
    require(unix_address::parse(path->to_string()).value() == *path);
  }
}

}  // namespace
}  // namespace gyre::net

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text{reinterpret_cast<const char*>(data), size};
  gyre::net::check_host(text);
  gyre::net::check_address(text);
  gyre::net::check_range(text);
  gyre::net::check_unix_address(text);
  return 0;
}
