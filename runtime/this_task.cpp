// SPDX-License-Identifier: MIT
// The slow way of a yield: its scope is cancelled, or the coroutine is of somebody else's type.
#include <gyre/runtime/this_task.hpp>

namespace gyre {
namespace {

// It settles as soon as it waits, so that no cancel can find it waiting.
void cancel_waiting(detail::waiter&) noexcept {}

}  // namespace

constinit const detail::waiter_kind yield_operation::kind_of_yield{
    {&yield_operation::run_slowly}, &cancel_waiting, "yield"};
constinit const detail::waiter_kind yield_operation::kind_of_checkpoint{
    {&yield_operation::run_slowly}, &cancel_waiting, "checkpoint"};

bool yield_operation::suspend_with_care(std::coroutine_handle<> awaiter, detail::boundary& bound) noexcept {
  if (suspends_ == when::when_stopped && !bound.scope->stop_requested()) return false;
  if (!begin_below(awaiter, bound)) return true;
  settle_unqueued();
  if (has(foreign)) run_through_kind();
  loop().make_ready_next_turn(*this);
  return true;
}

}  // namespace gyre
