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
#include <gyre/runtime/error.hpp>
#include <gyre/runtime/executor.hpp>
#include <gyre/runtime/operation.hpp>
#include <gyre/runtime/scope.hpp>
#include <gyre/runtime/task.hpp>

#include <cerrno>
#include <chrono>
#include <concepts>
#include <coroutine>
#include <cstdint>
#include <optional>
#include <type_traits>
#include <utility>

namespace gyre {
namespace detail {

enum class deadline_by : std::uint8_t {
  options,     // as executor_options::linked_timeout_max says
  options_at,  // the same, for a point in time
  kernel       // a linked timeout in every case
};

/// When something is to end: a span of time from its co_await on, or a point in time.
class time_limit {
 public:
  explicit time_limit(std::chrono::nanoseconds from_now_on) noexcept : value_{from_now_on} {}
  explicit time_limit(std::chrono::steady_clock::time_point at) noexcept
      : value_{clock_of(at)}, is_point_in_time_{true} {}

  [[nodiscard]] std::chrono::steady_clock::time_point due(executor& loop) const noexcept {
    return time_point_of(is_point_in_time_ ? value_.count() : deadline_after(loop, value_));
  }

 private:
  std::chrono::nanoseconds value_;
  bool is_point_in_time_ = false;
};

/// The part of a deadline that does not depend on the operation's type.
class operation_deadline : timer {
  friend class task_tree;

 protected:
  operation_deadline(std::chrono::nanoseconds duration, deadline_by keeper) noexcept
      : timer{&expired}, duration_{duration}, keeper_{keeper} {}
  explicit operation_deadline(std::chrono::steady_clock::time_point at) noexcept
      : operation_deadline{std::chrono::nanoseconds{clock_of(at)}, deadline_by::options_at} {}
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

  std::chrono::nanoseconds duration_;  // with options_at: on the executor's clock
  operation* op_ = nullptr;
  executor* loop_ = nullptr;
  deadline_by keeper_;
};

/// An operation and its deadline, awaited as one.
template <class Op>
class limited_operation : operation_deadline {
 public:
  using gyre_awaitable = void;

  bool await_ready() const noexcept { return false; }

  template <class Promise>
  void await_suspend(std::coroutine_handle<Promise> awaiting) noexcept {
    if constexpr (gyre_promise<Promise>) arm(op_, awaiting.promise().bound->scope->executor());
    else arm(op_, executor::current());
    op_.await_suspend(awaiting);
  }

 protected:
  template <class... Limit>
  explicit limited_operation(Op&& op, Limit... limit) noexcept : operation_deadline{limit...}, op_{std::move(op)} {}

  /// The first thing when the coroutine is back.
  Op& ended() noexcept {
    disarm();
    return op_;
  }

 private:
  Op op_;
};

/// Awaits an operation with a deadline, which is an error when it has passed.
template <class Op>
class timed_operation final : public limited_operation<Op> {
 public:
  timed_operation(Op&& op, std::chrono::nanoseconds duration, deadline_by keeper) noexcept
      : limited_operation<Op>{std::move(op), duration, keeper} {}
  timed_operation(Op&& op, std::chrono::steady_clock::time_point at) noexcept
      : limited_operation<Op>{std::move(op), at} {}

  decltype(auto) await_resume() { return this->ended().await_resume(); }
  auto await_result() { return this->ended().await_result(); }
};

/// Awaits an operation with a deadline, which leaves nothing when it has passed.
template <class Op>
class moving_on_operation final : public limited_operation<Op> {
  using T = decltype(std::declval<Op&>().await_resume());

 public:
  moving_on_operation(Op&& op, std::chrono::nanoseconds duration) noexcept
      : limited_operation<Op>{std::move(op), duration, deadline_by::options} {}
  moving_on_operation(Op&& op, std::chrono::steady_clock::time_point at) noexcept
      : limited_operation<Op>{std::move(op), at} {}

  auto await_resume() {
    Op& op = this->ended();
    const bool whole = !op.ended_by_deadline();
    if (!whole) end_empty(op);
    if constexpr (std::is_void_v<T>) {
      if (whole) op.await_resume();
      return whole;
    } else {
      return whole ? std::optional<T>{op.await_resume()} : std::nullopt;
    }
  }

 private:
  // A transfer of many parts that got somewhere says so: what was moved is not to be lost.
  static void end_empty(Op& op) {
    if (op.its_kind().advance_or_null == nullptr) return static_cast<void>(op.await_result());
    try {
      static_cast<void>(op.await_resume());
    } catch (const transfer_error& error) {
      if (error.bytes() > 0) throw;
    }
  }
};

/// Awaits a task in a scope with a deadline.
template <class T>
class limited_task : public scoped_task<T> {
 public:
  template <class Promise>
  std::coroutine_handle<> await_suspend(std::coroutine_handle<Promise> awaiting) noexcept {
    return this->begin_in_scope(awaiting, [this](cancel_scope& scope) {
      scope.set_deadline(limit_.due(scope.executor()));
      return std::move(body_);
    });
  }

 protected:
  limited_task(const char* name, task<T>&& body, time_limit limit, cancel_scope::kind how) noexcept
      : scoped_task<T>{name, how}, body_{std::move(body)}, limit_{limit} {}

