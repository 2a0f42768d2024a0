// SPDX-License-Identifier: MIT
// What the system says of CLOCK_BOOTTIME.
#include <gyre/runtime/boot_clock.hpp>

#include <time.h>

namespace gyre {

boot_clock::time_point boot_clock::now() noexcept {
  timespec time{};
  ::clock_gettime(CLOCK_BOOTTIME, &time);
  return time_point{std::chrono::seconds{time.tv_sec} + std::chrono::nanoseconds{time.tv_nsec}};
}

}  // namespace gyre
