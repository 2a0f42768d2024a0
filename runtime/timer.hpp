// SPDX-License-Identifier: MIT
// Sleeping, once and again.
//
// A sleep lives in the executor's timers (detail/timer_heap.hpp): it costs no system call of its own. One that wakes an
// idle executor is as exact as a timeout of the kernel; one on a busy executor waits for its turn. Sleeps on other
// clocks have timers for each clock, with one timeout of the kernel's: detail/clock_timers.hpp.
#pragma once

#include <gyre/runtime/detail/timer_heap.hpp>
#include <gyre/runtime/detail/waiter.hpp>
#include <gyre/runtime/point_in_time.hpp>
#include <gyre/runtime/result.hpp>

#include <chrono>
#include <coroutine>
#include <cstdint>

namespace gyre {

namespace detail {

/// A wait in the executor's timers. It settles when its time has come, or as stopped.
class timer_wait : public waiter, timer {
 public:
  bool await_ready() const noexcept { return false; }
  template <class Promise>
  void await_suspend(std::coroutine_handle<Promise> awaiter) noexcept {
    if (begin(awaiter)) [[likely]]
      arm();
  }

 protected:
  timer_wait(const waiter_kind& its_kind, point_in_time due) noexcept
      : waiter{its_kind}, timer{kind_of_timer}, due_{due} {}
  timer_wait(timer_wait&& other) noexcept
      : waiter{static_cast<const waiter_kind&>(*other.kind), other}, timer{kind_of_timer}, due_{other.due_} {}
  ~timer_wait() { GYRE_ASSERT(!armed(), "a wait has left the timers when it ends"); }

  /// The coroutine is back. Throws operation_canceled when the stop was asked for as an error: stopped_as_error().
  void resumed();
  [[nodiscard]] result<void> resumed_with_result() noexcept;

  static void cancel_waiting(waiter& self) noexcept;
  static void describe(const waiter& self, wait_details& told) noexcept;

  /// When the wait is over, or would be, on its clock. From the kind's run(), where that has been put off:
  /// wait_again(), and this.
  [[nodiscard]] clock_ns due_at() const noexcept { return due_.at(); }
  void put_off(clock_ns due) noexcept {
    due_ = {due_.clock(), due};
    arm();
  }

 private:
  void arm() noexcept;
  static void expired(timer& self) noexcept;
  static const timer_kind kind_of_timer;

  point_in_time due_;
};

}  // namespace detail

/// The wait of sleep_for() and sleep_until().
class [[nodiscard]] sleep_operation final : public detail::timer_wait {
 public:
  explicit sleep_operation(point_in_time due) noexcept : timer_wait{kind_of_sleep, due} {}

  void await_resume() { resumed(); }
  [[nodiscard]] result<void> await_result() noexcept { return resumed_with_result(); }

 private:
  static const detail::waiter_kind kind_of_sleep;
};

/// Waits until `duration` has passed since the call.
///
/// @param duration      Zero or less: until the next turn.
/// @cancellation        Safe; at once.
/// @limits              Never returns early. Late by up to executor_options::timer_slack, and by as long as the
///                      executor is busy.
[[nodiscard]] sleep_operation sleep_for(std::chrono::nanoseconds duration) noexcept;

/// Waits until a point in time. Otherwise as sleep_for().
///
/// @param when          A time_point of std::chrono::steady_clock (CLOCK_MONOTONIC), which stands still while the
///                      machine is suspended; of gyre::boot_clock (CLOCK_BOOTTIME), which goes on then; of
///                      std::chrono::system_clock (CLOCK_REALTIME), the time of day. When somebody sets that clock, the
///                      sleep follows: it ends at that time of day.
/// @limits              One that is past when it begins ends in the next turn; on the last two clocks, when the kernel
///                      was asked.
/// @source              io_uring_prep_timeout(3), IORING_TIMEOUT_BOOTTIME, IORING_TIMEOUT_REALTIME. Linux 5.15.
[[nodiscard]] sleep_operation sleep_until(point_in_time when) noexcept;

/// Points in time at equal distances: for what is to be done every second.
///
///   gyre::interval every_second{1s};
///   for (;;) {
///     co_await every_second.next();
///     report();
///   }
///
/// The ticks stand fixed from the beginning: work that takes a part of the period does not shift them. Who comes late
/// gets one tick, which says how many were missed, and the next one at its own time: they do not pile up.
class interval {
 public:
  /// One tick, as next() gives it.
  struct tick {
    std::chrono::steady_clock::time_point due;  ///< When it was to come.
    std::uint64_t missed_count = 0;             ///< Ticks since the one before it that nobody waited for in time.
  };

  class [[nodiscard]] next_operation final : public detail::timer_wait {
   public:
    template <class Promise>
    void await_suspend(std::coroutine_handle<Promise> awaiter) noexcept {
      timer_wait::await_suspend(awaiter);
      run_through_kind();
    }
    tick await_resume();
    [[nodiscard]] result<tick> await_result() noexcept;

   private:
    friend interval;
    explicit next_operation(interval& of) noexcept;
    static void run(detail::runnable& self) noexcept;
    static const detail::waiter_kind kind_of_next;
    interval& interval_;
  };

  /// The first tick comes one period from now.
  ///
  /// @param period   More than zero.
  /// @threads        In a turn of an executor, whose clock it takes. Used on that executor only.
  explicit interval(std::chrono::nanoseconds period) noexcept;

  /// Waits for the next tick; for a tick that is overdue, until the executor's next turn.
  ///
  /// @return        The latest tick that has come, and how many came before it and were missed.
  /// @cancellation  Safe; at once. No tick is lost: the next call gives it.
  /// @threads       From one coroutine at a time.
  next_operation next() noexcept { return next_operation{*this}; }

  /// Begins anew: the next tick comes one period from now, and none was missed. A next() that waits, waits for that.
  ///
  /// @threads        As the constructor.
  void reset() noexcept;

  [[nodiscard]] std::chrono::nanoseconds period() const noexcept { return period_; }

 private:
  tick take(detail::clock_ns now) noexcept;

  std::chrono::nanoseconds period_;
  detail::clock_ns due_;  // of the tick that next() waits for
};

}  // namespace gyre
