// SPDX-License-Identifier: MIT
// Where a socket is: an IPv4 or IPv6 address and a port, as text and as the kernel's bytes.
//
// A name in the file system or of this machine alone is another type, unix_address, so that nobody connects a TCP
// socket to a path. Blocks of addresses: address_range.
#pragma once

#include <gyre/net/detail/address_text.hpp>
#include <gyre/runtime/result.hpp>

#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace gyre::net {

/// An IPv4 or IPv6 endpoint. A value: 28 bytes, no allocation.
///
///   constexpr auto dns = net::address::literal("[2001:db8::53]:53");    // looked at by the compiler
///   const auto peer = net::address::parse(argv[1], /*default_port=*/80);
class address {
 public:
  /// The IPv4 wildcard, 0.0.0.0, port 0.
  constexpr address() noexcept = default;

  /// Of the four bytes as they are written: `v4({192, 0, 2, 1}, 80)`.
  [[nodiscard]] static constexpr address v4(const std::array<std::uint8_t, 4>& bytes, std::uint16_t port = 0) noexcept;

  /// Of sixteen bytes, in the order in which they are written.
  ///
  /// @param scope_id  The number of the interface that a link-local address is meant on; 0: none.
  [[nodiscard]] static constexpr address v6(const std::array<std::uint8_t, 16>& bytes, std::uint16_t port = 0,
                                            std::uint32_t scope_id = 0) noexcept;

  /// 127.0.0.1 with a port.
  [[nodiscard]] static constexpr address loopback(std::uint16_t port) noexcept { return v4({127, 0, 0, 1}, port); }

  /// [::1] with a port.
  [[nodiscard]] static constexpr address loopback_v6(std::uint16_t port) noexcept {
    return v6({0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1}, port);
  }

  /// All IPv4 addresses of this machine, 0.0.0.0, with a port.
  [[nodiscard]] static constexpr address any(std::uint16_t port) noexcept { return v4({}, port); }

  /// All addresses of this machine, IPv6 and, where the socket is not IPv6-only, IPv4: [::] with a port.
  [[nodiscard]] static constexpr address any_v6(std::uint16_t port) noexcept { return v6({}, port); }

  /// Reads "127.0.0.1:80", "[::1]:80", "[fe80::1%eth0]:80", and an address alone, whose port is `default_port`. No
  /// names: nothing is looked up but the interface of a scope.
  ///
  /// @return  The address, or errc::invalid_address.
  [[nodiscard]] static result<address> parse(std::string_view text, std::uint16_t default_port = 0);

  /// The same of a text in the program, read by the compiler, which refuses what is no address. A scope is a number
  /// here.
  [[nodiscard]] static consteval address literal(std::string_view text, std::uint16_t default_port = 0);

  /// From what the kernel filled in. The family is AF_INET or AF_INET6; anything else gives errc::invalid_address.
  [[nodiscard]] static result<address> from_kernel(const ::sockaddr_storage& storage) noexcept;

  [[nodiscard]] constexpr bool is_v4() const noexcept { return family() == AF_INET; }
  [[nodiscard]] constexpr bool is_v6() const noexcept { return family() == AF_INET6; }
  [[nodiscard]] constexpr int family() const noexcept { return form_.family; }
  [[nodiscard]] constexpr std::uint16_t port() const noexcept {
    return static_cast<std::uint16_t>(form_.port[0] << 8U | form_.port[1]);
  }

  /// The number of the interface that a link-local address is meant on; 0: none, as for every IPv4 address.
  [[nodiscard]] constexpr std::uint32_t scope_id() const noexcept { return form_.scope_id; }

  /// The address's own bytes, 4 or 16, in the order in which they are written. Refers to this object.
  [[nodiscard]] constexpr std::span<const std::uint8_t> bytes() const noexcept {
    if (is_v4()) return form_.v4;
    return form_.v6;
  }

  /// The same address with another port.
  [[nodiscard]] constexpr address with_port(std::uint16_t port) const noexcept {
    address changed = *this;
    changed.form_.port = in_network_order(port);
    return changed;
  }

