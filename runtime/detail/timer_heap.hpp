// SPDX-License-Identifier: MIT
// Timers of one executor, in user space, so that a sleep or a deadline costs no system call.
//
// Most programs know a few durations, and use each again and again: now + 30 s only grows. So a timer that is due no
// earlier than the last one of a lane is appended there, a link in and a link out. What fits no lane goes into a 4-ary
// heap. Arming cannot fail: when there is no memory for the heap to grow, a lane takes the timer in, at its place.
//
// The first lane is for those in a hurry, the deadlines of operations: arm_in_first_lane() is one comparison, and who
// takes a timer out of there needs no heap at hand. So nobody counts what is in it.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace gyre::detail {

/// A point on the executor's clock (CLOCK_MONOTONIC, or a script's), in nanoseconds.
using clock_ns = std::int64_t;

class timer_heap;

/// A place in a lane, or the end of one: that is due at the end of time, so that an empty lane has no earlier timer.
struct timer_links {
  static constexpr clock_ns end_of_time = INT64_MAX;

  timer_links* previous;
  timer_links* next;
  clock_ns due;
};

class timer;

/// What the timers of one kind share.
struct timer_kind {
  /// Called when one is due, after it has left the queue. Must not run user code.
  void (*expire)(timer& self) noexcept;

  /// For diagnosis, of an operation's deadline: how much memory the two share, which begins with the timer. So who
  /// knows the one finds the other, and neither has to keep where that is.
  std::size_t bytes_with_operation = 0;
};

/// Something that happens at a point in time. Lives in whoever waits; is in at most one queue.
class timer : timer_links {
 public:
  explicit timer(const timer_kind& kind) noexcept : kind_{&kind} {}
  timer(const timer&) = delete;
  timer& operator=(const timer&) = delete;

  [[nodiscard]] bool armed() const noexcept { return index_ != not_armed; }

  /// When it is due, once it was armed; or when it would be, if somebody has to arm it in time.
  [[nodiscard]] clock_ns due() const noexcept { return timer_links::due; }
  void would_be_due(clock_ns due) noexcept { timer_links::due = due; }

  /// Takes it out of the first lane of its heap. Returns false when it is not there.
  bool leave_first_lane() noexcept {
    if (index_ != in_first_lane) [[unlikely]]
      return false;
    previous->next = next;
    next->previous = previous;
    index_ = not_armed;
    return true;
  }

  /// Says to the compiler what is so already, whoever took it out.
  void has_left() noexcept { index_ = not_armed; }

  [[nodiscard]] const timer_kind& its_kind() const noexcept { return *kind_; }

  /// It is due, and has left the queue.
  void expire() noexcept { kind_->expire(*this); }

 private:
  friend class timer_heap;
  static constexpr std::uint32_t not_armed = UINT32_MAX;
  static constexpr std::uint32_t in_first_lane = UINT32_MAX - 1;
  static constexpr std::uint32_t in_other_lane = UINT32_MAX - 2;
  const timer_kind* kind_;
  std::uint32_t index_ = not_armed;  // of its place in the heap
};

class timer_heap {
 public:
  timer_heap() noexcept {
    for (timer_links& lane : lanes_) lane = {&lane, &lane, timer_links::end_of_time};
  }
  timer_heap(const timer_heap&) = delete;
  timer_heap& operator=(const timer_heap&) = delete;

  [[nodiscard]] bool empty() const noexcept { return count_ == 0 && lanes_.front().next == &lanes_.front(); }

  /// How many there are. Walks the first lane.
  [[nodiscard]] std::size_t size() const noexcept;

  /// When the earliest timer is due; the end of time when there is none.
  [[nodiscard]] clock_ns earliest() const noexcept {
    clock_ns due = entries_.empty() ? timer_links::end_of_time : entries_.front().due;
    for (const timer_links& lane : lanes_) due = std::min(due, lane.next->due);
    return due;
  }

  /// Arms `armed` for `due`, or moves it there.
  void arm(timer& armed, clock_ns due) noexcept;

  /// The same for one that is not armed, where the first lane has others and it is due after all of them. Returns
  /// whether it is so; otherwise nothing has happened.
  bool arm_in_first_lane(timer& armed, clock_ns due) noexcept {
    timer_links& lane = lanes_.front();
    timer_links& last = *lane.previous;
    if (last.due > due) [[unlikely]]  // the lane is empty, too: then `last` is its end
      return false;
    armed.would_be_due(due);
    link(armed, last, lane);
    armed.index_ = timer::in_first_lane;
    return true;
  }

  /// Takes it out. Does nothing when it is not armed.
  void disarm(timer& armed) noexcept {
    if (!armed.leave_first_lane()) take_out(armed);
  }

  /// Calls `visit(const timer&)` for each that is armed, in no order.
  template <class Visit>
  void for_each(Visit visit) const {
    for (const timer_links& lane : lanes_)
      for (const timer_links* links = lane.next; links != &lane; links = links->next)
        visit(static_cast<const timer&>(*links));
    for (const entry& each : entries_) visit(static_cast<const timer&>(*each.what));
  }

  /// Takes out the earliest timer when it is due at `now`; null otherwise.
  [[nodiscard]] timer* pop_due(clock_ns now) noexcept;

 private:
  struct entry {
    clock_ns due;
    timer* what;
  };
  static constexpr std::uint32_t arity = 4;  // shallower than a binary heap: one cache line of children a level

  [[nodiscard]] timer* first() const noexcept;
  static void link(timer& armed, timer_links& before, timer_links& after) noexcept {
    armed.previous = &before;
    armed.next = &after;
    before.next = after.previous = &armed;
  }

  void enter_lane(timer& armed, timer_links& lane, timer_links& before) noexcept;
  void push(timer& armed) noexcept;
  void insert_into_lane(timer& armed) noexcept;
  void take_out(timer& armed) noexcept;
  void place(std::uint32_t index, const entry& placed) noexcept;
  void sift_up(std::uint32_t index, entry rising) noexcept;
  void sift_down(std::uint32_t index, entry sinking) noexcept;
  void remove_at(std::uint32_t index) noexcept;

  std::array<timer_links, 4> lanes_;
  std::vector<entry> entries_;
  std::size_t count_ = 0;  // without those in the first lane
};

}  // namespace gyre::detail