 private:
  task<T> body_;
  time_limit limit_;
};

/// The deadline is an error when it has passed.
template <class T>
class timed_task final : public limited_task<T> {
 public:
  timed_task(const char* name, task<T>&& body, time_limit limit,
             cancel_scope::kind how = cancel_scope::kind::plain) noexcept
      : limited_task<T>{name, std::move(body), limit, how} {}

  T await_resume() {
    if (this->timed_out_here()) throw_errno(ETIMEDOUT, "the deadline of a task");
    return this->take();
  }
};

/// The deadline leaves nothing when it has passed.
template <class T>
class moving_on_task final : public limited_task<T> {
 public:
  moving_on_task(const char* name, task<T>&& body, time_limit limit) noexcept
      : limited_task<T>{name, std::move(body), limit, cancel_scope::kind::plain} {}

  auto await_resume() { return this->take_unless_stopped_here(); }
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
///                  busy executor it ends early by as much as a turn takes. One that the kernel keeps counts from the
///                  turn's end, when the kernel takes the operation: it ends late by what was left of the turn. An
///                  operation that a kernel worker has begun on a file ends when it ends: the deadline waits for it.
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
  return detail::timed_task<T>{"with_timeout", std::move(body), detail::time_limit{duration}};
}

/// The same for any other awaitable of gyre's.
template <detail::own_awaitable Awaitable>
  requires(!std::derived_from<Awaitable, operation>)
[[nodiscard]] auto with_timeout(std::chrono::nanoseconds duration, Awaitable awaitable) {
  return with_timeout(duration, detail::as_task(std::move(awaitable)));
}

/// Awaits an operation, a task, or anything else of gyre's, until a point in time at the latest.
///
/// For what has one end in common: several steps in a row that together may take so long. Otherwise as with_timeout().
///
/// @param when  On the steady clock. In the past: an operation that completes at once is delivered; anything else times
///              out, a task at its first wait.
/// @errors      timed_out, and what it ends with by itself.
template <std::derived_from<operation> Op>
[[nodiscard]] detail::timed_operation<Op> with_deadline(std::chrono::steady_clock::time_point when, Op op) noexcept {
  return detail::timed_operation<Op>{std::move(op), when};
}
template <class T>
[[nodiscard]] detail::timed_task<T> with_deadline(std::chrono::steady_clock::time_point when, task<T> body) noexcept {
  return detail::timed_task<T>{"with_deadline", std::move(body), detail::time_limit{when}};
}
template <detail::own_awaitable Awaitable>
  requires(!std::derived_from<Awaitable, operation>)
[[nodiscard]] auto with_deadline(std::chrono::steady_clock::time_point when, Awaitable awaitable) {
  return with_deadline(when, detail::as_task(std::move(awaitable)));
}

/// Awaits an operation, a task, or anything else of gyre's, for at most `duration`, and then goes on without it: where
/// a deadline is an ordinary outcome and no error.
///
/// @param duration  From the co_await on; zero or less: as for with_timeout().
/// @return          optional<T>, empty when the deadline ended it; for void, a bool: whether it ran to its end. What
///                  crossed the deadline is delivered. A task also leaves nothing when it cancelled the scope of
///                  this deadline by hand.
/// @errors          What it ends with by itself, a timed_out of the kernel included. A transfer of many parts that the
///                  deadline ended half way throws its transfer_error: bytes() were moved.
/// @cancellation    As its own. A stop goes on outwards, and wins over the deadline.
template <std::derived_from<operation> Op>
[[nodiscard]] detail::moving_on_operation<Op> move_on_after(std::chrono::nanoseconds duration, Op op) noexcept {
  return detail::moving_on_operation<Op>{std::move(op), duration};
}
template <class T>
[[nodiscard]] detail::moving_on_task<T> move_on_after(std::chrono::nanoseconds duration, task<T> body) noexcept {
  return detail::moving_on_task<T>{"move_on_after", std::move(body), detail::time_limit{duration}};
}
template <detail::own_awaitable Awaitable>
  requires(!std::derived_from<Awaitable, operation>)
[[nodiscard]] auto move_on_after(std::chrono::nanoseconds duration, Awaitable awaitable) {
  return move_on_after(duration, detail::as_task(std::move(awaitable)));
}

/// The same until a point in time on the steady clock.
template <std::derived_from<operation> Op>
[[nodiscard]] detail::moving_on_operation<Op> move_on_at(std::chrono::steady_clock::time_point when, Op op) noexcept {
  return detail::moving_on_operation<Op>{std::move(op), when};
}
template <class T>
[[nodiscard]] detail::moving_on_task<T> move_on_at(std::chrono::steady_clock::time_point when, task<T> body) noexcept {
  return detail::moving_on_task<T>{"move_on_at", std::move(body), detail::time_limit{when}};
}
template <detail::own_awaitable Awaitable>
  requires(!std::derived_from<Awaitable, operation>)
[[nodiscard]] auto move_on_at(std::chrono::steady_clock::time_point when, Awaitable awaitable) {
  return move_on_at(when, detail::as_task(std::move(awaitable)));
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
  return detail::timed_task<T>{"shield", std::move(body), detail::time_limit{duration}, cancel_scope::kind::shielded};
}

template <detail::own_awaitable Awaitable>
[[nodiscard]] auto shield(std::chrono::nanoseconds duration, Awaitable awaitable) {
  return shield(duration, detail::as_task(std::move(awaitable)));
}

}  // namespace gyre
