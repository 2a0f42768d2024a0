// SPDX-License-Identifier: MIT
// The beginning and the end of a wait.
#include <gyre/runtime/detail/waiter.hpp>
#include <gyre/runtime/executor.hpp>
#include <gyre/runtime/task.hpp>

namespace gyre::detail {

bool waiter::enter_scope(std::coroutine_handle<> awaiter, cancel_scope& scope) noexcept {
  GYRE_ASSERT(phase_ == phase::idle, "one coroutine waits in a waiter, once");
  executor& loop = scope.executor();
  GYRE_ASSERT(&executor::current() == &loop, "an executor was used from another thread, or from a turn of another executor");
  awaiter_ = awaiter;
  scope_ = &scope;
  since_ms_ = static_cast<std::uint32_t>(loop.coarse_now() / 1'000'000);
  phase_ = phase::waiting;
  scope.enter(*this);
  if (!scope.stop_requested()) [[likely]] return true;
  settle(/*stopped=*/true);
  return false;
}

void waiter::settle(bool stopped) noexcept {
  GYRE_ASSERT(phase_ == phase::waiting, "a wait ends once");
  phase_ = phase::ready;
  stopped_ = stopped;
  unlink();
  scope_->executor().make_ready(*this);
}

void waiter::run(runnable& self) noexcept {
  auto& ready = static_cast<waiter&>(self);
  ready.phase_ = phase::done;
  if (ready.stopped_ && !ready.stop_as_error_) [[unlikely]] return unwind(ready.awaiter_).resume();
  if (ready.foreign_) [[unlikely]] ready.scope_->executor().set_foreign_scope(*ready.scope_);
  ready.awaiter_.resume();  // `ready` may no longer exist after this line
}

cancel_scope& waiter::foreign_scope() noexcept { return scope_of_foreign(); }

void enter_foreign(cancel_scope& scope) noexcept { scope.executor().set_foreign_scope(scope); }

cancel_scope& scope_of_foreign() noexcept { return executor::current().foreign_scope(); }

}  // namespace gyre::detail
