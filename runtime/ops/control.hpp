// SPDX-License-Identifier: MIT
// Control data: what goes with a message beside its bytes, item after item, as cmsg(3) has it.
//
//   cmsghdr | payload | padding   cmsghdr | payload | padding   …
//
// It is read by copies, wherever it lies: no alignment is asked for, and a length that says more than there is ends it.
#pragma once

#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstring>
#include <optional>
#include <span>
#include <type_traits>

namespace gyre::ops {

/// Calls `fn(item, payload)` for each item of control data, in their order. Lengths are what the kernel, or a program,
/// says they are: an item that is shorter than its head, or longer than what is left, is the end.
///
/// @param fn  Takes a `const ::cmsghdr&` and a `std::span<const std::byte>`, which refers to `control`.
template <class Fn>
void for_each_control(std::span<const std::byte> control, Fn fn) {
  while (control.size() >= sizeof(::cmsghdr)) {
    ::cmsghdr item;
    std::memcpy(&item, control.data(), sizeof item);
    if (item.cmsg_len < CMSG_LEN(0) || item.cmsg_len > control.size()) return;
    fn(item, control.subspan(CMSG_LEN(0), item.cmsg_len - CMSG_LEN(0)));
    control = control.subspan(std::min<std::size_t>(CMSG_ALIGN(item.cmsg_len), control.size()));
  }
}

/// Calls `fn(int)` for each descriptor that has come by SCM_RIGHTS. Each is open, and nobody's yet.
template <class Fn>
void for_each_descriptor(std::span<const std::byte> control, Fn fn) {
  for_each_control(control, [&](const ::cmsghdr& item, std::span<const std::byte> payload) {
    if (item.cmsg_level != SOL_SOCKET || item.cmsg_type != SCM_RIGHTS) return;
    for (; payload.size() >= sizeof(int); payload = payload.subspan(sizeof(int))) {
      int fd = -1;
      std::memcpy(&fd, payload.data(), sizeof fd);
      fn(fd);
    }
  });
}

/// One item of control data, to be sent: SCM_RIGHTS, IP_TOS, …
///
/// @tparam T  What it carries, as the man page of its level says: int, std::array<int, 3>, …
template <class T>
  requires std::is_trivially_copyable_v<T>
class control_item {
 public:
  control_item(int level, int type, const T& value) noexcept {
    const ::cmsghdr header{.cmsg_len = CMSG_LEN(sizeof(T)), .cmsg_level = level, .cmsg_type = type};
    std::memcpy(storage_.data(), &header, sizeof header);
    std::memcpy(storage_.data() + CMSG_LEN(0), &value, sizeof value);
  }

  /// For outgoing_message::control. Refers to this item.
  [[nodiscard]] std::span<const std::byte> bytes() const noexcept { return storage_; }

 private:
  alignas(::cmsghdr) std::array<std::byte, CMSG_SPACE(sizeof(T))> storage_{};
};

/// Room for control data that carries a T, and as many more as there are types.
template <class... T>
struct control_room {
  static constexpr std::size_t bytes_count = (CMSG_SPACE(sizeof(T)) + ...);
  alignas(::cmsghdr) std::array<std::byte, bytes_count> storage{};

  /// For incoming_message::control. Refers to this room.
  [[nodiscard]] std::span<std::byte> bytes() noexcept { return storage; }
};

/// What the first item of that sort carries; empty when there is none, or one of less than a T.
template <class T>
  requires std::is_trivially_copyable_v<T>
[[nodiscard]] std::optional<T> control_value(std::span<const std::byte> control, int level, int type) noexcept {
  std::optional<std::span<const std::byte>> found;
  for_each_control(control, [&](const ::cmsghdr& item, std::span<const std::byte> payload) {
    if (!found && item.cmsg_level == level && item.cmsg_type == type) found = payload;
  });
  if (!found || found->size() < sizeof(T)) return std::nullopt;
  T value;
  std::memcpy(&value, found->data(), sizeof value);
  return value;
}

}  // namespace gyre::ops
