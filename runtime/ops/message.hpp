// SPDX-License-Identifier: MIT
// Messages: bytes from or into several places, with an address and control data beside them.
//
// For datagrams, and for what only control data can tell or carry: descriptors, credentials, timestamps. How that is
// read and written: ops/control.hpp. Bytes alone: ops/socket.hpp.
#pragma once

#include <gyre/runtime/fd_ref.hpp>
#include <gyre/runtime/operation.hpp>
#include <gyre/runtime/ops/control.hpp>
#include <gyre/runtime/unique_fd.hpp>

#include <sys/socket.h>
#include <sys/uio.h>

#include <cstddef>
#include <cstdint>
#include <new>
#include <span>
#include <vector>

namespace gyre::ops {

/// What the kernel does first with a transfer on a socket.
enum class first_step : std::uint8_t {
  transfer,  ///< Tries, and waits where that comes to nothing.
  poll       ///< Waits: for a socket that is known to have nothing, or no room. IORING_RECVSEND_POLL_FIRST.
};

/// What is sent. All that it refers to stays until the operation has ended.
struct outgoing_message {
  std::span<const ::iovec> parts = {};      ///< One after another; at most IOV_MAX, which is 1024.
  const ::sockaddr* to = nullptr;           ///< Where to; null where the socket is connected.
  ::socklen_t to_size = 0;                  ///< Of `to`.
  std::span<const std::byte> control = {};  ///< As control_item makes it, or several of them in a row: cmsg(3).
};

/// The same in the words of sendmsg(2).
[[nodiscard]] ::msghdr header_of(const outgoing_message& message) noexcept;

/// Where a message lands that is received. All that it refers to stays until the operation has ended.
struct incoming_message {
  std::span<const ::iovec> parts = {};  ///< Filled one after another; at most IOV_MAX, which is 1024.
  ::sockaddr_storage* from = nullptr;   ///< The sender's address; null where it is not wanted.
  std::span<std::byte> control = {};    ///< Control data; empty where none is wanted. Aligned as a ::cmsghdr.
};

/// What was received.
struct received_message {
  std::size_t bytes = 0;                    ///< In the parts; with MSG_TRUNC asked for, how long the datagram was.
  ::socklen_t from_size = 0;                ///< Of the sender's address; 0: it has none.
  std::span<const std::byte> control = {};  ///< What is there of incoming_message::control: see control_value().
  int flags = 0;                            ///< MSG_TRUNC, MSG_CTRUNC, MSG_EOR, MSG_ERRQUEUE.
  std::vector<unique_fd> descriptors;       ///< What came by SCM_RIGHTS, close-on-exec.
};

/// Sends a message.
///
/// @param message  See outgoing_message; the struct itself is copied.
/// @param flags    MSG_* of sendmsg(2); MSG_NOSIGNAL is added.
/// @param first    Poll where the socket is known to have no room.
/// @return        Bytes that the socket took: all of a datagram, maybe fewer of a stream.
/// @errors        message_size         too long for one datagram; more than IOV_MAX parts
///                invalid_argument     control data that is none
///                bad_file_descriptor  the socket, or one of those in SCM_RIGHTS
///                broken_pipe, connection_reset, destination_address_required, …: sendmsg(2)
/// @cancellation  What the socket took is reported, never lost.
/// @limits        As write(2): 0x7fff'f000 bytes.
/// @source        io_uring_prep_sendmsg(3); sendmsg(2), cmsg(3). Linux 5.3.
class [[nodiscard]] sendmsg final : public operation_of<sendmsg, std::size_t> {
 public:
  explicit sendmsg(fd_ref socket, const outgoing_message& message, int flags = 0,
                   first_step first = first_step::transfer) noexcept;

 private:
  friend operation_of;
  static const operation_kind opcode;
  static void prepare(operation& self, io_uring_sqe& sqe) noexcept;
  fd_ref socket_;
  int flags_;
  first_step first_;
  ::msghdr header_;
};

/// Receives a message.
///
/// @param message  See incoming_message; the struct itself is copied.
/// @param flags    MSG_* of recvmsg(2); MSG_CMSG_CLOEXEC is added.
/// @param first    Poll where the socket is known to have nothing.
/// @return        What came; 0 bytes of a stream: the peer has shut down its side. Descriptors that came with it are
///                owned by it: those that nobody takes are closed.
/// @errors        message_size       more than IOV_MAX parts
///                not_enough_memory  for the descriptors that came, which are then closed; std::bad_alloc where it is
///                                   awaited without as_result()
///                connection_reset, not_connected, …: recvmsg(2)
/// @cancellation  Safe: a message is delivered, or stays in the socket.
/// @limits        As read(2): 0x7fff'f000 bytes. What does not fit is lost of a datagram, and of control data:
///                flags says so.
/// @source        io_uring_prep_recvmsg(3); recvmsg(2), cmsg(3). Linux 5.3.
class [[nodiscard]] recvmsg final : public operation_of<recvmsg, received_message> {
 public:
  explicit recvmsg(fd_ref socket, const incoming_message& message, int flags = 0,
                   first_step first = first_step::transfer) noexcept;

  [[nodiscard]] result<received_message> await_result() {
    try {
      return operation_of::await_result();
    } catch (const std::bad_alloc&) {
      return std::make_error_code(std::errc::not_enough_memory);
    }
  }

 private:
  friend operation_of;
  static const operation_kind opcode;
  static void prepare(operation& self, io_uring_sqe& sqe) noexcept;
  [[nodiscard]] received_message value();
  fd_ref socket_;
  int flags_;
  first_step first_;
  ::msghdr header_;
};

}  // namespace gyre::ops
