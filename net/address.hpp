// SPDX-License-Identifier: MIT
// Where a socket is: an IPv4 or IPv6 address and a port, as text and as the kernel's bytes.
#pragma once

#include <gyre/runtime/result.hpp>

#include <netinet/in.h>
#include <sys/socket.h>

#include <compare>
#include <cstdint>
#include <string>
#include <string_view>

namespace gyre::net {

/// An IPv4 or IPv6 endpoint. A value: 28 bytes, no allocation.
class address {
 public:
  /// The IPv4 wildcard, 0.0.0.0, port 0.
  address() noexcept;

  /// 127.0.0.1 with a port.
  [[nodiscard]] static address loopback(std::uint16_t port) noexcept;

  /// All IPv4 addresses of this machine, 0.0.0.0, with a port.
  [[nodiscard]] static address any(std::uint16_t port) noexcept;

  /// All addresses of this machine, IPv6 and, where the socket is not IPv6-only, IPv4: [::] with a port.
  [[nodiscard]] static address any_v6(std::uint16_t port) noexcept;

  /// Reads "127.0.0.1:80", "[::1]:80", "[fe80::1%eth0]:80", and an address alone, whose port is `default_port`. No
  /// names: nothing is looked up but the interface of a scope.
  ///
  /// @return  The address, or errc::invalid_address.
  [[nodiscard]] static result<address> parse(std::string_view text, std::uint16_t default_port = 0);

  /// From what the kernel filled in. The family is AF_INET or AF_INET6; anything else gives errc::invalid_address.
  [[nodiscard]] static result<address> from_kernel(const ::sockaddr_storage& storage) noexcept;

  [[nodiscard]] bool is_v4() const noexcept { return family() == AF_INET; }
  [[nodiscard]] bool is_v6() const noexcept { return family() == AF_INET6; }
  [[nodiscard]] int family() const noexcept { return storage_.v4.sin_family; }
  [[nodiscard]] std::uint16_t port() const noexcept;

  /// The same address with another port.
  [[nodiscard]] address with_port(std::uint16_t port) const noexcept;

  /// "127.0.0.1:80" or "[::1]:80", as parse() reads it; IPv6 in the form of RFC 5952.
  [[nodiscard]] std::string to_string() const;

  /// As the socket calls want it. Valid as long as this object.
  [[nodiscard]] const ::sockaddr* data() const noexcept { return reinterpret_cast<const ::sockaddr*>(&storage_); }
  [[nodiscard]] ::socklen_t size() const noexcept { return is_v4() ? sizeof storage_.v4 : sizeof storage_.v6; }

  friend bool operator==(const address& left, const address& right) noexcept;

 private:
  union {
    ::sockaddr_in v4;
    ::sockaddr_in6 v6;
  } storage_;
};

}  // namespace gyre::net
