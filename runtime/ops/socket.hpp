// SPDX-License-Identifier: MIT
// Operations on sockets. None of them raises SIGPIPE.
//
// accept as a stream of connections: ops/accept_stream.hpp. Typed sockets: net/.
#pragma once

#include <gyre/runtime/fd_ref.hpp>
#include <gyre/runtime/operation.hpp>
#include <gyre/runtime/ops/transfer.hpp>

#include <sys/socket.h>

#include <algorithm>
#include <coroutine>
#include <cstddef>
#include <cstdint>
#include <span>

namespace gyre::ops {

/// Makes a socket.
///
/// @param domain, type, protocol  socket(2)'s; SOCK_CLOEXEC is added.
/// @return        The descriptor. If the coroutine ends before it takes it, it is closed.
/// @errors        address_family_not_supported, protocol_not_supported, too_many_files_open, …: socket(2)
/// @cancellation  Safe: nothing is leaked.
/// @source        io_uring_prep_socket(3); socket(2). Linux 5.19.
class [[nodiscard]] socket final : public operation_of<socket, unique_fd> {
 public:
  socket(int domain, int type, int protocol = 0) noexcept
      : operation_of{opcode}, domain_{domain}, type_{type}, protocol_{protocol} {}

 private:
  friend operation_of;
  static const operation_kind opcode;
  static void prepare(operation& self, io_uring_sqe& sqe) noexcept;
  int domain_;
  int type_;
  int protocol_;
};

/// Takes the next connection of a listening socket.
///
/// @param peer, peer_size  Where the peer's address lands, and its size in and out; null when it is not wanted.
/// @return        The connection's descriptor, close-on-exec. If the coroutine ends before it takes it, it is closed.
/// @errors        too_many_files_open   RLIMIT_NOFILE; the connection stays in the backlog
///                connection_aborted    the peer went away before it was taken: go on
///                invalid_argument      the socket does not listen (any more): shutdown() ends an accept so
/// @cancellation  Safe: a connection is delivered, or stays in the backlog.
/// @source        io_uring_prep_accept(3); accept(2). Linux 5.5.
class [[nodiscard]] accept final : public operation_of<accept, unique_fd> {
 public:
  explicit accept(fd_ref listener, ::sockaddr* peer = nullptr, ::socklen_t* peer_size = nullptr) noexcept
      : operation_of{opcode}, listener_{listener}, peer_{peer}, peer_size_{peer_size} {}

 private:
  friend operation_of;
  static const operation_kind opcode;
  static void prepare(operation& self, io_uring_sqe& sqe) noexcept;
  fd_ref listener_;
  ::sockaddr* peer_;
  ::socklen_t* peer_size_;
};

/// Connects a socket to an address.
///
/// @param address, address_size  Stay until the operation has ended.
/// @errors        connection_refused, timed_out, network_unreachable, …: connect(2)
/// @cancellation  The socket is then neither connected nor free: close it.
/// @limits        To a Unix socket whose backlog is full: Linux 6.18 tries again and again, and no cancel finds the
///                request, so that a stop waits for room. net::unix_stream::connect() goes around that.
/// @source        io_uring_prep_connect(3); connect(2). Linux 5.5.
class [[nodiscard]] connect final : public operation_of<connect, void> {
 public:
  connect(fd_ref socket, const ::sockaddr* address, ::socklen_t address_size) noexcept
      : operation_of{opcode}, socket_{socket}, address_{address}, address_size_{address_size} {}

 private:
  friend operation_of;
  static const operation_kind opcode;
  static void prepare(operation& self, io_uring_sqe& sqe) noexcept;
  fd_ref socket_;
  const ::sockaddr* address_;
  ::socklen_t address_size_;
};

/// Gives a socket its own address.
///
/// @param address, address_size  As for bind(2); the address stays until the operation has ended.
/// @errors        address_in_use, address_not_available, permission_denied, …: bind(2)
///                operation_not_supported   before Linux 6.11
/// @cancellation  Once begun it is done, at once. Where it binds a path, that may wait for the file system.
/// @source        io_uring_prep_bind(3); bind(2). Linux 6.11.
class [[nodiscard]] bind final : public operation_of<bind, void> {
 public:
  bind(fd_ref socket, const ::sockaddr* address, ::socklen_t address_size) noexcept
      : operation_of{opcode}, socket_{socket}, address_{address}, address_size_{address_size} {}

