// SPDX-License-Identifier: MIT
// Operations that receive into a buffer of a pool, which the kernel chooses when the bytes are there.
//
// One at a time, as recv and read are; as a stream: ops/pool_streams.hpp. The pool outlives the operation.
#pragma once

#include <gyre/runtime/buffer_pool.hpp>
#include <gyre/runtime/fd_ref.hpp>
#include <gyre/runtime/operation.hpp>
#include <gyre/runtime/ops/file.hpp>

#include <cstdint>
#include <system_error>
#include <utility>

namespace gyre {
namespace detail {

/// An operation's part in a pool: between its submission and its end it may take a buffer.
class buffer_choice {
 public:
  explicit buffer_choice(buffer_group& from) noexcept : from_{&from} {}
  /// Of one that has not begun.
  buffer_choice(buffer_choice&& other) noexcept : from_{other.from_} {}

  [[nodiscard]] buffer_group& from() const noexcept { return *from_; }

  /// Has the entry select a buffer.
  void begin_in(io_uring_sqe& sqe) noexcept;

  /// The end: what the completion has brought, on loan; nothing where there were no bytes.
  [[nodiscard]] buffer_lease take(std::int32_t res, std::uint32_t flags) noexcept;

  /// The same where nobody asks for it: who awaited was stopped.
  void give_up(std::int32_t res, std::uint32_t flags) noexcept {
    if (begun_) take(res, flags).reset();
  }

 private:
  void end() noexcept {
    begun_ = false;
    from_->single_ends();
  }

  buffer_group* from_;
  bool begun_ = false;
};

}  // namespace detail

namespace ops {

/// Receives bytes into a buffer of a pool.
///
/// @param socket  A stream's, or a connected one of datagrams: what does not fit into a buffer is lost then.
/// @param pool    Of this executor.
/// @param flags   MSG_* of recv(2).
/// @return        The bytes, as many as were there and fit into one buffer. An empty lease: the peer has shut down its
///                side; or a datagram without bytes.
/// @errors        no_buffer_space   the pool has no buffer, and nothing was received: buffer_pool::until_free()
///                connection_reset, timed_out (keep-alive), not_connected, …: recv(2)
/// @cancellation  Safe: bytes are delivered, or stay in the socket.
/// @source        io_uring_prep_recv(3), IOSQE_BUFFER_SELECT. Linux 5.19.
class [[nodiscard]] recv_leased final : public operation_of<recv_leased, buffer_lease> {
 public:
  recv_leased(fd_ref socket, const buffer_pool& pool, int flags = 0) noexcept
      : operation_of{opcode}, socket_{socket}, flags_{flags}, buffer_{pool.group()} {}
  recv_leased(recv_leased&&) noexcept = default;
  ~recv_leased() { buffer_.give_up(res(), cqe_flags()); }

 private:
  friend operation_of;
  static const operation_kind opcode;
  static void prepare(operation& self, io_uring_sqe& sqe) noexcept;
  [[nodiscard]] buffer_lease value() noexcept { return buffer_.take(res(), cqe_flags()); }
  [[nodiscard]] std::error_code failure() noexcept;
  [[noreturn]] void fail();

  fd_ref socket_;
  int flags_;
  gyre::detail::buffer_choice buffer_;
};

/// Reads bytes of a file, a pipe or a terminal into a buffer of a pool.
///
/// @param fd      Open for reading.
/// @param pool    Of this executor; not an incremental one.
/// @param offset  As for read.
/// @return        The bytes, as many as were there and fit into one buffer. An empty lease: the end of the file.
/// @errors        no_buffer_space    the pool has no buffer, and nothing was read: buffer_pool::until_free()
///                invalid_argument   the pool is incremental: the kernel does not say how much of a buffer it has used
///                                   for a file (axboe/liburing, issue 1555)
///                is_a_directory, io_error, …   as for read
/// @cancellation  As for read.
/// @source        io_uring_prep_read(3), IOSQE_BUFFER_SELECT. Linux 5.19.
class [[nodiscard]] read_leased final : public operation_of<read_leased, buffer_lease> {
 public:
  read_leased(fd_ref fd, const buffer_pool& pool, std::uint64_t offset = current_position) noexcept
      : operation_of{opcode}, fd_{fd}, offset_{offset}, buffer_{pool.group()} {}
  read_leased(read_leased&&) noexcept = default;
  ~read_leased() { buffer_.give_up(res(), cqe_flags()); }

 private:
  friend operation_of;
  static const operation_kind opcode;
  static void prepare(operation& self, io_uring_sqe& sqe) noexcept;
  [[nodiscard]] buffer_lease value() noexcept { return buffer_.take(res(), cqe_flags()); }
  [[nodiscard]] std::error_code failure() noexcept;
  [[noreturn]] void fail();

  fd_ref fd_;
  std::uint64_t offset_;
  gyre::detail::buffer_choice buffer_;
};

}  // namespace ops
}  // namespace gyre