  /// The same address on another interface. IPv4 has no scopes, and stays as it is.
  [[nodiscard]] constexpr address with_scope_id(std::uint32_t scope_id) const noexcept {
    address changed = *this;
    if (is_v6()) changed.form_.scope_id = scope_id;
    return changed;
  }

  // What sort of address it is. An IPv4 address in IPv6, ::ffff:a.b.c.d, is what a.b.c.d is: that is where its packets
  // go, and how peers look to a socket that takes both.

  /// All addresses of this machine: 0.0.0.0, ::.
  [[nodiscard]] constexpr bool is_unspecified() const noexcept {
    const address plain = unmapped();
    return std::ranges::all_of(plain.bytes(), [](std::uint8_t each) { return each == 0; });
  }

  /// This machine alone: 127.0.0.0/8, ::1.
  [[nodiscard]] constexpr bool is_loopback() const noexcept {
    const address plain = unmapped();
    return plain.is_v4() ? plain.form_.v4[0] == 127 : plain.form_.v6 == loopback_v6(0).form_.v6;
  }

  /// A group of receivers: 224.0.0.0/4, ff00::/8.
  [[nodiscard]] constexpr bool is_multicast() const noexcept {
    const address plain = unmapped();
    return plain.is_v4() ? plain.form_.v4[0] >> 4U == 0xe : plain.form_.v6[0] == 0xff;
  }

  /// Of one network link, and never routed: 169.254.0.0/16 (RFC 3927), fe80::/10.
  [[nodiscard]] constexpr bool is_link_local() const noexcept {
    const address plain = unmapped();
    if (plain.is_v4()) return plain.form_.v4[0] == 169 && plain.form_.v4[1] == 254;
    return plain.form_.v6[0] == 0xfe && (plain.form_.v6[1] & 0xc0U) == 0x80;
  }

  /// Of one site's own: 10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16 (RFC 1918), fc00::/7 (RFC 4193).
  [[nodiscard]] constexpr bool is_private() const noexcept {
    const address plain = unmapped();
    if (plain.is_v6()) return (plain.form_.v6[0] & 0xfeU) == 0xfc;
    const auto& [first, second, third, fourth] = plain.form_.v4;
    return first == 10 || (first == 172 && second >> 4U == 1) || (first == 192 && second == 168);
  }

