// SPDX-License-Identifier: MIT
// Timers on a clock that is not the executor's own: the boot clock, the system clock.
//
// They lie in a heap of their own, and the kernel holds one timeout for the earliest of them, on that clock. So it is
// the kernel that sees a clock set anew, and a machine that slept, and nobody has to look at other clocks in each turn.
// One timeout for each timer would do so, too; but the kernel takes one out among N in linear time.
//
//   a timer is armed that is earlier   the timeout is armed, or moved there
//   a timer is taken out               the timeout stays: a wake too many costs less than a move
//   the timeout fires                  those that are due by now expire. For those that are left it is armed anew: also
//                                      where the clock was set back meanwhile, and nobody is due
//   it fires as it is being moved      the move finds nothing, and the line above holds
#pragma once

#include <gyre/runtime/detail/completion_handler.hpp>
#include <gyre/runtime/detail/ring.hpp>
#include <gyre/runtime/detail/timer_heap.hpp>
#include <gyre/runtime/point_in_time.hpp>

#include <cstdint>

namespace gyre::detail {

class submission;

/// A timeout in the kernel that can be moved while it is there: by itself, or one that is linked to an operation.
struct movable_timeout : completion_handler {
  movable_timeout(complete_fn on_completion, prepare_fn on_submission, bool linked) noexcept
      : completion_handler{on_completion, on_submission}, is_linked{linked} {}

  point_in_time when{clock_id::steady, 0};  // what it is for; the kernel knows of it once it took the entry
  const bool is_linked;
  bool move_queued = false;
};

class clock_timers : movable_timeout {
 public:
  clock_timers(clock_id clock, ring& its_ring, submission& its_submission) noexcept;

  /// As timer_heap's.
  void arm(timer& armed, clock_ns due) noexcept;
  void disarm(timer& armed) noexcept { heap_.disarm(armed); }
  [[nodiscard]] bool empty() const noexcept { return heap_.empty(); }
  [[nodiscard]] const timer_heap& heap() const noexcept { return heap_; }

 private:
  static void prepare(completion_handler& self, io_uring_sqe& sqe) noexcept;
  static void fired(completion_handler& self, std::int32_t res, std::uint32_t flags) noexcept;
  void tell_kernel() noexcept;

  ring& ring_;
  submission& submission_;
  timer_heap heap_;
};

}  // namespace gyre::detail
