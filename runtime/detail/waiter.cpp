// SPDX-License-Identifier: MIT
// The beginning and the end of a wait.
#include <gyre/runtime/detail/waiter.hpp>
#include <gyre/runtime/executor.hpp>

#include <utility>

namespace gyre::detail {

gyre::executor& waiter::loop() const noexcept { return bound_->scope->executor(); }

bool waiter::begin_below(std::coroutine_handle<> awaiter, boundary& bound) noexcept {
  gyre::executor::current().begin(*this, awaiter, bound);
  stage_ = stage::waiting;
  if (!bound.scope->stop_requested()) [[likely]] return true;
  settle(/*as_stopped=*/true);
  return false;
}

void waiter::settle(bool as_stopped) noexcept {
  GYRE_ASSERT(is_waiting(), "a wait ends once");
  stage_ = stage::ready;
  if (as_stopped) flags_ |= stopped;
  loop().make_ready(*this);
}

// Out of the way of a cancel. Nearly always it is the only one, or the newest.
inline void waiter::leave_boundary() noexcept {
  waiter** link = &bound_->waiting;
  while (*link != this) link = &(*link)->below_;
  *link = below_;
}

void waiter::run(runnable& self) noexcept {
  auto& ready = static_cast<waiter&>(self);
  ready.leave_boundary();
  ready.stage_ = stage::done;
  if ((ready.flags_ & (stopped | foreign)) != 0) [[unlikely]] {
    if ((ready.flags_ & stop_as_error) == 0) return unwind(ready.awaiter_).resume();
    if ((ready.flags_ & foreign) != 0) enter_foreign(*ready.bound_);
  }
  ready.awaiter_.resume();  // `ready` may no longer exist after this line
}

boundary& foreign_boundary() noexcept { return executor::current().foreign_boundary(); }

void enter_foreign(boundary& bound) noexcept {
  bound.foreign_below = true;
  bound.scope->executor().set_foreign_boundary(bound);
}

void forget_foreign(boundary& bound) noexcept { bound.scope->executor().forget_boundary(bound); }

}  // namespace gyre::detail
