// SPDX-License-Identifier: MIT
// The deadline of one operation that is on another clock than the executor's, or that can be moved while it waits.
//
// It is kept as a plain deadline is: by a timeout that is linked to the operation in the kernel, or by the timers of
// its clock. What differs is that the linked one is heard: it has a user_data of its own, by which it can be moved, and
// it posts a completion. Time alone would not tell whether it has fired: a clock can be set back, and a deadline be
// moved on in the moment in which it passes.
//
//   the timeout's completion says            so
//   -ETIME, 1 (of a futex wait), -EALREADY   it has fired. This comes before the completion of its operation, which it
//                                            has caused: -ECANCELED there means timed_out
//   -ECANCELED, -ENOENT                      its operation has ended, or will: nothing follows
//
// The timeout's completion can come when the operation is long gone; so what it is posted to is none of the
// operation's memory, but a node of the executor's (linked_timeout), and is let go by whoever ends first:
//
//   its completion is taken          the operation forgets it; it becomes spare
//   the operation is back            it forgets the operation, and waits for its completion
//   the operation goes on            the same, and the next request has another one
//   the kernel did not take it       keep_lost_deadline(): the timers take over
//   there is no memory for one       the same
//
// A move, moved_to(), in each state of the operation:
//
//   before the co_await, and after the end    the time is what the next co_await goes by: movable_deadline
//   it waits for an entry                     it will be submitted with the new time
//   the timers keep it                        moved there
//   the kernel keeps it                       a request follows at the end of the turn, one however often it was moved
//   its timeout has fired, or fires now       nothing: the move has come too late, and the operation ends as timed out,
//                                             or with the result that crossed. The request finds nothing
//   it has completed, and was not resumed     nothing: its result is delivered
#pragma once

#include <gyre/runtime/detail/clock_timers.hpp>
#include <gyre/runtime/detail/timer_heap.hpp>
#include <gyre/runtime/point_in_time.hpp>

#include <chrono>
#include <concepts>
#include <cstdint>

namespace gyre {

class cancel_scope;
class executor;
class operation;

namespace detail {

class clocked_deadline;

/// A linked timeout that is heard. Belongs to the executor's submission.
struct linked_timeout final : movable_timeout {
  explicit linked_timeout(submission& its_home) noexcept;

  static void ended(completion_handler& self, std::int32_t res, std::uint32_t flags) noexcept;

  submission& home;
  clocked_deadline* of = nullptr;  // null: the operation is back
};

/// What a movable_deadline is, on whatever clock.
class movable_base {
 public:
  movable_base(const movable_base&) = delete;
  movable_base& operator=(const movable_base&) = delete;

  [[nodiscard]] point_in_time when() const noexcept { return when_; }

 protected:
  explicit movable_base(point_in_time when) noexcept : when_{when} {}
  movable_base(clock_id clock, std::chrono::nanoseconds from_now) noexcept;
  ~movable_base();

  void move_to(clock_ns due) noexcept;
  void move_from_now(std::chrono::nanoseconds from_now) noexcept;

 private:
  friend class clocked_deadline;
  friend class time_limit;
  void begin_to_limit(clocked_deadline* an_operation, cancel_scope* a_scope) noexcept;
  void end_to_limit() noexcept { operation_ = nullptr, scope_ = nullptr; }

  point_in_time when_;
  clocked_deadline* operation_ = nullptr;  // what it limits now: one of the two, or nothing
  cancel_scope* scope_ = nullptr;
};

/// What a deadline can be given as, beside a time_point on the steady clock: one on another clock, or a
/// movable_deadline, which is read when the wait begins.
class clocked_limit {
 public:
  template <class Clock, class Duration>
    requires known_clock<Clock> && (!std::same_as<Clock, std::chrono::steady_clock>)
  clocked_limit(std::chrono::time_point<Clock, Duration> when) noexcept : when_{when} {}
  clocked_limit(movable_base& moved_by) noexcept : when_{moved_by.when()}, movable_or_null_{&moved_by} {}
  explicit clocked_limit(point_in_time when) noexcept : when_{when} {}

  [[nodiscard]] point_in_time when() const noexcept {
    return movable_or_null_ != nullptr ? movable_or_null_->when() : when_;
  }
  [[nodiscard]] movable_base* movable_or_null() const noexcept { return movable_or_null_; }

 private:
  point_in_time when_;
  movable_base* movable_or_null_ = nullptr;
};

class clocked_deadline : protected timer {
 public:
  /// Moves it: see above.
  void moved_to(clock_ns due) noexcept;

  [[nodiscard]] point_in_time when() const noexcept { return {limit_.when().clock(), due()}; }

 protected:
  clocked_deadline(const timer_kind& its_kind, clocked_limit limit) noexcept : timer{its_kind}, limit_{limit} {}
  clocked_deadline(const clocked_deadline& before_it_is_awaited) noexcept
      : clocked_deadline{before_it_is_awaited.its_kind(), before_it_is_awaited.limit_} {}
  ~clocked_deadline() { disarm(); }

  /// Before `op` is awaited. `always_linked`: whatever the options say.
  void arm(operation& op, executor& loop, bool always_linked) noexcept;

  /// When it is back, or will never be.
  void disarm() noexcept;

  static void expired(timer& self) noexcept;

 private:
  friend class submission;
  friend struct linked_timeout;
  friend class gyre::operation;
  friend class task_tree;

  clocked_limit limit_;
  executor* loop_ = nullptr;        // null: not armed yet, or the operation is back
  operation* op_ = nullptr;         // set with loop_
  linked_timeout* link_ = nullptr;  // while the kernel keeps it
};

}  // namespace detail
}  // namespace gyre
