// SPDX-License-Identifier: MIT
// A completion in another ring's queue: how one ring tells another something through the kernel alone.
//
// Between executors of one program executor::post() does the same, wakes only who sleeps, and is cheaper. This is for
// what has a ring and no executor, another library or another process, and for a message that is to go with the
// operations of the same turn, behind them.
#pragma once

#include <gyre/runtime/detail/completion_handler.hpp>
#include <gyre/runtime/fd_ref.hpp>
#include <gyre/runtime/operation.hpp>
#include <gyre/runtime/result.hpp>

#include <atomic>
#include <cstdint>

namespace gyre {

class executor;

namespace ops {

class ring_message;
result<void> send_message_without_ring(executor& other, ring_message& message, std::int32_t number) noexcept;

/// What arrives when another executor sends it a number. Derive from it; lives until all that were sent have arrived.
class ring_message : detail::completion_handler {
 public:
  /// @param on_arrival  Called for each message, in a turn of the executor that it was sent to and in no coroutine: it
  ///                    may wake one, post, start a child of a group. Many of one sender arrive in their order.
  using arrival_fn = void (*)(ring_message& self, std::int32_t number) noexcept;
  explicit ring_message(arrival_fn on_arrival) noexcept;

 private:
  friend class msg_ring;
  friend result<void> send_message_without_ring(executor&, ring_message&, std::int32_t) noexcept;
  static void completed(completion_handler& self, std::int32_t res, std::uint32_t flags) noexcept;

  arrival_fn on_arrival_;

  // What the sender has written before is seen where it arrives. The kernel sees to that, too; this says it in C++.
  std::atomic<std::uint32_t> sent_count_ = 0;
};

/// Puts a completion into another ring's queue.
///
/// @param other    An executor, which is not destroyed meanwhile; also the one that sends.
/// @param message  Whose on_arrival is called there with `number`.
/// @errors         invalid_argument      before Linux 6.3
///                 not_enough_memory, value_too_large   the other queue is full, and the kernel has no memory for more
/// @cancellation   Safe; it always completes at once, so a cancel finds it done.
/// @threads        The executor's thread. on_arrival runs on the other's.
/// @limits         Has arrived when this is over, and is taken in the other's next turn; a sleeping one is woken. Costs
///                 some 0.8 us, and 0.2 us there.
/// @source         io_uring_prep_msg_ring_cqe_flags(3). Linux 6.3.
class [[nodiscard]] msg_ring final : public operation_of<msg_ring, void> {
 public:
  msg_ring(executor& other, ring_message& message, std::int32_t number) noexcept;

  /// The same to a ring that is not gyre's: a completion with this user_data, this result and no flags.
  ///
  /// @param ring  Its descriptor.
  /// @errors      EBADFD  no ring, or one that is not enabled yet
  msg_ring(fd_ref ring, std::uint64_t user_data, std::int32_t res) noexcept
      : operation_of{opcode}, ring_{ring}, user_data_{user_data}, res_{res} {}

 private:
  friend operation_of;
  static const operation_kind opcode;
  static void prepare(operation& self, io_uring_sqe& sqe) noexcept;

  fd_ref ring_;
  std::uint64_t user_data_;
  std::int32_t res_;
  ring_message* message_ = nullptr;  // to an executor
};

/// The same from a thread that runs no executor: a system call instead of a request, and no operation.
///
/// @param other, message, number  As for msg_ring. The executor is not destroyed meanwhile.
/// @errors         invalid_argument      before Linux 6.13: executor::post() does it there
///                 not_enough_memory, value_too_large   as for msg_ring
///                 bad_file_descriptor   the other's ring is none of the kernel's
/// @threads        Any, and signal handlers. Many of one thread arrive in their order.
/// @limits         Costs some 0.5 us where the other is awake, 8 where it sleeps and is woken. executor::post() wakes
///                 only who sleeps, and is cheaper: 19 ns.
/// @source         IORING_REGISTER_SEND_MSG_RING, io_uring_register_sync_msg(3). Linux 6.13.
[[nodiscard]] result<void> send_message_without_ring(executor& other, ring_message& message,
                                                     std::int32_t number) noexcept;

}  // namespace ops
}  // namespace gyre
