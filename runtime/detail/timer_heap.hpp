// SPDX-License-Identifier: MIT
// Timers of one executor, in user space, so that a sleep or a deadline costs no system call.
//
// Most programs know a few durations, and use each again and again: now + 30 s only grows. So a timer that is due no
// earlier than the last one of a lane is appended there, a link in and a link out. What fits no lane goes into a 4-ary
// heap. Arming cannot fail: when there is no memory for the heap to grow, a lane takes the timer in, at its place.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace gyre::detail {

/// A point on the executor's clock (CLOCK_MONOTONIC, or a script's), in nanoseconds.
using clock_ns = std::int64_t;

class timer_heap;

struct timer_links {
  timer_links* previous;
  timer_links* next;
};

/// Something that happens at a point in time. Lives in whoever waits; is in at most one queue.
class timer : timer_links {
 public:
  using expire_fn = void (*)(timer& self) noexcept;

  explicit timer(expire_fn on_expiry) noexcept : expire{on_expiry} {}
  timer(const timer&) = delete;
  timer& operator=(const timer&) = delete;

  [[nodiscard]] bool armed() const noexcept { return index_ != not_armed; }

  /// When it is due, once it was armed; or when it would be, if somebody has to arm it in time.
  [[nodiscard]] clock_ns due() const noexcept { return due_; }
  void would_be_due(clock_ns due) noexcept { due_ = due; }

  expire_fn expire;  // called when due, after the timer has left the queue; must not run user code

 private:
  friend class timer_heap;
  static constexpr std::uint32_t not_armed = UINT32_MAX;
  static constexpr std::uint32_t in_lane = UINT32_MAX - 1;
  clock_ns due_;
  std::uint32_t index_ = not_armed;  // of its place in the heap
};

class timer_heap {
 public:
  timer_heap() noexcept {
    for (timer_links& lane : lanes_) lane = {&lane, &lane};
  }
  timer_heap(const timer_heap&) = delete;
  timer_heap& operator=(const timer_heap&) = delete;

  [[nodiscard]] bool empty() const noexcept { return count_ == 0; }
  [[nodiscard]] std::size_t size() const noexcept { return count_; }

  /// When the earliest timer is due. There must be one.
  [[nodiscard]] clock_ns earliest() const noexcept { return first()->due_; }

  /// Arms `armed` for `due`, or moves it there.
  void arm(timer& armed, clock_ns due) noexcept {
    if (armed.armed()) disarm(armed);
    armed.due_ = due;
    for (timer_links& lane : lanes_) {
      timer_links& last = *lane.previous;
      if (&last != &lane && static_cast<timer&>(last).due_ > due) continue;
      return link(armed, last, lane);
    }
    push(armed);
  }

  /// Takes it out. Does nothing when it is not armed.
  void disarm(timer& armed) noexcept {
    if (armed.index_ != timer::in_lane) [[unlikely]]
      return remove(armed);
    armed.previous->next = armed.next;
    armed.next->previous = armed.previous;
    armed.index_ = timer::not_armed;
    --count_;
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
  void link(timer& armed, timer_links& before, timer_links& after) noexcept {
    armed.previous = &before;
    armed.next = &after;
    before.next = after.previous = &armed;
    armed.index_ = timer::in_lane;
    ++count_;
  }

  void push(timer& armed) noexcept;
  void insert_into_lane(timer& armed) noexcept;
  void remove(timer& armed) noexcept;
  void place(std::uint32_t index, const entry& placed) noexcept;
  void sift_up(std::uint32_t index, entry rising) noexcept;
  void sift_down(std::uint32_t index, entry sinking) noexcept;
  void remove_at(std::uint32_t index) noexcept;

  std::array<timer_links, 4> lanes_;
  std::vector<entry> entries_;
  std::size_t count_ = 0;
};

}  // namespace gyre::detail
