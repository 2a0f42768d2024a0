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
//
// On the boot clock and the system clock, and where a deadline can be moved while it is waited for, all of that is the
// same; how it is kept stands in detail/clocked_deadline.hpp and detail/clock_timers.hpp.
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

}  // namespace detail

/// A deadline that can be moved while it is waited for: a watchdog, a connection that ends when nothing has come for a
/// while.
///
///   gyre::movable_deadline idle{30s};
///   …   co_await gyre::with_deadline(idle, client.read(buffer));
///   …   idle.expires_after(30s);                                    // another coroutine, whenever something was heard
///
/// Given to with_deadline(), move_on_at() or ops::link_timeout(), it is read when the wait begins, and followed until
/// the wait has ended. It can be used again and again, and limits one wait at a time.
///
///   it is moved                                     then
///   while nobody waits                              the next wait begins with the new time
///   while a task waits                              its scope's deadline is moved
///   while an operation waits                        its deadline is moved, in the kernel or in the executor's timers
///   into the past                                   the deadline passes: as soon as the executor looks
///   when the deadline has passed already, and the   it comes too late: the wait ends as timed out, or with the result
///   wait has not ended yet                          that crossed. The next wait begins with the new time
///   when the result is there, but was not resumed   the result is delivered
///
/// @tparam Clock  std::chrono::steady_clock, gyre::boot_clock or std::chrono::system_clock.
template <detail::known_clock Clock = std::chrono::steady_clock>
class movable_deadline : public detail::movable_base {
 public:
  using time_point = std::chrono::time_point<Clock, std::chrono::nanoseconds>;

  /// @param when  time_point::max() for never.
  explicit movable_deadline(time_point when) noexcept : movable_base{point_in_time{when}} {}

  /// @param from_now  From the call on.
  /// @threads         In a turn of an executor, whose clock it takes; used on that executor only.
  explicit movable_deadline(std::chrono::nanoseconds from_now) noexcept
      : movable_base{detail::id_of_clock<Clock>, from_now} {}

  /// Moves it, to earlier or later.
  ///
  /// @threads  The executor's thread.
  /// @limits   However often it is moved in a turn, the kernel is told once, at its end. It looks for the timeout among
  ///           all that are linked: 10 us at 2000. Where thousands of operations have such deadlines, keep them in the
  ///           executor's timers by executor_options::linked_timeout_max of zero: there a move costs some 20 ns.
  /// @source   io_uring_prep_timeout_update(3), IORING_LINK_TIMEOUT_UPDATE. Linux 5.15.
  void expires_at(time_point when) noexcept { move_to(when.time_since_epoch().count()); }

  /// The same to so long from now.
  ///
  /// @threads  In a turn of the executor.
  void expires_after(std::chrono::nanoseconds from_now) noexcept { move_from_now(from_now); }

  /// What it was last moved to.
  [[nodiscard]] time_point expiry() const noexcept { return time_point{std::chrono::nanoseconds{when().at()}}; }
};

template <class Clock, class Duration>
movable_deadline(std::chrono::time_point<Clock, Duration>) -> movable_deadline<Clock>;
template <class Rep, class Period>
movable_deadline(std::chrono::duration<Rep, Period>) -> movable_deadline<>;

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
[[nodiscard]] auto with_timeout(std::chrono::nanoseconds duration, Op op) noexcept {
  return detail::timed_operation<Op, detail::deadline_by::options>{std::move(op), duration};
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
[[nodiscard]] auto with_deadline(std::chrono::steady_clock::time_point when, Op op) noexcept {
  return detail::timed_operation<Op, detail::deadline_by::options_at>{std::move(op), when.time_since_epoch()};
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

/// The same on another clock, or with a deadline that can be moved.
///
/// @param when  A time_point on gyre::boot_clock, which goes on while the machine is suspended, or on
///              std::chrono::system_clock, the time of day: when somebody sets that clock, the deadline follows. Or a
///              movable_deadline, which outlives the wait.
/// @limits      On these clocks, and with a movable_deadline, an operation whose deadline the kernel keeps posts one
///              completion more, which says that the deadline has passed.
/// @source      io_uring_prep_link_timeout(3), IORING_TIMEOUT_BOOTTIME, IORING_TIMEOUT_REALTIME. Linux 5.15.
template <std::derived_from<operation> Op>
[[nodiscard]] auto with_deadline(detail::clocked_limit when, Op op) noexcept {
  return detail::timed_operation<Op, detail::deadline_by::options_on_any_clock>{std::move(op), when};
}
template <class T>
[[nodiscard]] detail::timed_task<T> with_deadline(detail::clocked_limit when, task<T> body) noexcept {
  return detail::timed_task<T>{"with_deadline", std::move(body), detail::time_limit{when}};
}
template <detail::own_awaitable Awaitable>
  requires(!std::derived_from<Awaitable, operation>)
[[nodiscard]] auto with_deadline(detail::clocked_limit when, Awaitable awaitable) {
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
[[nodiscard]] auto move_on_after(std::chrono::nanoseconds duration, Op op) noexcept {
  return detail::moving_on_operation<Op, detail::deadline_by::options>{std::move(op), duration};
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
[[nodiscard]] auto move_on_at(std::chrono::steady_clock::time_point when, Op op) noexcept {
  return detail::moving_on_operation<Op, detail::deadline_by::options_at>{std::move(op), when.time_since_epoch()};
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

/// The same on another clock, or with a deadline that can be moved: as with_deadline() on them.
template <std::derived_from<operation> Op>
[[nodiscard]] auto move_on_at(detail::clocked_limit when, Op op) noexcept {
  return detail::moving_on_operation<Op, detail::deadline_by::options_on_any_clock>{std::move(op), when};
}
template <class T>
[[nodiscard]] detail::moving_on_task<T> move_on_at(detail::clocked_limit when, task<T> body) noexcept {
  return detail::moving_on_task<T>{"move_on_at", std::move(body), detail::time_limit{when}};
}
template <detail::own_awaitable Awaitable>
  requires(!std::derived_from<Awaitable, operation>)
[[nodiscard]] auto move_on_at(detail::clocked_limit when, Awaitable awaitable) {
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