  /// An IPv4 address in IPv6: ::ffff:0.0.0.0/96.
  [[nodiscard]] constexpr bool is_v4_mapped() const noexcept {
    constexpr std::array<std::uint8_t, 12> prefix{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
    return is_v6() && std::equal(prefix.begin(), prefix.end(), form_.v6.begin());
  }

  /// The IPv4 address that is_v4_mapped(), with its port; what is none stays as it is.
  [[nodiscard]] constexpr address unmapped() const noexcept {
    if (!is_v4_mapped()) return *this;
    return v4({form_.v6[12], form_.v6[13], form_.v6[14], form_.v6[15]}, port());
  }

  /// An IPv4 address in IPv6, for an IPv6 socket that is to reach it; what is IPv6 stays as it is.
  [[nodiscard]] constexpr address mapped() const noexcept {
    if (is_v6()) return *this;
    const auto& [first, second, third, fourth] = form_.v4;
    return v6({0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, first, second, third, fourth}, port());
  }

  /// "127.0.0.1:80" or "[::1]:80", as parse() reads it; IPv6 in the form of RFC 5952, a scope as its number.
  [[nodiscard]] std::string to_string() const;

  /// The same without the port: "127.0.0.1", "::1".
  [[nodiscard]] std::string host() const;

  /// As the socket calls want it. Valid as long as this object.
  [[nodiscard]] const ::sockaddr* data() const noexcept { return reinterpret_cast<const ::sockaddr*>(&form_); }
  [[nodiscard]] constexpr ::socklen_t size() const noexcept {
    return is_v4() ? sizeof(::sockaddr_in) : sizeof(::sockaddr_in6);
  }

  /// By family, IPv4 first, then the address's bytes, the port, the scope. An IPv4 address and the same in IPv6 are
  /// different ones: compare what is unmapped().
  friend constexpr std::strong_ordering operator<=>(const address& left, const address& right) noexcept {
    if (const auto by_family = left.is_v6() <=> right.is_v6(); by_family != 0) return by_family;
    if (left.is_v4() && left.form_.v4 != right.form_.v4) return left.form_.v4 <=> right.form_.v4;
    if (const auto by_bytes = left.form_.v6 <=> right.form_.v6; by_bytes != 0) return by_bytes;
    if (const auto by_port = left.form_.port <=> right.form_.port; by_port != 0) return by_port;
    return left.scope_id() <=> right.scope_id();
  }
  friend constexpr bool operator==(const address& left, const address& right) noexcept { return (left <=> right) == 0; }

 private:
  // ::sockaddr_in and ::sockaddr_in6 at once: the two agree on where things are, and all but the scope is in network
  // order, so that nothing depends on the machine's. The kernel and who uses data() read it as one of those two, hence
  // the attribute.
  struct [[gnu::may_alias]] kernel_form {
    ::sa_family_t family = AF_INET;
    std::array<std::uint8_t, 2> port{};
    std::array<std::uint8_t, 4> v4{};   // of IPv6: the flow, which the kernel fills in where it was asked to
    std::array<std::uint8_t, 16> v6{};  // of IPv4: zero
    std::uint32_t scope_id = 0;
  };

  static constexpr std::array<std::uint8_t, 2> in_network_order(std::uint16_t port) noexcept {
    return {static_cast<std::uint8_t>(port >> 8U), static_cast<std::uint8_t>(port & 0xffU)};
  }

  kernel_form form_;

  static_assert(sizeof(kernel_form) == sizeof(::sockaddr_in6) && alignof(kernel_form) == alignof(::sockaddr_in6));
  static_assert(offsetof(kernel_form, family) == offsetof(::sockaddr_in, sin_family));
  static_assert(offsetof(kernel_form, family) == offsetof(::sockaddr_in6, sin6_family));
  static_assert(offsetof(kernel_form, port) == offsetof(::sockaddr_in, sin_port));
  static_assert(offsetof(kernel_form, port) == offsetof(::sockaddr_in6, sin6_port));
  static_assert(offsetof(kernel_form, v4) == offsetof(::sockaddr_in, sin_addr));
  static_assert(offsetof(kernel_form, v4) == offsetof(::sockaddr_in6, sin6_flowinfo));
  static_assert(offsetof(kernel_form, v6) == offsetof(::sockaddr_in6, sin6_addr));
  static_assert(offsetof(kernel_form, scope_id) == offsetof(::sockaddr_in6, sin6_scope_id));
};

constexpr address address::v4(const std::array<std::uint8_t, 4>& bytes, std::uint16_t port) noexcept {
  address made;
  made.form_.port = in_network_order(port);
  made.form_.v4 = bytes;
  return made;
}

constexpr address address::v6(const std::array<std::uint8_t, 16>& bytes, std::uint16_t port,
                              std::uint32_t scope_id) noexcept {
  address made;
  made.form_.family = AF_INET6;
  made.form_.port = in_network_order(port);
  made.form_.v6 = bytes;
  made.form_.scope_id = scope_id;
  return made;
}

consteval address address::literal(std::string_view text, std::uint16_t default_port) {
  const auto parts = detail::split_endpoint(text, default_port);
  if (!parts) throw "this text is no address";
  if (const auto bytes = detail::parse_v4(parts->host); bytes && !parts->scope) return v4(*bytes, parts->port);
  const auto bytes = detail::parse_v6(parts->host);
  if (!bytes) throw "this text is no address";
  if (!parts->scope) return v6(*bytes, parts->port);
  const auto scope_id = detail::parse_number(*parts->scope, UINT32_MAX);
  if (!scope_id) throw "an interface's name is no number: address::parse() looks it up";
  return v6(*bytes, parts->port, *scope_id);
}

}  // namespace gyre::net

template <>
struct std::hash<gyre::net::address> {
  std::size_t operator()(const gyre::net::address& hashed) const noexcept;
};
