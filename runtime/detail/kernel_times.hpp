// SPDX-License-Identifier: MIT
// What the kernel is told of time: the timeouts linked to operations, and one timeout for the earliest of the timers.
//
// The kernel is told spans and never points in time: in a time namespace a program reads another clock than the one by
// which the kernel takes points. It reads a span when it takes the entry that points to it, and counts from there. So:
//
//   described          the span counts from the executor's last look at the clock
//   taken              in the enter() of the same turn: the memory may be used again
//   refused            the spans are of a moment that is past: set_anew() before the next enter(). An operation that
//                      was taken as the last, without its linked timeout: keep_lost_deadline()
#pragma once

#include <gyre/runtime/detail/coarse_clock.hpp>
#include <gyre/runtime/detail/completion_handler.hpp>
#include <gyre/runtime/detail/ring.hpp>
#include <gyre/runtime/detail/timer_heap.hpp>

#include <cstddef>
#include <cstdint>
#include <memory>

struct __kernel_timespec;

namespace gyre::detail {

/// A __kernel_timespec: how long it is until something. Zero for what is overdue: that comes at once.
struct kernel_span {
  std::int64_t seconds;
  long long nanoseconds;

  [[nodiscard]] __kernel_timespec* as_timespec() noexcept { return reinterpret_cast<__kernel_timespec*>(this); }

  [[nodiscard]] static kernel_span between(clock_ns now, clock_ns due) noexcept {
    constexpr clock_ns second = 1'000'000'000;
    const clock_ns left = due > now ? due - now : 0;
    return {.seconds = left / second, .nanoseconds = left % second};
  }
};

/// The one timeout that the kernel holds for an executor: for the earliest of its timers, armed only when it is about
/// to park. A timer that went away leaves it armed: a wake too many costs less than a move at every cancelled sleep.
struct kernel_timeout : completion_handler {
  explicit kernel_timeout(coarse_clock& its_clock) noexcept;

  /// Writes the span anew, as of now.
  void count_from_now() noexcept { span = kernel_span::between(clock.look(), due); }

  /// Whether it will fire at `when` or earlier.
  [[nodiscard]] bool fires_by(clock_ns when) const noexcept { return where == place::in_kernel && due <= when; }

  /// Describes, in an entry, that the timeout in the kernel is now for `due`.
  void describe_move(io_uring_sqe& sqe) noexcept;

  coarse_clock& clock;
  clock_ns due = 0;
  kernel_span span{};
};

class kernel_times {
 public:
  kernel_times(ring& its_ring, coarse_clock& its_clock, timer_heap& its_timers);

  [[nodiscard]] kernel_timeout& timeout() noexcept { return timeout_; }

  /// The span until `due`, for the linked timeout whose entry is at `index` of the queue. Counts from the last look at
  /// the clock: the one that gave the operation its deadline. Who describes what has waited since looks again before.
  kernel_span& set_linked(std::size_t index, clock_ns due) noexcept {
    return linked_[index] = kernel_span::between(clock_.last_look(), due);
  }

  /// The kernel has refused entries: sees to an operation that was taken as the last, and not the timeout behind it.
  [[gnu::cold]] void keep_lost_deadline() noexcept;

  /// Writes the spans anew of what was refused.
  [[gnu::cold]] void set_anew() noexcept;

 private:
  [[nodiscard]] timer& deadline_before(std::uint64_t position) const noexcept;

  ring& ring_;
  coarse_clock& clock_;
  timer_heap& timers_;
  std::unique_ptr<kernel_span[]> linked_;  // one a submission entry
  kernel_timeout timeout_;
};

}  // namespace gyre::detail
