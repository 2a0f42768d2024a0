// SPDX-License-Identifier: MIT
// What awaits something with a deadline: an operation or a task, that has to end in time or is gone on without.
//
// The types by layers: time_limit and operation_deadline say when; limited_operation and limited_task await with that;
// timed_… makes an error of a deadline that has passed, moving_on_… an empty optional. What users call, and what each
// order of events ends as, stands in deadline.hpp.
#pragma once

#include <gyre/runtime/detail/clocked_deadline.hpp>
#include <gyre/runtime/detail/timer_heap.hpp>
#include <gyre/runtime/error.hpp>
#include <gyre/runtime/executor.hpp>
#include <gyre/runtime/operation.hpp>
#include <gyre/runtime/point_in_time.hpp>
#include <gyre/runtime/scope.hpp>
#include <gyre/runtime/task.hpp>

#include <cerrno>
#include <chrono>
#include <coroutine>
#include <cstdint>
#include <optional>
#include <type_traits>
#include <utility>

namespace gyre::detail {

enum class deadline_by : std::uint8_t {
  options,     // as executor_options::linked_timeout_max says
  options_at,  // the same, for a point in time
  kernel,      // a linked timeout in every case

  // The first and the last once more, on any clock, or where it can be moved.
  options_on_any_clock,
  kernel_on_any_clock
};

/// When something is to end: a span of time from its co_await on, a point in time, or as a movable_deadline says.
class time_limit {
 public:
  explicit time_limit(std::chrono::nanoseconds from_now_on) noexcept
      : from_now_on_{from_now_on}, limit_{point_in_time{clock_id::steady, 0}} {}
  explicit time_limit(std::chrono::steady_clock::time_point at) noexcept
      : time_limit{clocked_limit{point_in_time{at}}} {}
  explicit time_limit(clocked_limit limit) noexcept : limit_{limit} {}

  /// Gives `scope`, which is opened now, its deadline; before the scope goes.
  void begin(cancel_scope& scope) noexcept;
  void end() noexcept {
    if (movable_base* const mover = limit_.movable_or_null()) mover->end_to_limit();
  }

 private:
  std::optional<std::chrono::nanoseconds> from_now_on_;
  clocked_limit limit_;
};

/// The part of a deadline that does not depend on the operation's type.
class operation_deadline : protected timer {
 protected:
  operation_deadline(const timer_kind& its_kind, std::chrono::nanoseconds limit) noexcept
      : timer{its_kind}, limit_{limit} {}
  operation_deadline(const operation_deadline& before_it_is_awaited) noexcept
      : operation_deadline{before_it_is_awaited.its_kind(), before_it_is_awaited.limit_} {}

  /// Before `op` is awaited, on the executor whose turn it is: the way of nearly every deadline that is longer than a
  /// moment. Returns false when it has to be armed with care, and nothing has happened.
  bool arm_plainly(executor& loop) noexcept {
    if (limit_ <= loop.short_duration_max()) return false;
    // Not later(), which asks whether that can be counted: what cannot comes out as long ago, and no lane takes it.
    const auto due = static_cast<std::uint64_t>(loop.coarse_now()) + static_cast<std::uint64_t>(limit_.count());
    return loop.timers().arm_in_first_lane(*this, static_cast<clock_ns>(due));
  }
  void arm_with_care(operation& op, executor& loop, deadline_by keeper) noexcept;

  /// When `op` is back, or will never be.
  void disarm(const operation& op) noexcept {
    if (!leave_first_lane()) [[unlikely]]
      disarm_with_care(op);
    has_left();
  }

 private:
  void disarm_with_care(const operation& op) noexcept;

  std::chrono::nanoseconds limit_;  // with options_at: a point on the executor's clock
};

/// An operation and its deadline, awaited as one.
template <class Op, deadline_by Keeper>
class limited_operation : protected operation_deadline {
 public:
  using gyre_awaitable = void;
  using limit = std::chrono::nanoseconds;

  bool await_ready() const noexcept { return false; }

  template <class Promise>
  [[gnu::always_inline]] void await_suspend(std::coroutine_handle<Promise> awaiting) noexcept {
    if (!arm_plainly_below(awaiting)) [[unlikely]]
      return suspend_with_care(awaiting);
    op_.await_suspend(awaiting);
  }

 protected:
  limited_operation(Op&& op, std::chrono::nanoseconds until) noexcept
      : operation_deadline{kind_of_deadline, until}, op_{std::move(op)} {}
  limited_operation(limited_operation&&) noexcept = default;
  ~limited_operation() {
    if (armed()) disarm(op_);
  }

