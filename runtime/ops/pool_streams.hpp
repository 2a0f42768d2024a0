// SPDX-License-Identifier: MIT
// What comes in as a stream of buffers: one multishot request each, which takes buffers of a pool when bytes are there.
//
//   while (auto chunk = co_await incoming.next()) use(chunk->bytes());
//
// Who owns the request when: detail/multishot.hpp; who owns a buffer when: detail/buffer_group.hpp. Beyond that:
//
//   armed -> hungry       the kernel has found no buffer, and a reader waits. No request is made before one comes back
//   hungry -> armed       it is this stream's turn: those that have waited longest come first
//   hungry -> idle        the reader waits no more, or the stream was ended
//
// What has come is in store until the reader takes it; where he is slow the request pauses: pool_stream_options.
// Nothing is lost where there is no buffer: bytes stay in the socket, datagrams too as long as it has room for them.
// A stream may outlive its pool, and is destroyed on the thread of its executor; what is in store goes back then.
#pragma once

#include <gyre/runtime/buffer_pool.hpp>
#include <gyre/runtime/detail/multishot.hpp>
#include <gyre/runtime/fd_ref.hpp>

#include <sys/socket.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <utility>

namespace gyre::ops {

/// Of all streams over a pool.
struct pool_stream_options {
  /// So many in store, for a reader that is slow to take them, and the stream asks for no more until all are taken.
  ///
  /// No bound of the store: the kernel hears of the pause when the executor enters it next, and may have filled more
  /// buffers before that. All buffers of the pool are a bound.
  std::size_t pause_at = 16;

  /// MSG_* of recv(2), for sockets.
  int flags = 0;
};

/// Bytes from a socket, which stays open until the stream is destroyed, or ended, and its request has ended: that is a
/// turn later. Who closes it before ends the stream: open_streams.hpp.
class recv_stream {
 public:
  explicit recv_stream(fd_ref socket, const buffer_pool& pool, const pool_stream_options& options = {});
  recv_stream(recv_stream&&) noexcept = default;
  recv_stream& operator=(recv_stream&&) = delete;
  ~recv_stream() = default;

  using next_operation = detail::next_of_multishot<std::optional<buffer_lease>>;

  /// Waits for the next bytes. One coroutine at a time.
  ///
  /// @return        What was there, as much as fits into one buffer. Nothing: the peer has shut down its side.
  /// @errors        connection_reset, timed_out (keep-alive), not_connected, …: recv(2)
  ///                not_enough_memory      bytes were lost, as there was no memory to keep account of them: close
  ///                operation_canceled     the request was ended by somebody else: cancel_fd, or a close
  ///                invalid_argument       before Linux 6.0
  /// @cancellation  Safe: bytes that have come stay in store. They are delivered without a wait, also in a scope that
  ///                is cancelled: only with none in store next() is stopped there.
  /// @threads       The thread of the pool's executor.
  /// @limits        A datagram without bytes looks like an end: for datagrams there is recvmsg_stream.
  /// @source        io_uring_prep_recv_multishot(3). Linux 6.0.
  [[nodiscard]] next_operation next() noexcept { return next_operation{*state_}; }

  /// Ends the stream, whoever waits in it, also for a buffer: what it reads from is about to be closed. The kernel is
  /// asked for nothing more. What has come is still given; every next() after that is operation_canceled. A second
  /// end() does nothing.
  ///
  /// @threads  The thread of its executor.
  void end() noexcept { state_->end(); }

 private:
  friend class open_streams;
  std::unique_ptr<detail::multishot_of<std::optional<buffer_lease>>, detail::orphan_multishot> state_;
};

/// The same with as many buffers at a time as the bytes that are there fill.
class recv_bundle_stream {
 public:
  explicit recv_bundle_stream(fd_ref socket, const buffer_pool& pool, const pool_stream_options& options = {});
  recv_bundle_stream(recv_bundle_stream&&) noexcept = default;
  recv_bundle_stream& operator=(recv_bundle_stream&&) = delete;
  ~recv_bundle_stream() = default;

  using next_operation = detail::next_of_multishot<std::optional<buffer_chain>>;

  /// Waits for the next bytes, as recv_stream::next() does. Pays where much more is there at a time than fits into one
  /// buffer.
  ///
  /// @return        What was there, in as many buffers as it fills. One, where the pool is incremental or the kernel
  ///                has no bundles to be trusted, before Linux 6.16. Nothing: the peer has shut down its side.
  /// @errors        As for recv_stream.
  /// @cancellation  As for recv_stream.
  /// @threads       As for recv_stream.
  /// @source        io_uring_prep_recv_multishot(3), IORING_RECVSEND_BUNDLE. Linux 6.10.
  [[nodiscard]] next_operation next() noexcept { return next_operation{*state_}; }

  /// Ends the stream: recv_stream::end().
  void end() noexcept { state_->end(); }

 private:
  friend class open_streams;
  std::unique_ptr<detail::multishot_of<std::optional<buffer_chain>>, detail::orphan_multishot> state_;
};

/// Bytes from a pipe, a terminal, an eventfd: from what can be polled, and has no positions.
class read_stream {
 public:
  explicit read_stream(fd_ref fd, const buffer_pool& pool, const pool_stream_options& options = {});
  read_stream(read_stream&&) noexcept = default;
  read_stream& operator=(read_stream&&) = delete;
  ~read_stream() = default;

  using next_operation = detail::next_of_multishot<std::optional<buffer_lease>>;

