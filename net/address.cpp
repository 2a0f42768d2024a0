// SPDX-License-Identifier: MIT
// Addresses to text and back.
#include <gyre/net/address.hpp>
#include <gyre/runtime/error.hpp>

#include <net/if.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <optional>

namespace gyre::net {
namespace {

using detail::v4_bytes;
using detail::v6_bytes;

// The scope of a link-local address: an interface's number or its name.
std::optional<std::uint32_t> find_scope(std::string_view text) {
  if (const auto number = detail::parse_number(text, UINT32_MAX)) return number;
  if (text.find('\0') != std::string_view::npos) return std::nullopt;
  const std::uint32_t number = ::if_nametoindex(std::string{text}.c_str());
  if (number == 0) return std::nullopt;
  return number;
}

std::string text_of_v4(std::span<const std::uint8_t> bytes) {
  std::string text;
  for (const std::uint8_t each : bytes) {
    if (!text.empty()) text += '.';
    text += std::to_string(each);
  }
  return text;
}

using v6_group_values = std::array<std::uint16_t, 8>;

v6_group_values groups_of(std::span<const std::uint8_t> bytes) noexcept {
  v6_group_values groups{};
  for (std::size_t i = 0; i < groups.size(); ++i)
    groups[i] = static_cast<std::uint16_t>(bytes[2 * i] << 8U | bytes[2 * i + 1]);
  return groups;
}

struct group_run {
  std::size_t begin = 0;
  std::size_t length = 0;
};

// RFC 5952, 4.2: "::" stands for the longest run of zeros, of equals the first, and not for a single one.
group_run longest_run_of_zeros(const v6_group_values& groups) noexcept {
  group_run longest;
  group_run current;
  for (std::size_t i = 0; i < groups.size(); ++i) {
    if (groups[i] != 0) current = {.begin = i + 1};
    else if (++current.length > longest.length) longest = current;
  }
  return longest.length > 1 ? longest : group_run{.begin = groups.size()};
}

// RFC 5952, 4.1 and 4.3: no zeros before it, small letters.
void append_group(std::string& text, std::uint16_t group) {
  constexpr std::string_view digits = "0123456789abcdef";
  bool begun = false;
  for (int shift = 12; shift >= 0; shift -= 4) {
    const auto digit = static_cast<std::size_t>(group >> static_cast<unsigned>(shift)) & 0xfU;
    begun = begun || digit != 0 || shift == 0;
    if (begun) text += digits[digit];
  }
}

std::string text_of_v6(std::span<const std::uint8_t> bytes) {
  const auto groups = groups_of(bytes);
  const group_run gap = longest_run_of_zeros(groups);
  std::string text;
  for (std::size_t i = 0; i < groups.size();) {
    if (i == gap.begin) {
      text += "::";
      i += gap.length;
      continue;
    }
    if (!text.empty() && text.back() != ':') text += ':';
    append_group(text, groups[i++]);
  }
  return text;
}

}  // namespace

result<address> address::parse(std::string_view text, std::uint16_t default_port) {
  const auto parts = detail::split_endpoint(text, default_port);
  if (!parts) return make_error_code(errc::invalid_address);
  if (const auto bytes = detail::parse_v4(parts->host); bytes && !parts->scope) return v4(*bytes, parts->port);
  const auto bytes = detail::parse_v6(parts->host);
  if (!bytes) return make_error_code(errc::invalid_address);
  if (!parts->scope) return v6(*bytes, parts->port);
  const auto scope_id = find_scope(*parts->scope);
  if (!scope_id) return make_error_code(errc::invalid_address);
  return v6(*bytes, parts->port, *scope_id);
}

result<address> address::from_kernel(const ::sockaddr_storage& storage) noexcept {
  address made;
  if (storage.ss_family == AF_INET)
    std::memcpy(static_cast<void*>(&made.form_), &storage, offsetof(::sockaddr_in, sin_zero));
  else if (storage.ss_family == AF_INET6) std::memcpy(static_cast<void*>(&made.form_), &storage, sizeof made.form_);
  else return make_error_code(errc::invalid_address);
  return made;
}

std::string address::host() const {
  if (is_v4()) return text_of_v4(bytes());
  // RFC 5952, 5. Other prefixes below which IPv4 addresses are, a network may choose: nobody can tell them.
  std::string text = is_v4_mapped() ? "::ffff:" + text_of_v4(bytes().last(4)) : text_of_v6(bytes());
  if (scope_id() != 0) text += '%' + std::to_string(scope_id());
  return text;
}

std::string address::to_string() const {
  const std::string text = host();
  return (is_v4() ? text : '[' + text + ']') + ':' + std::to_string(port());
}

}  // namespace gyre::net

std::size_t std::hash<gyre::net::address>::operator()(const gyre::net::address& hashed) const noexcept {
  // Length and bytes of the address, its port and its scope, in a row: equal addresses have equal rows.
  std::array<char, 1 + 16 + 2 + 4> row{};
  const auto bytes = hashed.bytes();
  const auto port = hashed.port();
  const auto scope_id = hashed.scope_id();
  row[0] = static_cast<char>(bytes.size());
  std::memcpy(row.data() + 1, bytes.data(), bytes.size());
  std::memcpy(row.data() + 17, &port, sizeof port);
  std::memcpy(row.data() + 19, &scope_id, sizeof scope_id);
  return std::hash<std::string_view>{}({row.data(), row.size()});
}
