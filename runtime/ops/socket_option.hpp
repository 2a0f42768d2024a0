// SPDX-License-Identifier: MIT
// What a socket can be asked and told: options, and how many bytes wait in it.
//
// The system calls do the same without a trip through the ring, and never block. These are for sockets that have no
// number to call with, which are direct descriptors, and for what is to go with the operations of the same turn.
#pragma once

#include <gyre/runtime/fd_ref.hpp>
#include <gyre/runtime/operation.hpp>

#include <sys/socket.h>

#include <array>
#include <concepts>
#include <cstddef>
#include <cstring>
#include <span>
#include <type_traits>

namespace gyre::ops {

/// How many bytes could be received now without a wait: SIOCINQ. Of a datagram socket, how long the next one is.
///
/// @errors        operation_not_supported   it is no socket, or none that can tell; before Linux 6.7
///                invalid_argument          it listens
///                bad_file_descriptor
/// @cancellation  Safe: it always completes at once.
/// @source        io_uring_prep_cmd_sock(3), SOCKET_URING_OP_SIOCINQ; tcp(7), udp(7). Linux 6.7.
class [[nodiscard]] socket_bytes_readable final : public operation_of<socket_bytes_readable, std::size_t> {
 public:
  explicit socket_bytes_readable(fd_ref socket) noexcept : operation_of{opcode}, socket_{socket} {}

 private:
  friend operation_of;
  static const operation_kind opcode;
  static void prepare(operation& self, io_uring_sqe& sqe) noexcept;
  fd_ref socket_;
};

/// How many bytes were sent and are still in the socket, unsent or not acknowledged: SIOCOUTQ.
///
/// @errors, @cancellation  As for socket_bytes_readable.
/// @source        io_uring_prep_cmd_sock(3), SOCKET_URING_OP_SIOCOUTQ; tcp(7), udp(7). Linux 6.7.
class [[nodiscard]] socket_bytes_unsent final : public operation_of<socket_bytes_unsent, std::size_t> {
 public:
  explicit socket_bytes_unsent(fd_ref socket) noexcept : operation_of{opcode}, socket_{socket} {}

 private:
  friend operation_of;
  static const operation_kind opcode;
  static void prepare(operation& self, io_uring_sqe& sqe) noexcept;
  fd_ref socket_;
};

/// Tells the value of a socket's option.
///
/// @param level, name  SOL_SOCKET, the only level that the kernel answers so, and SO_*: socket(7).
/// @param value        Where it lands: an object of the type that the man page says, or bytes.
/// @return        How many bytes the value has. Those that there is no room for are not told.
/// @errors        operation_not_supported   another level; it is no socket; before Linux 6.7
///                no_protocol_option        there is no such option
///                bad_file_descriptor
/// @cancellation  Safe: it always completes at once.
/// @source        io_uring_prep_cmd_sock(3), SOCKET_URING_OP_GETSOCKOPT; getsockopt(2). Linux 6.7.
class [[nodiscard]] getsockopt final : public operation_of<getsockopt, std::size_t> {
 public:
  getsockopt(fd_ref socket, int level, int name, std::span<std::byte> value) noexcept
      : operation_of{opcode}, socket_{socket}, level_{level}, name_{name}, value_{value} {}
  template <class T>
    requires std::is_trivially_copyable_v<T> && (!std::convertible_to<T&, std::span<std::byte>>)
  getsockopt(fd_ref socket, int level, int name, T& value) noexcept
      : getsockopt{socket, level, name, std::as_writable_bytes(std::span{&value, 1})} {}

 private:
  friend operation_of;
  static const operation_kind opcode;
  static void prepare(operation& self, io_uring_sqe& sqe) noexcept;
  fd_ref socket_;
  int level_;
  int name_;
  std::span<std::byte> value_;
};

/// Sets an option of a socket.
///
/// @param level, name  SOL_SOCKET and SO_*, IPPROTO_TCP and TCP_*, …: socket(7), tcp(7).
/// @param value        An object of at most 16 bytes, of which it keeps a copy: an int, a bool as int, a ::linger, a
///                     ::timeval. Or bytes, which stay until the operation has ended.
/// @errors        operation_not_supported        it is no socket; before Linux 6.7
///                no_protocol_option             there is no such option
///                invalid_argument               a value of another size
///                operation_not_permitted, …     setsockopt(2)
/// @cancellation  Safe: it always completes at once.
/// @source        io_uring_prep_cmd_sock(3), SOCKET_URING_OP_SETSOCKOPT; setsockopt(2). Linux 6.7.
class [[nodiscard]] setsockopt final : public operation_of<setsockopt, void> {
 public:
  setsockopt(fd_ref socket, int level, int name, std::span<const std::byte> value) noexcept
      : operation_of{opcode}, socket_{socket}, level_{level}, name_{name}, value_{value} {}
  template <class T>
    requires std::is_trivially_copyable_v<T> && (!std::convertible_to<const T&, std::span<const std::byte>>) &&
                 (sizeof(T) <= 16)
  setsockopt(fd_ref socket, int level, int name, const T& value) noexcept
      : operation_of{opcode}, socket_{socket}, level_{level}, name_{name}, own_bytes_{sizeof value} {
    std::memcpy(own_.data(), &value, sizeof value);
  }

 private:
  friend operation_of;
  static const operation_kind opcode;
  static void prepare(operation& self, io_uring_sqe& sqe) noexcept;
  fd_ref socket_;
  int level_;
  int name_;
  std::size_t own_bytes_ = 0;  // of the copy; 0: it is somebody else's
  std::array<std::byte, 16> own_{};
  std::span<const std::byte> value_;
};

}  // namespace gyre::ops
