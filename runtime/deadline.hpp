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
#include <gyre/runtime/detail/limited.hpp>
#include <gyre/runtime/operation.hpp>
#include <gyre/runtime/point_in_time.hpp>
#include <gyre/runtime/scope.hpp>
#include <gyre/runtime/task.hpp>

#include <chrono>
#include <concepts>
#include <utility>

namespace gyre {

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
