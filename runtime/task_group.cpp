// SPDX-License-Identifier: MIT
// The children of a task group, from their start to their end.
#include <gyre/runtime/error.hpp>
#include <gyre/runtime/executor.hpp>
#include <gyre/runtime/log.hpp>
#include <gyre/runtime/task_group.hpp>

#include <cerrno>
#include <utility>

namespace gyre {

inline void task_group::queue(detail::runnable& begun) noexcept {
  GYRE_ASSERT(scope_.has_value(), "a task is started in a group that is open");
  GYRE_ASSERT(scope_->executor().belongs_to_this_thread(),
              "a task is started on its group's executor: from another thread, post() what starts it");
  scope_->executor().make_ready(begun);
  ++awaiting_.running_count;
}

inline detail::next_step task_group::child_left() noexcept {
  if (--awaiting_.running_count == 0 || room_is_wanted_) return child_left_with_care();
  return {std::noop_coroutine()};
}

// Owns a child's frame. Deletes itself when the child has ended; its memory comes from the frame pool.
class task_group::child final : detail::runnable, detail::bounded_task<void> {
 public:
  child(task_group& group, task<>&& body) noexcept
      : runnable{kind_of_child}, bounded_task{std::move(body), &ended}, group_{group} {
    group.queue(*this);
  }

  static void* operator new(std::size_t bytes) { return detail::allocate_frame(bytes); }
  static void operator delete(void* memory, std::size_t bytes) noexcept { detail::deallocate_frame(memory, bytes); }

 private:
  static void run(runnable& self) noexcept {
    auto& queued = static_cast<child&>(self);
    cancel_scope& scope = *queued.group_.scope_;
    if (scope.stop_requested()) detail::follow(queued.leave()).resume();
    else queued.begin(scope).resume();
  }

  static detail::next_step ended(detail::boundary& self, detail::ending how) noexcept {
    auto& running = static_cast<child&>(self);
    running.leave_scope();
    if (how == detail::ending::ended) running.take();
    return running.leave();
  }

  void take() noexcept {
    try {
      take_result();
    } catch (...) {
      group_.child_failed(std::current_exception());
    }
  }

  detail::next_step leave() noexcept {
    task_group& group = group_;
    delete this;
    return group.child_left();
  }

  static constexpr detail::runnable_kind kind_of_child{&child::run};
  task_group& group_;
};

void task_group::start(task<> started) {
  new child{*this, std::move(started)};  // deletes itself when it has ended
}

detail::next_step task_group::child_left_with_care() noexcept {
  if (room_is_wanted_) offer_room();
  return leave_if_empty();
}

void task_group::child_failed(std::exception_ptr error) noexcept {
  const error_handling& chosen = options_.on_error;
  if (chosen.handler_ == nullptr) return failed(std::move(error), chosen.policy_);
  try {
    chosen.handler_->handle(std::move(error));
  } catch (...) {
    failed(std::current_exception(), cancel_siblings);
  }
}

void task_group::failed(std::exception_ptr error, error_policy policy) noexcept {
  if (policy == error_policy::log_and_continue)
    return log::exception("a task of a group failed; the others go on", error);
  if (error_) return log::exception("another task of the group failed as well", error);
  error_ = std::move(error);
  scope_->cancel("another task of its group has failed");
}

detail::next_step task_group::leave_if_empty() noexcept {
  if (awaiting_.running_count > 0 || body_runs_) return {std::noop_coroutine()};
  awaitable_children_.for_each([](detail::result_child_base& ended) { ended.forget_group(); });
  const bool cancelled = scope_->stop_requested();
  scope_.reset();
  const bool stopped = cancelled && !error_ && awaiting_.scope().stop_requested();
  if (stopped && awaiting_.can_be_stopped()) return awaiting_.stopped();
  stopped_ = stopped;
  return awaiting_.resumed();
}

// ------------------------------------------------------------------------------------------------------------ room

constinit const detail::waiter_kind task_group::room_operation::kind_of_room{
    {&room_operation::run}, &room_operation::cancel_waiting, "room in a task group"};

// To the first in line who has no offer yet, as long as there is more room than offers.
void task_group::offer_room() noexcept {
  room_is_wanted_ = !waiting_for_room_.empty();
  if (awaiting_.running_count + offers_count_ >= options_.max_tasks) return;
  room_operation* first = waiting_for_room_.front();
  while (first != nullptr && first->offered_) first = waiting_for_room_.after(*first);
  if (first == nullptr) return;
  first->offered_ = true;
  ++offers_count_;
  first->settle(/*as_stopped=*/false);
}

bool task_group::room_operation::suspend(std::coroutine_handle<> awaiter, detail::boundary& bound) noexcept {
  GYRE_ASSERT(group_.options_.max_tasks > 0, "a group of at most no tasks never has room");
  const bool is_first = group_.waiting_for_room_.empty();
  if (is_first && group_.has_room() && !bound.scope->stop_requested()) return false;
  if (!begin_below(awaiter, bound)) return true;
  run_through_kind();
  group_.room_is_wanted_ = true;
  group_.waiting_for_room_.push_back(*this);
  return true;
}

// Offered, or stopped.
void task_group::room_operation::run(runnable& self) noexcept {
  auto& mine = static_cast<room_operation&>(self);
  if (mine.was_stopped()) return run_slowly(self);
  mine.offered_ = false;
  --mine.group_.offers_count_;
  if (!mine.group_.has_room() && mine.wait_again()) return;
  mine.unlink();
  if (!mine.was_stopped()) run_slowly(self);
}

void task_group::room_operation::cancel_waiting(waiter& self) noexcept {
  auto& mine = static_cast<room_operation&>(self);
  mine.unlink();
  mine.settle(/*as_stopped=*/true);
}

void task_group::room_operation::await_resume() {
  const auto ended = await_result();
  if (!ended) detail::throw_errno(ECANCELED, name());
}

result<void> task_group::room_operation::await_result() noexcept {
  end_wait();
  if (was_stopped()) return detail::errno_code(ECANCELED);
  group_.offer_room();
  return {};
}

// ---------------------------------------------------------------------------------------------------------- results

namespace detail {

constinit const waiter_kind task_handle_base::kind_of_handle{
    {&task_handle_base::run_slowly}, &task_handle_base::cancel_waiting, "a task's result"};

void task_handle_base::cancel_waiting(waiter& self) noexcept {
  auto& handle = static_cast<task_handle_base&>(self);
  handle.child_->resume_at_end(nullptr);
  handle.settle(/*as_stopped=*/true);
}

result_child_base::result_child_base(const runnable_kind& its_kind, task_group& group) noexcept
    : runnable{its_kind}, group_{&group} {
  group.queue(*this);
  group.awaitable_children_.push_back(*this);
}

cancel_scope& result_child_base::group_scope() const noexcept { return *group_->scope_; }

void result_child_base::failed(std::exception_ptr error) noexcept {
  if (group_ != nullptr) group_->child_failed(std::move(error));
  else log::exception("a task failed, its group has closed, and nobody awaited its result", error);
}

void result_child_base::note_end(ending how) noexcept {
  state_ = how == ending::stopped ? state::stopped : state::ended;
  if (awaiting_ != nullptr) awaiting_->settle(/*as_stopped=*/false);
}

next_step result_child_base::leave(task_group& group) noexcept { return group.child_left(); }

}  // namespace detail
}  // namespace gyre