 private:
  friend operation_of;
  static const operation_kind opcode;
  static void prepare(operation& self, io_uring_sqe& sqe) noexcept;
  fd_ref socket_;
  const ::sockaddr* address_;
  ::socklen_t address_size_;
};

/// Has a socket take connections.
///
/// @param backlog  Connections that wait to be accepted; net.core.somaxconn is the most.
/// @errors        address_in_use            another one listens there
///                operation_not_supported   the socket takes no connections; before Linux 6.11
/// @cancellation  Once begun it is done, at once.
/// @source        io_uring_prep_listen(3); listen(2). Linux 6.11.
class [[nodiscard]] listen final : public operation_of<listen, void> {
 public:
  explicit listen(fd_ref socket, int backlog = SOMAXCONN) noexcept
      : operation_of{opcode}, socket_{socket}, backlog_{backlog} {}

 private:
  friend operation_of;
  static const operation_kind opcode;
  static void prepare(operation& self, io_uring_sqe& sqe) noexcept;
  fd_ref socket_;
  int backlog_;
};

/// Receives bytes.
///
/// @param buffer  Where the bytes land. Not empty: nothing could tell an end from an empty read.
/// @param flags   MSG_* of recv(2).
/// @return        Bytes received, at most buffer.size(). 0: the peer has shut down its side.
/// @errors        connection_reset, timed_out (keep-alive), not_connected, …: recv(2)
/// @cancellation  Safe: bytes are delivered, or stay in the socket. With MSG_WAITALL a part may be delivered.
/// @limits        As read(2): 0x7fff'f000 bytes.
/// @source        io_uring_prep_recv(3); recv(2). Linux 5.6.
class [[nodiscard]] recv final : public operation_of<recv, std::size_t> {
 public:
  explicit recv(fd_ref socket, std::span<std::byte> buffer, int flags = 0) noexcept
      : operation_of{opcode},
        socket_{socket},
        flags_{flags},
        buffer_{buffer.data()},
        bytes_{static_cast<std::uint32_t>(std::min(buffer.size(), transfer_bytes_max))} {}

 private:
  friend operation_of;
  static const operation_kind opcode;
  static void prepare(operation& self, io_uring_sqe& sqe) noexcept;
  fd_ref socket_;
  int flags_;
  std::byte* buffer_;
  std::uint32_t bytes_;
};

/// Sends bytes.
///
/// @param bytes   What is sent.
/// @param flags   MSG_* of send(2); MSG_NOSIGNAL is added.
/// @return        Bytes that the socket took, at most bytes.size(). Fewer than asked for is normal.
/// @errors        broken_pipe, connection_reset: the peer is gone; …: send(2)
/// @cancellation  What the socket took is reported, never lost.
/// @limits        As write(2): 0x7fff'f000 bytes.
/// @source        io_uring_prep_send(3); send(2). Linux 5.6.
class [[nodiscard]] send final : public operation_of<send, std::size_t> {
 public:
  explicit send(fd_ref socket, std::span<const std::byte> bytes, int flags = 0) noexcept
      : operation_of{opcode}, socket_{socket}, flags_{flags}, bytes_{bytes} {}

 private:
  friend operation_of;
  static const operation_kind opcode;
  static void prepare(operation& self, io_uring_sqe& sqe) noexcept;
  fd_ref socket_;
  int flags_;
  std::span<const std::byte> bytes_;
};

/// Receives bytes, and waits for them before it tries: recv for a socket that is known to have none, as one has whose
/// last answer was just sent. Saves the kernel an attempt in vain.
///
/// @param buffer, flags, @return, @errors, @cancellation, @limits  As for recv.
/// @source        io_uring_prep_recv(3), IORING_RECVSEND_POLL_FIRST; recv(2). Linux 5.19.
class [[nodiscard]] recv_poll_first final : public operation_of<recv_poll_first, std::size_t> {
 public:
  explicit recv_poll_first(fd_ref socket, std::span<std::byte> buffer, int flags = 0) noexcept
      : operation_of{opcode}, socket_{socket}, flags_{flags}, buffer_{buffer} {}

 private:
  friend operation_of;
  static const operation_kind opcode;
  static void prepare(operation& self, io_uring_sqe& sqe) noexcept;
  fd_ref socket_;
  int flags_;
  std::span<std::byte> buffer_;
};

/// Sends bytes, and waits for room before it tries: send for a socket that has just taken fewer than it was given.
///
/// @param bytes, flags, @return, @errors, @cancellation, @limits  As for send.
/// @source        io_uring_prep_send(3), IORING_RECVSEND_POLL_FIRST; send(2). Linux 5.19.
class [[nodiscard]] send_poll_first final : public operation_of<send_poll_first, std::size_t> {
 public:
  explicit send_poll_first(fd_ref socket, std::span<const std::byte> bytes, int flags = 0) noexcept
      : operation_of{opcode}, socket_{socket}, flags_{flags}, bytes_{bytes} {}

