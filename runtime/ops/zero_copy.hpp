// SPDX-License-Identifier: MIT
// Sending without a copy: the network device reads the caller's memory.
//
// Such a request completes twice. The first completion says how much the socket took; the second, that the kernel has
// let go of the memory, which for TCP is when the peer has acknowledged it. The operation ends with the second: when
// the co_await is over, the memory is the caller's again, however it ended.
//
//   the kernel says                          the operation
//   result with F_MORE, then the second      ends with the second, by what the first said
//   result without F_MORE                    ends at once: an error, and no memory is held
//   a cancel or a deadline before the first  the first says -ECANCELED, or what was sent before
//   a cancel or a deadline between the two   comes too late: the result is delivered when the second comes
//
// Saves what copying costs, and costs the bookkeeping of pages and a second completion. Worth it from some 16 KiB on
// where a device takes pages as they are; on loopback, and to another process on the same machine, the kernel copies
// after all, and says so. benchmarks/send_zc.cpp has both beside a plain send. A lone small message of TCP's waits for
// an acknowledgement that the peer delays, 40 ms: have several sends on their way, or send what is small with a copy.
#pragma once

#include <gyre/runtime/buffer_ref.hpp>
#include <gyre/runtime/fd_ref.hpp>
#include <gyre/runtime/operation.hpp>
#include <gyre/runtime/ops/message.hpp>

#include <sys/socket.h>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

namespace gyre::ops {

/// How it is to be sent.
struct zero_copy_options {
  int flags = 0;                            ///< MSG_* of send(2); MSG_NOSIGNAL is added.
  first_step first = first_step::transfer;  ///< Poll where the socket is known to have no room.
  bool report_usage = true;                 ///< Whether to ask if it was copied after all. Linux 6.2: false before.
};

/// What became of it.
struct zero_copy_sent {
  std::size_t bytes = 0;       ///< That the socket took.
  std::optional<bool> copied;  ///< Whether the kernel copied after all, some of it or all; empty when nobody asked.
};

/// What the two completions have said so far.
class zero_copy_answer {
 public:
  /// Returns the answer of the operation, as far as it is known.
  std::int32_t note(const detail::completion::answer& part) noexcept;

  [[nodiscard]] zero_copy_sent sent(bool report_usage) const noexcept;

 private:
  std::int32_t res_ = 0;
  bool copied_ = false;
};

/// Sends bytes without a copy. For sockets of the network: TCP and UDP, and nothing else.
///
/// @param bytes        What is sent; a span, or registered memory, which is spared the look-up of its pages. Untouched
///                     until the operation has ended, which may be long after the socket took it: until the peer has
///                     acknowledged it, or the connection is given up.
/// @param to, to_size  For send_zc to an address, as for sendto.
/// @return        What the socket took, maybe fewer bytes than asked for, and whether it was copied after all.
/// @errors        operation_not_supported   the socket is none of the network's; before Linux 6.0
///                invalid_argument          report_usage before Linux 6.2
///                not_enough_memory         too much is held by sends like this: RLIMIT_MEMLOCK, net.core.optmem_max
///                broken_pipe, connection_reset, …: send(2)
/// @cancellation  What the socket took is reported, never lost. Once it has taken something, only the network ends the
///                wait: where the peer takes nothing it lasts as long as the connection. Who wants an end resets that.
/// @limits        As write(2): 0x7fff'f000 bytes.
/// @source        io_uring_prep_send_zc(3), IORING_SEND_ZC_REPORT_USAGE. Linux 6.0.
class [[nodiscard]] send_zc final : public operation_of<send_zc, zero_copy_sent> {
 public:
  explicit send_zc(fd_ref socket, const_buffer_ref bytes, zero_copy_options options = {}) noexcept
      : send_zc{socket, bytes, nullptr, 0, options} {}
  send_zc(fd_ref socket, const_buffer_ref bytes, const ::sockaddr* to, ::socklen_t to_size,
          zero_copy_options options = {}) noexcept
      : operation_of{opcode}, socket_{socket}, to_size_{to_size}, bytes_{bytes}, to_{to}, options_{options} {}

 private:
  friend operation_of;
  static const operation_kind opcode;
  static void prepare(operation& self, io_uring_sqe& sqe) noexcept;
  static std::int32_t note(operation& self, const detail::completion::answer& part) noexcept;
  [[nodiscard]] zero_copy_sent value() const noexcept { return answer_.sent(options_.report_usage); }

  fd_ref socket_;
  ::socklen_t to_size_;
  const_buffer_ref bytes_;
  const ::sockaddr* to_;
  zero_copy_options options_;
  zero_copy_answer answer_;
};

/// Sends a message without a copy of its parts. Control data and address are copied.
///
/// @param message  See outgoing_message; the struct itself is copied. Its parts as the bytes of send_zc.
/// @return, @errors, @cancellation, @limits  As for send_zc and sendmsg.
/// @source        io_uring_prep_sendmsg_zc(3), IORING_SEND_ZC_REPORT_USAGE. Linux 6.1.
class [[nodiscard]] sendmsg_zc final : public operation_of<sendmsg_zc, zero_copy_sent> {
 public:
  explicit sendmsg_zc(fd_ref socket, const outgoing_message& message, zero_copy_options options = {}) noexcept
      : operation_of{opcode}, socket_{socket}, options_{options}, header_{header_of(message)} {}

 private:
  friend operation_of;
  static const operation_kind opcode;
  static void prepare(operation& self, io_uring_sqe& sqe) noexcept;
  static std::int32_t note(operation& self, const detail::completion::answer& part) noexcept;
  [[nodiscard]] zero_copy_sent value() const noexcept { return answer_.sent(options_.report_usage); }

  fd_ref socket_;
  zero_copy_options options_;
  ::msghdr header_;
  zero_copy_answer answer_;
};

}  // namespace gyre::ops
