// SPDX-License-Identifier: MIT
// The beginning and the end of a wait.
#include <gyre/runtime/detail/waiter.hpp>
#include <gyre/runtime/executor.hpp>

#include <utility>

namespace gyre::detail {

gyre::executor& waiter::loop() const noexcept { return bound().scope->executor(); }

// The first lines are the way of nearly every wait. An undisturbed boundary has nobody below it who waits.
bool waiter::begin_below(std::coroutine_handle<> awaiter, boundary& bound) noexcept {
  if (gyre::executor::begin_plainly(*this, awaiter, bound)) [[likely]]
    return true;
  gyre::executor::begin(*this, awaiter, bound);
  set(stage::waiting);
  if (!bound.scope->stop_requested()) [[likely]]
    return true;
  settle(/*as_stopped=*/true);
  return false;
}

// Where something waits below the boundary already, coroutines of somebody else's type run side by side there. All know
// from here on that they are not alone, and leave the stack with care.
void waiter::enter_boundary(boundary& bound) noexcept {
  GYRE_ASSERT(current() == stage::idle, "an operation is awaited once");
  waiter* const other = std::exchange(bound.waiting, this);
  if (other == nullptr) {
    if (has(foreign)) be_lowest_of(bound);
    return;
  }
  if (!other->has(stacked)) {
    other->add(stacked);
    other->be_lowest_of(bound);
  }
  add(stacked);
  beneath_ = reinterpret_cast<std::uintptr_t>(other);
}

// Whoever is of somebody else's type finds the boundary afterwards as well.
void waiter::leave_boundary() noexcept {
  boundary& left = bound();
  if (!has(stacked)) {
    left.waiting = nullptr;
    return;
  }
  waiter* const under = below();
  if (left.waiting == this) {
    left.waiting = under;
  } else {
    waiter* above = left.waiting;
    while (above->below() != this) above = above->below();
    above->beneath_ = beneath_;
  }
  be_lowest_of(left);
}

boundary& waiter::bound_of_stack() const noexcept {
  const waiter* each = this;
  while (!each->is_lowest()) each = reinterpret_cast<const waiter*>(each->beneath_);
  return *reinterpret_cast<boundary*>(each->beneath_ & ~lowest);
}

void waiter::settle(bool as_stopped) noexcept {
  if (!as_stopped && is_plainly(stage::waiting)) [[likely]] {
    boundary& left = *promise_of(coroutine()).bound;
    left.waiting = nullptr;
    set(stage::ready);
    return left.scope->executor().make_ready(*this);
  }
  GYRE_ASSERT(is_waiting(), "a wait ends once");
  leave_boundary();
  set(stage::ready);
  if (as_stopped) add(stopped);
  if (has(stopped) || has(foreign)) run_through_kind();
  if (has(foreign)) ++bound().foreign_to_resume;
  loop().make_ready(*this);
}

void waiter::settle_in_place() noexcept {
  leave_boundary();
  set(stage::ready);
}

void waiter::settle_unqueued() noexcept {
  settle_in_place();
  if (has(foreign)) ++bound().foreign_to_resume;
}

bool waiter::wait_again() noexcept {
  GYRE_ASSERT(current() == stage::ready && !has(stopped), "a wait goes on that had ended, and not as stopped");
  boundary& again = bound();
  if (has(foreign)) --again.foreign_to_resume;
  state_ &= ~(stage_mask | std::uint64_t{stacked});
  enter_boundary(again);
  set(stage::waiting);
  if (!scope().stop_requested()) return true;
  settle(/*as_stopped=*/true);
  return false;
}

void waiter::run_slowly(runnable& self) noexcept {
  auto& ready = static_cast<waiter&>(self);
  const auto awaiter = ready.coroutine();
  if (ready.has(stopped) && !ready.has(stop_as_error)) {
    ready.set(stage::done);
    return unwind(awaiter).resume();
  }
  if (ready.has(foreign)) {
    boundary& bound = ready.bound();
    --bound.foreign_to_resume;
    enter_foreign(bound);
  }
  awaiter.resume();  // `ready` may no longer exist after this line
}

boundary& foreign_boundary() noexcept { return executor::current().foreign_boundary(); }

void enter_foreign(boundary& bound) noexcept {
  if (!std::exchange(bound.foreign_below, true)) bound.foreign_to_resume = 0;
  bound.disturb();
  bound.scope->executor().set_foreign_boundary(bound);
}

void forget_foreign(boundary& bound) noexcept {
  GYRE_ASSERT(bound.waiting == nullptr,
              "a task has ended while a coroutine of another library still waits below it: it was not awaited, or was "
              "resumed by a coroutine below another task");
  GYRE_ASSERT(
      bound.foreign_to_resume == 0,
      "a task has ended while a coroutine of another library is about to go on below it: it was not awaited, or "
      "was resumed by a coroutine below another task");
  bound.scope->executor().forget_boundary(bound);
}

}  // namespace gyre::detail
