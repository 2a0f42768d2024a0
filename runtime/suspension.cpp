// SPDX-License-Identifier: MIT
// How a wait of one's own making ends: granted here, granted elsewhere, or cancelled.
#include <gyre/runtime/assert.hpp>
#include <gyre/runtime/error.hpp>
#include <gyre/runtime/executor.hpp>
#include <gyre/runtime/suspension.hpp>

#include <cerrno>

namespace gyre {

bool suspension::begin_with_care(std::coroutine_handle<> awaiter, detail::boundary& bound) noexcept {
  executor_ = &bound.scope->executor();
  if (!begin_below(awaiter, bound)) return false;
  run_through_kind();
  return true;
}

// The kind is asked only where it has something to say; otherwise the coroutine is resumed straight from the queue.
void suspension::resume() noexcept {
  GYRE_ASSERT(executor_->belongs_to_this_thread(),
              "a wait is ended by resume() on the thread of its executor: elsewhere, resume_from_any_thread()");
  if (its_kind().arrived_or_null == nullptr) set_coroutine(coroutine());
  if (!is_plainly(stage::waiting)) [[unlikely]]
    return settle(/*as_stopped=*/false);
  bound().waiting = nullptr;
  set(stage::ready);
  executor_->make_ready(*this);
}

void suspension::resume_next_turn() noexcept {
  settle_unqueued();
  executor_->make_ready_next_turn(*this);
}

void suspension::resume_from_any_thread() noexcept {
  if (detail::current_executor == executor_) return resume();
  executor_->post(*this);  // it may no longer exist after this line
}

// From the ready queue: posted and still waiting, or settled.
void suspension::run(detail::runnable& self) noexcept {
  auto& mine = static_cast<suspension&>(self);
  if (mine.is_waiting()) mine.settle_unqueued();
  if (mine.was_stopped()) return run_slowly(self);
  const auto arrived = mine.its_kind().arrived_or_null;
  if (arrived == nullptr || arrived(mine)) run_slowly(self);
}

void suspension::cancel_waiting(detail::waiter& self) noexcept {
  auto& mine = static_cast<suspension&>(self);
  if (mine.its_kind().withdraw_from_list(mine)) mine.settle(/*as_stopped=*/true);
}

void suspension::throw_stopped() const { detail::throw_errno(ECANCELED, name()); }

result<void> suspension::resumed_with_result() noexcept {
  end_wait();
  if (was_stopped()) return detail::errno_code(ECANCELED);
  return {};
}

}  // namespace gyre
