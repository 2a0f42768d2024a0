// SPDX-License-Identifier: MIT
// The messages of a visit to another executor, each as it is sent and as it arrives.
#include <gyre/runtime/assert.hpp>
#include <gyre/runtime/error.hpp>
#include <gyre/runtime/on.hpp>

#include <cerrno>

namespace gyre::detail {

constinit const runnable_kind visit_base::message::kind_of_message{&message::run};
constinit const waiter_kind visit_base::kind_of_visit{
    {&waiter::run_slowly}, &visit_base::ask_to_stop, "on another executor"};

void visit_base::message::send(gyre::executor& to, run_fn what) noexcept {
  arrives = what;
  to.post(*this);  // from here on it may be gone
}

void visit_base::message::run(runnable& self) noexcept {
  auto& mine = static_cast<message&>(self);
  (mine.visit.*mine.arrives)();
}

// ------------------------------------------------------------------------------------------------------------- here

void visit_base::send_task() noexcept {
  here_ = &loop();
  task_.send(*there_, &visit_base::task_arrives);
}

void visit_base::ask_to_stop(waiter& self) noexcept {
  auto& mine = static_cast<visit_base&>(self);
  const std::uint8_t before = mine.said_.fetch_or(stop, std::memory_order_acq_rel);
  if (before == nothing) mine.stop_.send(*mine.there_, &visit_base::stop_arrives);
}

void visit_base::comes_back() noexcept {
  settle(/*as_stopped=*/was_stopped_there_ && waiter::scope().stop_requested());
}

void visit_base::come_back() {
  end_wait();
  if (was_stopped()) throw_errno(ECANCELED, "on");
  if (was_stopped_there_) throw_errno(ECANCELED, "on: the task was stopped on the other executor");
}

// ------------------------------------------------------------------------------------------------------------ there

// A stop that was sent before this arrived comes right behind it: the same thread posts both.
void visit_base::task_arrives() noexcept {
  const bool may_stay = there_->receive(guest_);
  if (may_stay && said_.load(std::memory_order_acquire) == nothing)
    return guest_kind_->begin(*this, guest_->scope).resume();
  guest_kind_->drop(*this);
  end(ending::stopped);
}

void visit_base::stop_arrives() noexcept {
  stop_has_arrived_ = true;
  const bool has_ended = (said_.load(std::memory_order_relaxed) & ended) != 0;
  if (has_ended) send_back();
  else guest_->scope.cancel("the coroutine that awaits it, on another executor, is stopped");
}

// Who has said that a stop comes need not have posted it yet. So the guest stays until it has arrived, and with it the
// executor that it is posted to.
void visit_base::end(ending how) noexcept {
  was_stopped_there_ = how == ending::stopped;
  const std::uint8_t before = said_.fetch_or(ended, std::memory_order_acq_rel);
  const bool stop_is_under_way = (before & stop) != 0 && !stop_has_arrived_;
  if (!stop_is_under_way) send_back();
}

void visit_base::send_back() noexcept {
  there_->part_with(guest_);
  task_.send(*here_, &visit_base::comes_back);
}

}  // namespace gyre::detail
