// SPDX-License-Identifier: MIT
// The seed of a random program, said where that dies: by an assertion on whatever thread, or by a sanitizer's report.
//
// What doctest says of a failed check (INFO) is known on the test's own thread only, and to no sanitizer.
#pragma once

#include <unistd.h>

#include <atomic>
#include <csignal>
#include <cstdint>
#include <cstdio>

extern "C" {
/// The sanitizers' own, where the program has one.
__attribute__((weak)) void __sanitizer_set_death_callback(void (*callback)());  // NOLINT(bugprone-reserved-identifier)
}

namespace gyre::test {

/// From here to the end of the block a program with this seed runs. One at a time.
class seed_that_runs {
 public:
  explicit seed_that_runs(std::uint64_t seed) noexcept {
    is_there = false;
    seed_there = seed;
    is_there = true;
    at_abort_otherwise = std::signal(SIGABRT, &say_at_abort);
    if (&__sanitizer_set_death_callback != nullptr) __sanitizer_set_death_callback(&say);
  }
  seed_that_runs(const seed_that_runs&) = delete;
  seed_that_runs& operator=(const seed_that_runs&) = delete;
  ~seed_that_runs() {
    std::signal(SIGABRT, at_abort_otherwise);
    is_there = false;
  }

 private:
  static void say() noexcept {
    if (!is_there) return;
    char text[64];
    const int length =
        std::snprintf(text, sizeof text, "GYRE_STRESS_SEED=%llu\n", static_cast<unsigned long long>(seed_there.load()));
    static_cast<void>(::write(STDERR_FILENO, text, static_cast<std::size_t>(length)));
  }

  // Then whoever was to be told of the abort before, doctest as a rule: as soon as this has returned.
  static void say_at_abort(int) noexcept {
    say();
    std::signal(SIGABRT, at_abort_otherwise);
    std::raise(SIGABRT);
  }

  static inline std::atomic<bool> is_there = false;
  static inline std::atomic<std::uint64_t> seed_there = 0;
  static inline void (*at_abort_otherwise)(int) = SIG_DFL;
};

}  // namespace gyre::test
