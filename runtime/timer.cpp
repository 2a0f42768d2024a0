// SPDX-License-Identifier: MIT
// Waits for a point in time: in the timer heap until they are due or cancelled.
#include <gyre/runtime/error.hpp>
#include <gyre/runtime/executor.hpp>
#include <gyre/runtime/timer.hpp>

#include <algorithm>
#include <cerrno>

namespace gyre {

namespace detail {

void timer_wait::arm() noexcept { loop().arm_on(due_, *this); }

constinit const timer_kind timer_wait::kind_of_timer{&timer_wait::expired};

void timer_wait::expired(timer& self) noexcept { static_cast<timer_wait&>(self).settle(/*as_stopped=*/false); }

void timer_wait::cancel_waiting(waiter& self) noexcept {
  auto& wait = static_cast<timer_wait&>(self);
  wait.loop().disarm_on(wait.due_.clock(), wait);
  wait.settle(/*as_stopped=*/true);
}

void timer_wait::describe(const waiter& self, wait_details& told) noexcept {
  const auto& wait = static_cast<const timer_wait&>(self);
  told.due_ns = wait.loop().on_steady_clock(wait.due_);
}

void timer_wait::resumed() {
  end_wait();
  if (was_stopped()) [[unlikely]]
    throw_errno(ECANCELED, name());
}

result<void> timer_wait::resumed_with_result() noexcept {
  end_wait();
  if (was_stopped()) return errno_code(ECANCELED);
  return {};
}

}  // namespace detail

constinit const detail::waiter_kind sleep_operation::kind_of_sleep{
    {&sleep_operation::run_slowly}, &sleep_operation::cancel_waiting, "sleep", &sleep_operation::describe};

sleep_operation sleep_for(std::chrono::nanoseconds duration) noexcept {
  return sleep_operation{{detail::clock_id::steady, detail::deadline_after(executor::current(), duration)}};
}

sleep_operation sleep_until(point_in_time when) noexcept { return sleep_operation{when}; }

// ------------------------------------------------------------------------------------------------------- interval

constinit const detail::waiter_kind interval::next_operation::kind_of_next{
    {&next_operation::run}, &next_operation::cancel_waiting, "interval", &next_operation::describe};

interval::interval(std::chrono::nanoseconds period) noexcept : period_{period} {
  GYRE_ASSERT(period.count() > 0, "an interval has a period of more than zero");
  reset();
}

void interval::reset() noexcept { due_ = detail::deadline_after(executor::current(), period_); }

// A tick that the wait ended for has come: `now` is no earlier than due_. So the latest one is at most a period ago.
interval::tick interval::take(detail::clock_ns now) noexcept {
  const std::int64_t missed_count = std::max<std::int64_t>(now - due_, 0) / period_.count();
  const detail::clock_ns due = due_ + missed_count * period_.count();
  due_ = detail::later(due, period_);
  return {.due = detail::time_point_of(due), .missed_count = static_cast<std::uint64_t>(missed_count)};
}

interval::next_operation::next_operation(interval& of) noexcept
    : timer_wait{kind_of_next, {detail::clock_id::steady, of.due_}}, interval_{of} {}

// Its time has come, or it was stopped. Where reset() has put the tick off meanwhile, the wait goes on: the timer is
// not moved at each reset(), of which there may be one a message.
void interval::next_operation::run(detail::runnable& self) noexcept {
  auto& mine = static_cast<next_operation&>(self);
  const bool is_put_off = mine.interval_.due_ > mine.due_at();
  if (mine.was_stopped() || !is_put_off) return run_slowly(self);
  if (mine.wait_again()) mine.put_off(mine.interval_.due_);
}

interval::tick interval::next_operation::await_resume() {
  resumed();
  return interval_.take(loop().now());
}

result<interval::tick> interval::next_operation::await_result() noexcept {
  const auto ended = resumed_with_result();
  if (!ended) return ended.error();
  return interval_.take(loop().now());
}

}  // namespace gyre
