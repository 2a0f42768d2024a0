// SPDX-License-Identifier: MIT
// What the kernel is told of time with its entries: timeouts, linked to operations or by themselves, and their moves.
//
// On the steady clock and the boot clock the kernel is told spans and never points in time: in a time namespace a
// program reads other clocks than those by which the kernel takes points. It reads a span when it takes the entry that
// points to it, and counts from there. On the system clock, which no namespace shifts, it is told the point: so the
// kernel follows when somebody sets that clock. So:
//
//   described          the span counts from the executor's last look at the clock, or from a look at the boot clock
//   taken              in the enter() of the same turn: the memory may be used again
//   refused            the spans are of a moment that is past: set_anew() before the next enter(). An operation that
//                      was taken as the last, without its linked timeout: take_out_lost_link()
#pragma once

#include <gyre/runtime/detail/coarse_clock.hpp>
#include <gyre/runtime/detail/ring.hpp>
#include <gyre/runtime/detail/timer_heap.hpp>
#include <gyre/runtime/point_in_time.hpp>

#include <cstddef>
#include <cstdint>
#include <memory>

struct __kernel_timespec;

namespace gyre {
class operation;
}

namespace gyre::detail {

/// A __kernel_timespec: how long it is until something, zero for what is overdue: that comes at once. Or, on the system
/// clock, when.
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

/// IORING_TIMEOUT_…: how the kernel reads what it is told of `clock`. A move goes by the clock that the timeout has,
/// and takes no flag that names one.
[[nodiscard]] unsigned timeout_flags_of(clock_id clock) noexcept;
[[nodiscard]] unsigned move_flags_of(clock_id clock) noexcept;

class kernel_times {
 public:
  kernel_times(ring& its_ring, coarse_clock& its_clock);

  /// The kernel has taken all entries, and there are to be more of them. Whether there is memory for that.
  [[nodiscard]] bool has_room_for(unsigned sq_entries) noexcept;

  /// The span until `due`, for the linked timeout whose entry is at `index` of the queue. Counts from the last look at
  /// the clock: the one that gave the operation its deadline. Who describes what has waited since looks again before.
  kernel_span& set_linked(std::size_t index, clock_ns due) noexcept {
    told_time& told = told_[index];
    told.when = {clock_id::steady, due};
    return told.span = kernel_span::between(clock_.last_look(), due);
  }

  /// The same on any clock, for a timeout or a move whose entry is at `index`. Looks at the clock.
  kernel_span& set(std::size_t index, point_in_time when) noexcept;

  /// The kernel has refused entries. Where an operation was taken as the last, and not the timeout that is linked to
  /// it: makes of that entry one that nobody hears of, and returns the operation. Null otherwise.
  [[gnu::cold]] [[nodiscard]] operation* take_out_lost_link() noexcept;

  /// Writes the spans anew of what was refused.
  [[gnu::cold]] void set_anew() noexcept;

 private:
  struct told_time {
    kernel_span span{};
    point_in_time when{clock_id::steady, 0};
  };

  [[nodiscard]] kernel_span span_until(point_in_time when) noexcept;

  ring& ring_;
  coarse_clock& clock_;
  std::unique_ptr<told_time[]> told_;  // one a submission entry
};

}  // namespace gyre::detail
