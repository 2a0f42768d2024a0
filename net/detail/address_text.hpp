// SPDX-License-Identifier: MIT
// The texts of IPv4 and IPv6 addresses, read to bytes: RFC 4291, 2.2, and RFC 6943 for how little IPv4 may vary.
//
// All of it works at compile time, which inet_pton(3) does not; what the two take for an address is the same.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

namespace gyre::net::detail {

using v4_bytes = std::array<std::uint8_t, 4>;
using v6_bytes = std::array<std::uint8_t, 16>;

/// Of digits alone, at least one, and no more than `most`.
[[nodiscard]] constexpr std::optional<std::uint32_t> parse_number(std::string_view text, std::uint32_t most) noexcept {
  std::uint64_t number = 0;
  for (const char each : text) {
    if (each < '0' || each > '9') return std::nullopt;
    number = number * 10 + static_cast<std::uint64_t>(each - '0');
    if (number > most) return std::nullopt;
  }
  if (text.empty()) return std::nullopt;
  return static_cast<std::uint32_t>(number);
}

/// "192.0.2.1": four numbers, decimal and without zeros before them, which some read as octal.
[[nodiscard]] constexpr std::optional<v4_bytes> parse_v4(std::string_view text) noexcept {
  v4_bytes bytes{};
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    const std::size_t end = i + 1 < bytes.size() ? text.find('.') : text.size();
    if (end == std::string_view::npos) return std::nullopt;
    const std::string_view digits = text.substr(0, end);
    const auto number = parse_number(digits, 255);
    if (!number || (digits.front() == '0' && digits.size() > 1)) return std::nullopt;
    bytes[i] = static_cast<std::uint8_t>(*number);
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return bytes;
}

/// One to four hexadecimal digits.
[[nodiscard]] constexpr std::optional<std::uint16_t> parse_v6_group(std::string_view text) noexcept {
  if (text.empty() || text.size() > 4) return std::nullopt;
  unsigned group = 0;
  for (const char each : text) {
    group <<= 4U;
    if (each >= '0' && each <= '9') group += static_cast<unsigned>(each - '0');
    else if (each >= 'a' && each <= 'f') group += static_cast<unsigned>(each - 'a') + 10;
    else if (each >= 'A' && each <= 'F') group += static_cast<unsigned>(each - 'A') + 10;
    else return std::nullopt;
  }
  return static_cast<std::uint16_t>(group);
}

/// Groups with colons between them: what stands on one side of "::", or the whole address.
struct v6_groups {
  v6_bytes bytes{};
  std::size_t bytes_count = 0;

  /// @param ends_address  The last four bytes may be in the form of IPv4.
  /// @return              Whether it was nothing but groups, or empty.
  constexpr bool read(std::string_view text, bool ends_address) noexcept {
    if (text.empty()) return true;
    for (;;) {
      const std::size_t colon = text.find(':');
      const std::string_view piece = text.substr(0, colon);
      const bool is_last = colon == std::string_view::npos;
      if (is_last && ends_address && piece.find('.') != std::string_view::npos) return append_v4(piece);
      if (!append_group(piece)) return false;
      if (is_last) return true;
      text.remove_prefix(colon + 1);
    }
  }

 private:
  constexpr bool append_group(std::string_view text) noexcept {
    const auto group = parse_v6_group(text);
    if (!group || bytes_count + 2 > bytes.size()) return false;
    bytes[bytes_count++] = static_cast<std::uint8_t>(*group >> 8U);
    bytes[bytes_count++] = static_cast<std::uint8_t>(*group & 0xffU);
    return true;
  }

  constexpr bool append_v4(std::string_view text) noexcept {
    const auto v4 = parse_v4(text);
    if (!v4 || bytes_count + v4->size() > bytes.size()) return false;
    for (const std::uint8_t each : *v4) bytes[bytes_count++] = each;
    return true;
  }
};

/// "2001:db8::1", "::ffff:192.0.2.1". No scope.
[[nodiscard]] constexpr std::optional<v6_bytes> parse_v6(std::string_view text) noexcept {
  v6_groups before;
  const std::size_t gap = text.find("::");
  if (gap == std::string_view::npos) {
    if (!before.read(text, /*ends_address=*/true) || before.bytes_count != before.bytes.size()) return std::nullopt;
    return before.bytes;
  }
  v6_groups after;
  if (!before.read(text.substr(0, gap), /*ends_address=*/false)) return std::nullopt;
  if (!after.read(text.substr(gap + 2), /*ends_address=*/true)) return std::nullopt;
  const std::size_t given = before.bytes_count + after.bytes_count;
  if (given + 2 > after.bytes.size()) return std::nullopt;  // "::" stands for one group at least
  v6_bytes whole = before.bytes;
  for (std::size_t i = 0; i < after.bytes_count; ++i) whole[whole.size() - after.bytes_count + i] = after.bytes[i];
  return whole;
}

/// An endpoint's text in its parts.
struct endpoint_text {
  std::string_view host;
  std::optional<std::string_view> scope{};  ///< What follows '%'.
  std::uint16_t port = 0;
};

/// "[v6%scope]:port", "[v6]", "v4:port", or an address alone, which has no colon or more than one. Whether host and
/// scope are any, is not looked at.
[[nodiscard]] constexpr std::optional<endpoint_text> split_endpoint(std::string_view text,
                                                                    std::uint16_t default_port) noexcept {
  std::string_view host = text;
  std::string_view rest;
  if (text.starts_with('[')) {
    const std::size_t end = text.find(']');
    if (end == std::string_view::npos) return std::nullopt;
    host = text.substr(1, end - 1);
    rest = text.substr(end + 1);
    if (host.find(':') == std::string_view::npos || (!rest.empty() && rest.front() != ':')) return std::nullopt;
  } else if (const std::size_t colon = text.find(':'); colon != std::string_view::npos && colon == text.rfind(':')) {
    host = text.substr(0, colon);
    rest = text.substr(colon);
  }
  endpoint_text parts{.host = host, .port = default_port};
  if (!rest.empty()) {
    const auto port = parse_number(rest.substr(1), 65535);
    if (!port) return std::nullopt;
    parts.port = static_cast<std::uint16_t>(*port);
  }
  if (const std::size_t percent = host.find('%'); percent != std::string_view::npos) {
    parts.host = host.substr(0, percent);
    parts.scope = host.substr(percent + 1);
  }
  return parts;
}

}  // namespace gyre::net::detail
