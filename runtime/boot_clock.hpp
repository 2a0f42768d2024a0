// SPDX-License-Identifier: MIT
// The time since the machine was started, the time that it was suspended included.
#pragma once

#include <chrono>
#include <cstdint>

namespace gyre {

/// A clock of the standard library's kind that never goes back, and goes on while the machine is suspended: what
/// std::chrono::steady_clock, which stands still then, does not tell.
///
/// @source  clock_gettime(2), CLOCK_BOOTTIME. Linux 2.6.39.
struct boot_clock {
  using rep = std::int64_t;
  using period = std::nano;
  using duration = std::chrono::duration<rep, period>;
  using time_point = std::chrono::time_point<boot_clock>;
  static constexpr bool is_steady = true;

  [[nodiscard]] static time_point now() noexcept;
};

}  // namespace gyre