  /// The first thing when the coroutine is back.
  Op& ended() noexcept {
    disarm(op_);
    return op_;
  }

 private:
  static void expired(timer& self) noexcept { static_cast<limited_operation&>(self).op_.expire(); }
  static const timer_kind kind_of_deadline;

  // A call of its own, so that the plain way is small enough to become part of the coroutine.
  template <class Promise>
  [[gnu::noinline]] void suspend_with_care(std::coroutine_handle<Promise> awaiting) noexcept {
    if constexpr (gyre_promise<Promise>) arm_with_care(op_, awaiting.promise().bound->scope->executor(), Keeper);
    else arm_with_care(op_, executor::current(), Keeper);
    op_.await_suspend(awaiting);
  }

  template <class Promise>
  bool arm_plainly_below(std::coroutine_handle<Promise> awaiting) noexcept {
    if constexpr (gyre_promise<Promise> && Keeper == deadline_by::options) {
      executor* const loop = current_executor;
      return loop == awaiting.promise().bound->undisturbed_on && arm_plainly(*loop);
    } else {
      return false;
    }
  }

  Op op_;
};

template <class Op, deadline_by Keeper>
constexpr timer_kind limited_operation<Op, Keeper>::kind_of_deadline{&expired, sizeof(limited_operation)};
/// The same on any clock, or with a deadline that can be moved.
template <class Op, deadline_by Keeper>
  requires(Keeper >= deadline_by::options_on_any_clock)
class limited_operation<Op, Keeper> : protected clocked_deadline {
 public:
  using gyre_awaitable = void;
  using limit = clocked_limit;

  bool await_ready() const noexcept { return false; }

  template <class Promise>
  void await_suspend(std::coroutine_handle<Promise> awaiting) noexcept {
    if constexpr (gyre_promise<Promise>) begin(awaiting.promise().bound->scope->executor());
    else begin(executor::current());
    op_.await_suspend(awaiting);
  }

 protected:
  limited_operation(Op&& op, clocked_limit until) noexcept
      : clocked_deadline{kind_of_deadline, until}, op_{std::move(op)} {}
  limited_operation(limited_operation&&) noexcept = default;

  Op& ended() noexcept {
    disarm();
    return op_;
  }

 private:
  static const timer_kind kind_of_deadline;

  void begin(executor& loop) noexcept { arm(op_, loop, Keeper == deadline_by::kernel_on_any_clock); }

  Op op_;
};

template <class Op, deadline_by Keeper>
  requires(Keeper >= deadline_by::options_on_any_clock)
constexpr timer_kind limited_operation<Op, Keeper>::kind_of_deadline{&clocked_deadline::expired,
                                                                     sizeof(limited_operation)};

/// Awaits an operation with a deadline, which is an error when it has passed.
template <class Op, deadline_by Keeper>
class timed_operation final : public limited_operation<Op, Keeper> {
 public:
  timed_operation(Op&& op, typename limited_operation<Op, Keeper>::limit limit) noexcept
      : limited_operation<Op, Keeper>{std::move(op), limit} {}

  decltype(auto) await_resume() { return this->ended().await_resume(); }
  auto await_result() { return this->ended().await_result(); }
};

/// Awaits an operation with a deadline, which leaves nothing when it has passed.
template <class Op, deadline_by Keeper>
class moving_on_operation final : public limited_operation<Op, Keeper> {
  using T = decltype(std::declval<Op&>().await_resume());

 public:
  moving_on_operation(Op&& op, typename limited_operation<Op, Keeper>::limit limit) noexcept
      : limited_operation<Op, Keeper>{std::move(op), limit} {}

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
    return this->begin_in_scope(awaiting, [this](cancel_scope& opened) {
      limit_.begin(opened);
      return std::move(body_);
    });
  }

 protected:
  limited_task(const char* name, task<T>&& body, time_limit limit, cancel_scope::kind how) noexcept
      : scoped_task<T>{name, how, &ended}, body_{std::move(body)}, limit_{limit}, name_{name}, how_{how} {}
  limited_task(limited_task&& other) noexcept  // before it is awaited
      : limited_task{other.name_, std::move(other.body_), other.limit_, other.how_} {}

 private:
  static next_step ended(boundary& self, ending how) noexcept {
    static_cast<limited_task&>(static_cast<bounded_task<T>&>(self)).limit_.end();
    return scoped_task<T>::body_ended(self, how);
  }

  task<T> body_;
  time_limit limit_;
  const char* name_;
  cancel_scope::kind how_;
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

}  // namespace gyre::detail