  /// Waits for the next bytes. One coroutine at a time.
  ///
  /// @return        What was there, as much as fits into one buffer. Nothing: the other end was closed.
  /// @errors        io_error, …                 read(2)
  ///                file_descriptor_in_bad_state   a regular file: there is nothing to wait for
  ///                not_enough_memory, operation_canceled   as for recv_stream
  ///                invalid_argument            before Linux 6.7
  /// @cancellation  As for recv_stream.
  /// @threads       As for recv_stream.
  /// @source        io_uring_prep_read_multishot(3). Linux 6.7.
  [[nodiscard]] next_operation next() noexcept { return next_operation{*state_}; }

  /// Ends the stream: recv_stream::end().
  void end() noexcept { state_->end(); }

 private:
  friend class open_streams;
  std::unique_ptr<detail::multishot_of<std::optional<buffer_lease>>, detail::orphan_multishot> state_;
};

/// A message, and what came with it, in one buffer.
class [[nodiscard]] leased_message {
 public:
  /// Its bytes.
  [[nodiscard]] std::span<std::byte> payload() const noexcept { return lease_.bytes().subspan(parts_.payload_at); }

  /// Whom it came from, as the socket's family writes it; empty where there is no address, or none was asked for.
  [[nodiscard]] std::span<const std::byte> source() const noexcept {
    return lease_.bytes().subspan(name_at, parts_.name_bytes);
  }

  /// Control messages, for CMSG_FIRSTHDR(3) and its like: of a msghdr whose msg_control and msg_controllen these are.
  /// Descriptors among them (SCM_RIGHTS) are open, close-on-exec, and the reader's to close.
  [[nodiscard]] std::span<std::byte> control() const noexcept {
    return lease_.bytes().subspan(parts_.control_at, parts_.control_bytes);
  }

  /// MSG_* of recvmsg(2), as they came: MSG_TRUNC, MSG_CTRUNC, MSG_OOB, MSG_ERRQUEUE.
  [[nodiscard]] int flags() const noexcept { return parts_.flags; }

  /// Whether there was more of it than fits into a buffer; of its control messages. The rest is lost.
  [[nodiscard]] bool is_truncated() const noexcept { return (parts_.flags & MSG_TRUNC) != 0; }
  [[nodiscard]] bool is_control_truncated() const noexcept { return (parts_.flags & MSG_CTRUNC) != 0; }

  // What follows is for who describes a request of this kind.

  /// How much was asked to be kept for address and control messages.
  struct layout {
    std::uint32_t name_bytes = 0;
    std::uint32_t control_bytes = 0;
  };

  /// Where in the buffer each lies.
  struct parts_of_it {
    std::uint32_t name_bytes = 0;
    std::uint32_t control_at = 0;
    std::uint32_t control_bytes = 0;
    std::uint32_t payload_at = 0;
    int flags = 0;
  };
  [[nodiscard]] static parts_of_it parts_in(std::span<const std::byte> bytes, const layout& room) noexcept;

  leased_message(buffer_lease lease, const layout& room) noexcept
      : lease_{std::move(lease)}, parts_{parts_in(lease_.bytes(), room)} {}

 private:
  static constexpr std::size_t name_at = 16;  // behind struct io_uring_recvmsg_out

  buffer_lease lease_;
  parts_of_it parts_;
};

/// Of a stream of datagrams.
struct recvmsg_stream_options {
  std::size_t pause_at = 16;                              ///< As of pool_stream_options.
  int flags = 0;                                          ///< MSG_* of recvmsg(2).
  std::uint32_t name_bytes = sizeof(::sockaddr_storage);  ///< Room for the sender's address; 0 where nobody asks.
  std::uint32_t control_bytes = 0;                        ///< Room for control messages.
  bool empty_is_end = false;  ///< Of a connection: the kernel tells its end as a message without bytes.
};

/// Messages from a socket: datagrams, or what comes with control messages.
class recvmsg_stream {
 public:
  /// @errors  message_size       a buffer of the pool has no room for 16 bytes, address, control messages and one byte
  ///          invalid_argument   the pool is incremental: the rest of a buffer may be too small for a message
  explicit recvmsg_stream(fd_ref socket, const buffer_pool& pool, const recvmsg_stream_options& options = {});
  recvmsg_stream(recvmsg_stream&&) noexcept = default;
  recvmsg_stream& operator=(recvmsg_stream&&) = delete;
  ~recvmsg_stream() = default;

  using next_operation = detail::next_of_multishot<std::optional<leased_message>>;

  /// Waits for the next message. One coroutine at a time.
  ///
  /// @return        The message, in one buffer; a datagram may have no bytes. Nothing, with empty_is_end: the peer has
  ///                shut down its side.
  /// @errors        connection_refused, …   what the socket was told of an earlier send: go on
  ///                not_enough_memory       at least one was lost, as there was no memory to keep account of it
  ///                operation_canceled      as for recv_stream
  ///                invalid_argument        before Linux 6.0
  /// @cancellation  As for recv_stream.
  /// @threads       As for recv_stream.
  /// @source        io_uring_prep_recvmsg_multishot(3). Linux 6.0.
  [[nodiscard]] next_operation next() noexcept { return next_operation{*state_}; }

  /// Ends the stream: recv_stream::end().
  void end() noexcept { state_->end(); }

 private:
  friend class open_streams;
  std::unique_ptr<detail::multishot_of<std::optional<leased_message>>, detail::orphan_multishot> state_;
};

}  // namespace gyre::ops
