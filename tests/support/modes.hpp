// SPDX-License-Identifier: MIT
// The executor that a test runs on the kernel: as it is by default, or in a mode that executor_options offers.
//
// GYRE_TEST_MODE names the mode, so that the same races run in each: tests/meson.build has the list.
#pragma once

#include <gyre/runtime/assert.hpp>
#include <gyre/runtime/executor.hpp>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <string_view>
#include <system_error>

namespace gyre::test {

inline std::string_view mode_under_test() {
  const char* const name = std::getenv("GYRE_TEST_MODE");
  return name != nullptr ? name : "plain";
}

/// Ends the program as skipped where an executor with these options is not to be had.
inline bool is_to_be_had(const executor_options& options) {
  try {
    const executor made{options};
    return true;
  } catch (const std::system_error& error) {
    constexpr int skipped = 77;  // for Meson
    std::printf("skipped: %s\n", error.what());
    std::fflush(nullptr);
    std::_Exit(skipped);
  }
}

/// `options`, and the mode's beside them.
inline executor_options options_under_test(executor_options options = {}) {
  using namespace std::chrono_literals;
  const std::string_view mode = mode_under_test();
  if (mode == "plain") return options;
  if (mode.starts_with("sqpoll")) {
    [[maybe_unused]] static const bool has_submission_threads = is_to_be_had({.sqpoll = sqpoll_options{}});
  }
  if (mode == "eventfd") options.park = parking::eventfd;
  else if (mode == "ring_wait") options.park = parking::ring_wait;
  else if (mode == "sqpoll") options.sqpoll = {.idle = 1ms};  // asleep as often as awake: both are to be met
  else if (mode == "sqpoll_ring_wait") options.sqpoll = {.idle = 1ms}, options.park = parking::ring_wait;
  else if (mode == "spin") options.spin_before_park = 20us;
  else if (mode == "min_wait") options.park = parking::ring_wait, options.min_wait = 50us, options.min_wait_count = 4;
  else if (mode == "growing") options.sq_entries = 2, options.sq_entries_max = 64, options.cq_entries_max = 256;
  else GYRE_ASSERT(false, "GYRE_TEST_MODE names no mode that there is");
  if (options.sq_entries_max > 0) options.cq_entries = 4;
  return options;
}

/// Whether a thread of the kernel's submits, so that it is not known when: turns are no measure of it.
inline bool submits_by_itself() { return mode_under_test().starts_with("sqpoll"); }

}  // namespace gyre::test