 private:
  friend operation_of;
  static const operation_kind opcode;
  static void prepare(operation& self, io_uring_sqe& sqe) noexcept;
  fd_ref socket_;
  int flags_;
  std::span<const std::byte> bytes_;
};

/// Sends a datagram to an address.
///
/// @param bytes       What is sent.
/// @param to, to_size  Where to. A socket that is connected takes none: its own is meant by nullptr and 0.
/// @param flags       MSG_* of sendto(2); MSG_NOSIGNAL is added.
/// @return        Bytes that the socket took: all of them, for a datagram.
/// @errors        message_size                       too long for one datagram
///                connection_refused                 what was sent before has found nobody
///                destination_address_required, address_family_not_supported, …: sendto(2)
///                invalid_argument                   before Linux 6.1; an address of more than 128 bytes
/// @cancellation  What the socket took is reported, never lost.
/// @limits        As write(2): 0x7fff'f000 bytes.
/// @source        io_uring_prep_sendto(3); sendto(2). Linux 6.1.
class [[nodiscard]] sendto final : public operation_of<sendto, std::size_t> {
 public:
  sendto(fd_ref socket, std::span<const std::byte> bytes, const ::sockaddr* to, ::socklen_t to_size,
         int flags = 0) noexcept
      : operation_of{opcode}, socket_{socket}, flags_{flags}, bytes_{bytes}, to_{to}, to_size_{to_size} {}

 private:
  friend operation_of;
  static const operation_kind opcode;
  static void prepare(operation& self, io_uring_sqe& sqe) noexcept;
  fd_ref socket_;
  int flags_;
  std::span<const std::byte> bytes_;
  const ::sockaddr* to_;
  ::socklen_t to_size_;
};

/// Sends all of the bytes, however many requests that takes: a stream socket may take a part at a time.
///
/// @param bytes   What is sent. May be empty: then nothing happens.
/// @errors        As for send, as a transfer_error whose bytes() says how many were sent before.
///                errc::no_progress when the socket took nothing without an error.
/// @cancellation  Some of the bytes may have been sent: the stream is then broken.
/// @source        io_uring_prep_send(3), MSG_WAITALL. Linux 5.6.
class [[nodiscard]] send_all final : public operation_of<send_all, void> {
 public:
  using gyre_composed = void;  // several requests: no member of a chain

  explicit send_all(fd_ref socket, std::span<const std::byte> bytes) noexcept
      : operation_of{opcode}, socket_{socket}, rest_{bytes} {}

 private:
  friend operation_of;
  static const operation_kind opcode;
  static void prepare(operation& self, io_uring_sqe& sqe) noexcept;
  static bool advance(operation& self) noexcept;
  void value() const noexcept {}
  [[nodiscard]] std::error_code failure() const noexcept;
  [[noreturn]] void fail() const { throw transfer_error{failure(), sent_bytes_, "send_all"}; }

  fd_ref socket_;
  std::span<const std::byte> rest_;
  std::size_t sent_bytes_ = 0;
};

/// Receives until the buffer is full, however many requests that takes.
///
/// @param buffer  Filled completely on success. May be empty: then nothing happens.
/// @errors        As for recv, as a transfer_error whose bytes() says how many lie in the buffer;
///                errc::end_of_stream when the peer shut down before the buffer was full.
/// @cancellation  Bytes that were received into the buffer are lost to the stream.
/// @source        io_uring_prep_recv(3), IORING_RECVSEND_POLL_FIRST. Linux 5.19.
class [[nodiscard]] recv_all final : public operation_of<recv_all, void> {
 public:
  using gyre_composed = void;  // several requests: no member of a chain

  explicit recv_all(fd_ref socket, std::span<std::byte> buffer) noexcept
      : operation_of{opcode}, socket_{socket}, rest_{buffer} {}

 private:
  friend operation_of;
  static const operation_kind opcode;
  static void prepare(operation& self, io_uring_sqe& sqe) noexcept;
  static bool advance(operation& self) noexcept;
  void value() const noexcept {}
  [[nodiscard]] std::error_code failure() const noexcept;
  [[noreturn]] void fail() const { throw transfer_error{failure(), received_bytes_, "recv_all"}; }

  fd_ref socket_;
  std::span<std::byte> rest_;
  std::size_t received_bytes_ = 0;
};

/// Shuts down one or both directions of a connection.
///
/// @param how     SHUT_RD, SHUT_WR or SHUT_RDWR.
/// @errors        not_connected
/// @cancellation  Once begun it is done. shutdown(2) never blocks: called directly it saves a trip to a kernel worker.
/// @source        io_uring_prep_shutdown(3); shutdown(2). Linux 5.11.
class [[nodiscard]] shutdown final : public operation_of<shutdown, void> {
 public:
  explicit shutdown(fd_ref socket, int how) noexcept : operation_of{opcode}, socket_{socket}, how_{how} {}

 private:
  friend operation_of;
  static const operation_kind opcode;
  static void prepare(operation& self, io_uring_sqe& sqe) noexcept;
  fd_ref socket_;
  int how_;
};

}  // namespace gyre::ops
