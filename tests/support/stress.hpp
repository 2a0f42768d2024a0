// SPDX-License-Identifier: MIT
// What the stress tests of sync/ have in common: run after run, each known by its seed; and a crowd of executors,
// threads and processes that all use the same objects.
//
// In the ordinary suite that goes on for a second, in the suite `long` (./dev test --long) for two minutes a test case.
// A run that hangs has said its seed before.
//
//   GYRE_STRESS_SEED=n      that run alone: the same tries again
//   GYRE_STRESS_SECONDS=n   run after run for so long; with a seed, from that one on
#pragma once

#include <gyre/runtime/executor.hpp>
#include <gyre/runtime/scope.hpp>
#include <gyre/runtime/task.hpp>
#include <gyre/runtime/task_group.hpp>
#include <gyre/runtime/this_task.hpp>

#include "child.hpp"

#include <doctest/doctest.h>
#include <sys/mman.h>

#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <functional>
#include <list>
#include <new>
#include <random>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace gyre::test {

using random = std::minstd_rand;

inline std::uint32_t number_from(const char* variable, std::uint32_t otherwise) {
  const char* const told = std::getenv(variable);
  return told == nullptr ? otherwise : static_cast<std::uint32_t>(std::stoul(told));
}

/// How long to go on, where nothing else is said.
inline std::uint32_t usual_seconds() {
  if (std::getenv("GYRE_STRESS_SEED") != nullptr) return 0;
  return std::getenv("GYRE_STRESS_LONG") == nullptr ? 1 : 120;
}

/// Calls `run_once(seed)` once, and with the next seed for as long as is asked for.
template <class Run>
void run_for_a_while(Run run_once) {
  const std::chrono::seconds duration{number_from("GYRE_STRESS_SECONDS", usual_seconds())};
  std::uint32_t seed = number_from("GYRE_STRESS_SEED", std::random_device{}() % 1'000'000);
  const auto end = std::chrono::steady_clock::now() + duration;
  int runs_count = 0;
  do {
    CAPTURE(seed);
    MESSAGE("GYRE_STRESS_SEED=", seed);
    run_once(seed++);
    ++runs_count;
  } while (std::chrono::steady_clock::now() < end);
  MESSAGE(runs_count, " runs");
}

/// Begins something, and stops it a moment later, wherever it is by then.
inline task<> stop_soon(task<> stopped, unsigned turns_count) {
  co_await with_cancel_scope([&](cancel_scope& scope) -> task<> {
    co_await with_task_group([&](task_group& both) -> task<> {
      both.start(std::move(stopped));
      for (unsigned i = 0; i < turns_count; ++i) co_await this_task::yield();
      scope.cancel();
    });
  });
}

/// Who of a crowd it is.
struct member {
  int number;          // of all
  std::uint32_t seed;  // its own
};

/// Four executors, each on a thread of its own; eight threads that block; and perhaps two other processes with an
/// executor each, which begin before there is a thread.
struct crowd {
  static constexpr int executors_count = 4;
  static constexpr int threads_count = 8;
  static constexpr int processes_count = 2;

  bool with_processes = false;

  [[nodiscard]] int members_count() const noexcept {
    return executors_count + threads_count + (with_processes ? processes_count : 0);
  }

  /// The first numbers are the executors', then come the threads; the last are the processes'.
  void run(std::uint32_t seed, const std::function<void(member)>& on_executor,
           const std::function<void(member)>& on_thread) const {
    const auto who = [seed](int number) {
      return member{number, seed * 10'000 + static_cast<std::uint32_t>(number) * 100 + 1};
    };
    std::list<child> processes;
    for (int i = executors_count + threads_count; i < members_count(); ++i)
      processes.emplace_back([&, i] {
        on_executor(who(i));
        return 0;
      });
    std::vector<std::thread> threads;
    for (int i = 0; i < executors_count; ++i) threads.emplace_back(on_executor, who(i));
    for (int i = 0; i < threads_count; ++i) threads.emplace_back(on_thread, who(executors_count + i));
    for (auto& each : threads) each.join();
    for (auto& each : processes) CHECK(each.wait().exit_status == 0);
  }
};

/// Memory for a T that child processes have, too. The T is not destroyed: some of those may have been killed in it.
template <class T>
class mapped {
 public:
  template <class... Arguments>
  explicit mapped(Arguments&&... arguments)
      : memory_{::mmap(nullptr, sizeof(T), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0)} {
    REQUIRE(memory_ != MAP_FAILED);
    new (memory_) T{std::forward<Arguments>(arguments)...};
  }
  mapped(const mapped&) = delete;
  mapped& operator=(const mapped&) = delete;
  ~mapped() { ::munmap(memory_, sizeof(T)); }
  T& operator*() const noexcept { return *static_cast<T*>(memory_); }

 private:
  void* memory_;
};

}  // namespace gyre::test
