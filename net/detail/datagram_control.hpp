// SPDX-License-Identifier: MIT
// Control data of datagrams: what the kernel tells beside the bytes, and what it is told.
#pragma once

#include <gyre/net/address.hpp>
#include <gyre/net/datagram.hpp>

#include <sys/socket.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <type_traits>

namespace gyre::net::detail {

/// An address as the kernel wrote it; an IPv4 address that IPv6 has in it is that IPv4 address. Empty: it is none.
[[nodiscard]] std::optional<address> address_in(std::span<const std::byte> name) noexcept;

/// What control data tells.
[[nodiscard]] datagram_facts facts_in(std::span<const std::byte> control) noexcept;

/// What an item carries; zero where it is shorter than that.
template <class T>
  requires std::is_trivially_copyable_v<T>
[[nodiscard]] T value_in(std::span<const std::byte> payload) noexcept {
  T value{};
  if (payload.size() >= sizeof value) std::memcpy(&value, payload.data(), sizeof value);
  return value;
}

/// Items of control data one after another, in memory of somebody else's that has room for them.
class control_writer {
 public:
  explicit control_writer(std::span<std::byte> room) noexcept : room_{room} {}

  template <class T>
    requires std::is_trivially_copyable_v<T>
  void add(int level, int type, const T& value) noexcept {
    const ::cmsghdr header{.cmsg_len = CMSG_LEN(sizeof(T)), .cmsg_level = level, .cmsg_type = type};
    std::memset(room_.data() + used_, 0, CMSG_SPACE(sizeof(T)));
    std::memcpy(room_.data() + used_, &header, sizeof header);
    std::memcpy(room_.data() + used_ + CMSG_LEN(0), &value, sizeof value);
    used_ += CMSG_SPACE(sizeof(T));
  }

  [[nodiscard]] std::size_t bytes_count() const noexcept { return used_; }

 private:
  std::span<std::byte> room_;
  std::size_t used_ = 0;
};

}  // namespace gyre::net::detail
