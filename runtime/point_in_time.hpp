// SPDX-License-Identifier: MIT
// A point in time together with its clock: what a sleep, or the deadline of a scope, can be given.
#pragma once

#include <gyre/runtime/boot_clock.hpp>
#include <gyre/runtime/detail/timer_heap.hpp>

#include <chrono>
#include <concepts>
#include <cstdint>

namespace gyre {
namespace detail {

/// The clocks that times can be given on.
///
///   steady   CLOCK_MONOTONIC: the executor's own. Stands still while the machine is suspended
///   boot     CLOCK_BOOTTIME: the same, and goes on then
///   system   CLOCK_REALTIME: what a calendar shows. Somebody can set it, forth and back
enum class clock_id : std::uint8_t { steady, boot, system };

template <class Clock>
concept known_clock = std::same_as<Clock, std::chrono::steady_clock> || std::same_as<Clock, boot_clock> ||
                      std::same_as<Clock, std::chrono::system_clock>;

template <known_clock Clock>
inline constexpr clock_id id_of_clock = std::same_as<Clock, boot_clock>                  ? clock_id::boot
                                        : std::same_as<Clock, std::chrono::system_clock> ? clock_id::system
                                                                                         : clock_id::steady;

/// A count of whole units as nanoseconds: the farthest there is where they cannot be counted.
template <class Rep, class Period>
  requires std::integral<Rep>
[[nodiscard]] constexpr clock_ns in_nanoseconds(std::chrono::duration<Rep, Period> time) noexcept {
  using std::chrono::nanoseconds;
  using unit = std::chrono::duration<Rep, Period>;
  if (time > std::chrono::duration_cast<unit>(nanoseconds::max())) return INT64_MAX;
  if (time < std::chrono::duration_cast<unit>(nanoseconds::min())) return INT64_MIN;
  return std::chrono::duration_cast<nanoseconds>(time).count();
}

}  // namespace detail

/// A point in time on one of three clocks. Made of a time_point of theirs, by itself.
///
///   std::chrono::steady_clock    the executor's own clock: stands still while the machine is suspended
///   gyre::boot_clock             goes on then
///   std::chrono::system_clock    the time of day. When somebody sets that clock, what waits for a time on it follows
class point_in_time {
 public:
  template <detail::known_clock Clock, class Duration>
  constexpr point_in_time(std::chrono::time_point<Clock, Duration> when) noexcept
      : point_in_time{detail::id_of_clock<Clock>, detail::in_nanoseconds(when.time_since_epoch())} {}

  // What follows is for those who write timers; a user needs none of it.

  constexpr point_in_time(detail::clock_id clock, detail::clock_ns at) noexcept : at_{at}, clock_{clock} {}

  [[nodiscard]] constexpr detail::clock_id clock() const noexcept { return clock_; }
  [[nodiscard]] constexpr detail::clock_ns at() const noexcept { return at_; }

 private:
  detail::clock_ns at_;
  detail::clock_id clock_;
};

}  // namespace gyre
