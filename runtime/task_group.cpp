// SPDX-License-Identifier: MIT
// The children of a task group, from their start to their end.
#include <gyre/runtime/executor.hpp>
#include <gyre/runtime/log.hpp>
#include <gyre/runtime/task_group.hpp>

namespace gyre {

// Owns a child's frame. Deletes itself when the child has ended; its memory comes from the frame pool.
class task_group::child final : detail::runnable, detail::bounded_task<void> {
 public:
  child(task_group& group, task<>&& body) noexcept
      : runnable{kind_of_child}, bounded_task{std::move(body), &ended}, group_{group} {
    group.scope_->executor().make_ready(*this);
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
      group_.failed(std::current_exception(), group_.options_.on_error);
    }
  }

  detail::next_step leave() noexcept {
    task_group& group = group_;
    delete this;
    --group.children_count_;
    return group.leave_if_empty();
  }

  static constexpr detail::runnable_kind kind_of_child{&child::run};
  task_group& group_;
};

void task_group::start(task<> started) {
  GYRE_ASSERT(scope_.has_value(), "a task is started in a group that is open");
  new child{*this, std::move(started)};  // deletes itself when it has ended
  ++children_count_;
}

void task_group::failed(std::exception_ptr error, error_policy policy) noexcept {
  if (policy == error_policy::log_and_continue)
    return log::exception("a task of a group failed; the others go on", error);
  if (error_) return log::exception("another task of the group failed as well", error);
  error_ = std::move(error);
  scope_->cancel("another task of its group has failed");
}

detail::next_step task_group::leave_if_empty() noexcept {
  if (children_count_ > 0 || body_runs_) return {std::noop_coroutine()};
  const bool cancelled = scope_->stop_requested();
  scope_.reset();
  const bool stopped = cancelled && !error_ && awaiting_.scope().stop_requested();
  if (stopped && awaiting_.can_be_stopped()) return awaiting_.stopped();
  stopped_ = stopped;
  return awaiting_.resumed();
}

}  // namespace gyre
