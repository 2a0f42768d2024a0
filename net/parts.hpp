// SPDX-License-Identifier: MIT
// Bytes in several places that go over a connection as one: what is read is scattered over them, what is written is
// gathered from them, by as few requests as can be.
//
//   const auto parts = net::parts_of(header, body);
//   co_await peer.write_all(parts);
//
// The array of parts is the caller's, as the memory is, and stays until the operation has ended: so it has a name.
#pragma once

#include <gyre/runtime/fd_ref.hpp>
#include <gyre/runtime/operation.hpp>

#include <sys/socket.h>
#include <sys/uio.h>

#include <algorithm>
#include <array>
#include <concepts>
#include <cstddef>
#include <ranges>
#include <span>
#include <string_view>
#include <system_error>
#include <type_traits>
#include <utility>

namespace gyre::net {

/// The most parts that one request takes: IOV_MAX of readv(2).
inline constexpr std::size_t parts_max = 1024;

/// What can be a part of what is written: bytes, or text.
template <class T>
concept part_to_write =
    std::convertible_to<const T&, std::span<const std::byte>> || std::convertible_to<const T&, std::string_view>;

/// Whether its bytes are still there when the expression is over that it stands in: no temporary that owns them.
template <class T>
concept outlives_expression = std::is_lvalue_reference_v<T> || std::ranges::borrowed_range<T>;

/// Bytes or text as a part of what is written.
template <outlives_expression T>
  requires part_to_write<std::remove_cvref_t<T>>
[[nodiscard]] ::iovec part_of(T&& from) noexcept {
  if constexpr (std::convertible_to<const T&, std::span<const std::byte>>) {
    const std::span<const std::byte> bytes = from;
    return {const_cast<std::byte*>(bytes.data()), bytes.size()};  // an iovec knows no const; a write reads only
  } else {
    const std::string_view text = from;
    return {const_cast<char*>(text.data()), text.size()};
  }
}

/// Bytes and texts as the parts of one write, in this order.
template <outlives_expression... T>
  requires(part_to_write<std::remove_cvref_t<T>> && ...)
[[nodiscard]] std::array<::iovec, sizeof...(T)> parts_of(T&&... from) noexcept {
  return {part_of(std::forward<T>(from))...};
}

/// Buffers as the parts of one read, in this order.
template <std::convertible_to<std::span<std::byte>>... T>
[[nodiscard]] std::array<::iovec, sizeof...(T)> room_of(T&&... buffers) noexcept {
  const auto room = [](std::span<std::byte> each) { return ::iovec{each.data(), each.size()}; };
  return {room(buffers)...};
}

/// Receives into several buffers, which are filled one after another: stream_socket::read() of parts.
///
/// @source  io_uring_prep_recvmsg(3); recvmsg(2). Linux 5.3.
class [[nodiscard]] recv_parts final : public operation_of<recv_parts, std::size_t> {
 public:
  recv_parts(fd_ref socket, std::span<const ::iovec> parts) noexcept;

 private:
  friend operation_of;
  static const operation_kind opcode;
  static void prepare(operation& self, io_uring_sqe& sqe) noexcept;
  fd_ref socket_;
  ::msghdr header_;
};

/// Sends some of several parts: stream_socket::write() of parts.
///
/// @source  io_uring_prep_sendmsg(3); sendmsg(2). Linux 5.3.
class [[nodiscard]] send_parts final : public operation_of<send_parts, std::size_t> {
 public:
  send_parts(fd_ref socket, std::span<const ::iovec> parts) noexcept;

 private:
  friend operation_of;
  static const operation_kind opcode;
  static void prepare(operation& self, io_uring_sqe& sqe) noexcept;
  fd_ref socket_;
  ::msghdr header_;
};

/// Sends all of several parts, however many requests that takes: stream_socket::write_all() of parts.
///
/// @source  io_uring_prep_sendmsg(3), MSG_WAITALL. Linux 5.3.
class [[nodiscard]] send_all_parts final : public operation_of<send_all_parts, void> {
 public:
  using gyre_composed = void;  // several requests: no member of a chain

  send_all_parts(fd_ref socket, std::span<const ::iovec> parts) noexcept;

 private:
  friend operation_of;
  static const operation_kind opcode;
  static void prepare(operation& self, io_uring_sqe& sqe) noexcept;
  static bool advance(operation& self) noexcept;
  void value() const noexcept {}
  [[nodiscard]] std::error_code failure() const noexcept;
  [[noreturn]] void fail() const;
  void pass(std::size_t bytes) noexcept;

  fd_ref socket_;
  std::span<const ::iovec> rest_;  // parts of which nothing has gone yet
  ::iovec begun_{};                // the rest of the part before them, if it went half way
  std::size_t sent_bytes_ = 0;
  std::size_t left_bytes_ = 0;
  ::msghdr header_{};
};

}  // namespace gyre::net
