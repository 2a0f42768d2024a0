// SPDX-License-Identifier: MIT
// A sleep: in the timer heap until it is due or cancelled.
#include <gyre/runtime/error.hpp>
#include <gyre/runtime/executor.hpp>
#include <gyre/runtime/timer.hpp>

#include <cerrno>

namespace gyre {

constinit const detail::waiter_kind sleep_operation::kind_of_sleep{
    {&sleep_operation::run_slowly}, &sleep_operation::cancel_waiting, "sleep"};

void sleep_operation::arm() noexcept { loop().timers().arm(*this, due_); }

void sleep_operation::expired(detail::timer& self) noexcept {
  static_cast<sleep_operation&>(self).settle(/*as_stopped=*/false);
}

void sleep_operation::cancel_waiting(detail::waiter& self) noexcept {
  auto& sleep = static_cast<sleep_operation&>(self);
  sleep.loop().timers().disarm(sleep);
  sleep.settle(/*as_stopped=*/true);
}

void sleep_operation::await_resume() {
  end_wait();
  if (was_stopped()) [[unlikely]]
    detail::throw_errno(ECANCELED, "sleep");
}

result<void> sleep_operation::await_result() noexcept {
  end_wait();
  if (was_stopped()) return detail::errno_code(ECANCELED);
  return {};
}

sleep_operation sleep_for(std::chrono::nanoseconds duration) noexcept {
  return sleep_operation{detail::deadline_after(executor::current(), duration)};
}

sleep_operation sleep_until(std::chrono::steady_clock::time_point when) noexcept {
  return sleep_operation{when.time_since_epoch().count()};
}

}  // namespace gyre
