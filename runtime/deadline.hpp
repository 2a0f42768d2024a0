// SPDX-License-Identifier: MIT
// Deadlines on one operation and on whole tasks.
//
// On one operation a deadline is kept by the kernel, as a linked timeout, or by the executor's timer heap, which ends
// the operation by a cancel. The kernel's is exact and needs no executor, but costs 0.6-1.1 us an operation and never
// fires on one that a kernel worker runs; so it is used up to executor_options::linked_timeout_max, and not for such
// operations. The meaning is the same: an operation that comes back with a result delivers it, however late; one that
// the deadline ended throws timed_out; a cancel of the scope is still a stop, and wins over the deadline when both
// came.
//
//   order                                          ends as
//   completion, then deadline                      its result
//   deadline, then completion with a result        its result
//   deadline, then its -ECANCELED                  timed_out
//   cancel and deadline, in any order, -ECANCELED  stopped
//
// On a task a deadline is a scope that cancels itself; it lives in the timer heap.
#pragma once

#include <gyre/runtime/detail/timer_heap.hpp>
#include <gyre/runtime/executor.hpp>
#include <gyre/runtime/operation.hpp>
#include <gyre/runtime/scope.hpp>
#include <gyre/runtime/task.hpp>

#include <cerrno>
#include <chrono>
#include <concepts>
#include <coroutine>
#include <cstdint>
#include <utility>

namespace gyre {
namespace detail {

enum class deadline_by : std::uint8_t {
  options,  // as executor_options::linked_timeout_max says
  kernel    // a linked timeout in every case
};

/// The part of a deadline that does not depend on the operation's type.
class operation_deadline : timer {
 protected:
  operation_deadline(std::chrono::nanoseconds duration, deadline_by keeper) noexcept
      : timer{&expired}, duration_{duration}, keeper_{keeper} {}
  operation_deadline(operation_deadline&& other) noexcept : operation_deadline{other.duration_, other.keeper_} {}
  ~operation_deadline() { disarm(); }

  /// Before `op` is awaited, on `loop`.
  void arm(operation& op, executor& loop) noexcept {
    const bool is_long = duration_ > loop.short_duration_max() && keeper_ == deadline_by::options;
    if (!is_long) return arm_with_care(op, loop);
    op_ = &op;
    loop_ = &loop;
    loop.timers().arm(*this, later(loop.turn_time(), duration_));
  }
  void disarm() noexcept {
    if (armed()) loop_->timers().disarm(*this);
  }

 private:
  void arm_with_care(operation& op, executor& loop) noexcept;
  static void expired(timer& self) noexcept { static_cast<operation_deadline&>(self).op_->expire(); }

  std::chrono::nanoseconds duration_;
  operation* op_ = nullptr;
  executor* loop_ = nullptr;
  deadline_by keeper_;
};

/// Awaits an operation with a deadline.
template <class Op>
class timed_operation : operation_deadline {
 public:
  using gyre_awaitable = void;

  timed_operation(Op&& op, std::chrono::nanoseconds duration, deadline_by keeper) noexcept
      : operation_deadline{duration, keeper}, op_{std::move(op)} {}

  bool await_ready() const noexcept { return false; }

  template <class Promise>
  void await_suspend(std::coroutine_handle<Promise> awaiting) noexcept {
    if constexpr (gyre_promise<Promise>) arm(op_, awaiting.promise().bound->scope->executor());
    else arm(op_, executor::current());
    op_.await_suspend(awaiting);
  }

  decltype(auto) await_resume() {
    disarm();
    return op_.await_resume();
  }
  auto await_result() {
    disarm();
    return op_.await_result();
  }

 private:
  Op op_;
};

/// Awaits a task in a scope with a deadline.
template <class T>
class timed_task final : public scoped_task<T> {
 public:
  timed_task(task<T>&& body, std::chrono::nanoseconds duration, cancel_scope::kind how) noexcept
      : scoped_task<T>{how}, body_{std::move(body)}, duration_{duration} {}

  template <class Promise>
  std::coroutine_handle<> await_suspend(std::coroutine_handle<Promise> awaiting) noexcept {
    return this->begin_in_scope(awaiting, [this](cancel_scope& scope) {
      scope.set_deadline(time_point_of(deadline_after(scope.executor(), duration_)));
      return std::move(body_);
    });
  }

  T await_resume() {
    if (this->timed_out_here()) throw_errno(ETIMEDOUT, "the deadline of a task");
    return this->take();
  }

 private:
  task<T> body_;
  std::chrono::nanoseconds duration_;
};

}  // namespace detail

/// Awaits an operation, for at most `duration`.
///
/// @param duration  From the co_await on; zero or less: whatever completes at once is delivered, anything else times
///                  out.
/// @param op        An operation that was not awaited yet.
/// @return          What the operation gives. A result that crossed the deadline is delivered.
/// @errors          timed_out, and the operation's own.
/// @cancellation    As the operation's. Stopped wins over timed_out.
/// @limits          A duration of more than 100 ms that the executor keeps counts from the beginning of its turn: on a
///                  busy executor it ends early by as much as a turn takes. An operation that a kernel worker has begun
///                  on a file ends when it ends: the deadline waits for it.
/// @source          io_uring_prep_link_timeout(3), IORING_OP_ASYNC_CANCEL. Linux 5.5.
template <std::derived_from<operation> Op>
[[nodiscard]] detail::timed_operation<Op> with_timeout(std::chrono::nanoseconds duration, Op op) noexcept {
  return detail::timed_operation<Op>{std::move(op), duration, detail::deadline_by::options};
}

/// Awaits a task, for at most `duration`: then its scope is cancelled, and its frames are taken down.
///
/// @param duration  From the co_await on; zero or less: the task is stopped at its first wait.
/// @return          What the task returns. A value that crossed the deadline is delivered.
/// @errors          timed_out, and what the task throws; operation_canceled when the task cancelled the scope of its
///                  deadline by hand, which this_task::scope() finds.
/// @cancellation    As the task's. Stopped wins over timed_out.
template <class T>
[[nodiscard]] detail::timed_task<T> with_timeout(std::chrono::nanoseconds duration, task<T> body) noexcept {
  return detail::timed_task<T>{std::move(body), duration, cancel_scope::kind::plain};
}

/// The same for any other awaitable of gyre's.
template <detail::own_awaitable Awaitable>
  requires(!std::derived_from<Awaitable, operation>)
[[nodiscard]] auto with_timeout(std::chrono::nanoseconds duration, Awaitable awaitable) {
  return with_timeout(duration, detail::as_task(std::move(awaitable)));
}

/// Runs something that cancels from outside cannot reach, for at most `duration`: cleanup that must not hang.
///
/// One scope that is a shield and has a deadline. What the deadline ended throws, whatever happened outside meanwhile:
/// a stop from there comes at the next wait after it.
///
/// @param duration  From the co_await on.
/// @param body      A task, or anything else of gyre's that can be awaited.
/// @return          What the task returns. A value that crossed the deadline is delivered.
/// @errors          timed_out, and what the task throws.
/// @cancellation    Not reached by any from outside.
template <class T>
[[nodiscard]] detail::timed_task<T> shield(std::chrono::nanoseconds duration, task<T> body) noexcept {
  return detail::timed_task<T>{std::move(body), duration, cancel_scope::kind::shielded};
}

template <detail::own_awaitable Awaitable>
[[nodiscard]] auto shield(std::chrono::nanoseconds duration, Awaitable awaitable) {
  return shield(duration, detail::as_task(std::move(awaitable)));
}

}  // namespace gyre
