// SPDX-License-Identifier: MIT
// When the one timeout of a clock is armed, moved and armed anew.
#include <gyre/runtime/detail/clock_timers.hpp>
#include <gyre/runtime/detail/submission.hpp>

namespace gyre::detail {

clock_timers::clock_timers(clock_id clock, ring& its_ring, submission& its_submission) noexcept
    : movable_timeout{&fired, &prepare, /*linked=*/false}, ring_{its_ring}, submission_{its_submission} {
  when = {clock, 0};
}

void clock_timers::arm(timer& armed, clock_ns due) noexcept {
  if (heap_.empty()) heap_.reach(ring_.now_on(when.clock()));
  heap_.arm(armed, due);
  tell_kernel();
}

// The kernel knows of a timeout for the earliest timer, or for an earlier time.
void clock_timers::tell_kernel() noexcept {
  const point_in_time earliest{when.clock(), heap_.earliest()};
  if (where != place::none && when.at() <= earliest.at()) return;
  when = earliest;
  if (where == place::none) submission_.submit(*this);
  else if (where == place::in_kernel) submission_.submit_move(*this);
}

void clock_timers::prepare(completion_handler& self, io_uring_sqe& sqe) noexcept {
  auto& timers = static_cast<clock_timers&>(self);
  timers.submission_.describe_timeout(timers, sqe);
}

// Whatever the answer is: who is due has to hear of it, and who is not has to be waited for.
void clock_timers::fired(completion_handler& self, std::int32_t, std::uint32_t) noexcept {
  auto& timers = static_cast<clock_timers&>(self);
  timers.submission_.forget_move(timers);
  const clock_ns now = timers.ring_.now_on(timers.when.clock());
  while (timer* const expired = timers.heap_.pop_due(now)) expired->expire();
  if (!timers.heap_.empty()) timers.tell_kernel();
}

}  // namespace gyre::detail
