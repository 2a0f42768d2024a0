// SPDX-License-Identifier: MIT
// Sleeping.
//
// A sleep lives in the executor's timer heap: it costs no system call of its own. One that wakes an idle executor is as
// exact as a timeout of the kernel; one on a busy executor waits for its turn.
#pragma once

#include <gyre/runtime/detail/timer_heap.hpp>
#include <gyre/runtime/detail/waiter.hpp>
#include <gyre/runtime/result.hpp>

#include <chrono>
#include <coroutine>

namespace gyre {

/// The wait of sleep_for() and sleep_until().
class [[nodiscard]] sleep_operation final : public detail::waiter, detail::timer {
 public:
  explicit sleep_operation(detail::clock_ns due) noexcept : waiter{kind_of_sleep}, timer{&expired}, due_{due} {}
  sleep_operation(sleep_operation&& other) noexcept : waiter{kind_of_sleep, other}, timer{&expired}, due_{other.due_} {}
  ~sleep_operation() { GYRE_ASSERT(!armed(), "a sleep has left the timers when it ends"); }

  bool await_ready() const noexcept { return false; }
  template <class Promise>
  void await_suspend(std::coroutine_handle<Promise> awaiter) noexcept {
    if (begin(awaiter)) [[likely]]
      arm();
  }

  /// Throws operation_canceled when the stop was asked for as an error: stopped_as_error().
  void await_resume();
  [[nodiscard]] result<void> await_result() noexcept;

 private:
  void arm() noexcept;
  static void expired(detail::timer& self) noexcept;
  static void cancel_waiting(detail::waiter& self) noexcept;
  static const detail::waiter_kind kind_of_sleep;

  detail::clock_ns due_;
};

/// Waits until `duration` has passed since the call.
///
/// @param duration      Zero or less: until the next turn.
/// @cancellation        Safe; at once.
/// @limits              Never returns early. How late depends on how busy the executor is.
[[nodiscard]] sleep_operation sleep_for(std::chrono::nanoseconds duration) noexcept;

/// Waits until a point in time on the steady clock (CLOCK_MONOTONIC). Otherwise as sleep_for().
[[nodiscard]] sleep_operation sleep_until(std::chrono::steady_clock::time_point when) noexcept;

}  // namespace gyre
