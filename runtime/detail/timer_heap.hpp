// SPDX-License-Identifier: MIT
// Timers of one executor: a 4-ary heap in user space, so that a sleep or a deadline costs no system call.
#pragma once

#include <cstdint>
#include <vector>

namespace gyre::detail {

/// A point on the executor's clock (CLOCK_MONOTONIC, or a script's), in nanoseconds.
using clock_ns = std::int64_t;

class timer_heap;

/// Something that happens at a point in time. Lives in whoever waits; is in at most one heap.
class timer {
 public:
  using expire_fn = void (*)(timer& self) noexcept;

  explicit timer(expire_fn on_expiry) noexcept : expire{on_expiry} {}
  timer(const timer&) = delete;
  timer& operator=(const timer&) = delete;

  [[nodiscard]] bool armed() const noexcept { return index_ != not_armed; }

  expire_fn expire;  // called when due, after the timer has left the heap; must not run user code

 private:
  friend class timer_heap;
  static constexpr std::uint32_t not_armed = UINT32_MAX;
  std::uint32_t index_ = not_armed;
};

class timer_heap {
 public:
  [[nodiscard]] bool empty() const noexcept { return entries_.empty(); }
  [[nodiscard]] std::size_t size() const noexcept { return entries_.size(); }

  /// When the earliest timer is due. There must be one.
  [[nodiscard]] clock_ns earliest() const noexcept { return entries_.front().due; }

  /// Arms `armed` for `due`, or moves it there. Throws std::bad_alloc and then changes nothing.
  void arm(timer& armed, clock_ns due);

  /// Takes it out. Does nothing when it is not armed.
  void disarm(timer& armed) noexcept;

  /// Takes out the earliest timer when it is due at `now`; null otherwise.
  [[nodiscard]] timer* pop_due(clock_ns now) noexcept;

 private:
  struct entry {
    clock_ns due;
    timer* what;
  };
  static constexpr std::uint32_t arity = 4;  // shallower than a binary heap: one cache line of children a level

  void place(std::uint32_t index, const entry& placed) noexcept;
  void sift_up(std::uint32_t index, entry rising) noexcept;
  void sift_down(std::uint32_t index, entry sinking) noexcept;
  void remove_at(std::uint32_t index) noexcept;

  std::vector<entry> entries_;
};

}  // namespace gyre::detail
