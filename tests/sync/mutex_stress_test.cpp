// SPDX-License-Identifier: MIT
// One mutex and its condition variables among coroutines on four executors, plain threads and two other processes, on
// the kernel: locks that are waited for, that time out and that are stopped; tokens; a baton that goes round.
//
// What is counted under the mutex must come out, and nobody may wait for ever: a wake that is lost stops the baton, and
// then the test does not end. Each run has a seed, which decides what everybody tries:
//
//   GYRE_STRESS_SEED=n build/debug/tests/sync_mutex_stress_test      the same tries again
//   GYRE_STRESS_SECONDS=120 build/tsan/tests/sync_mutex_stress_test  run after run, for so long
#include <gyre/runtime/as_result.hpp>
#include <gyre/runtime/deadline.hpp>
#include <gyre/runtime/executor.hpp>
#include <gyre/runtime/task_group.hpp>
#include <gyre/runtime/this_task.hpp>
#include <gyre/sync/condition_variable.hpp>
#include <gyre/sync/mutex.hpp>

#include "../support/child.hpp"

#include <doctest/doctest.h>
#include <sys/mman.h>

#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <list>
#include <new>
#include <random>
#include <string>
#include <thread>
#include <vector>

namespace gyre {
namespace {

using namespace std::chrono_literals;
using ops::futex_kind;
using sync::condition_variable;
using sync::mutex;

constexpr int executors_count = 4;
constexpr int coroutines_count = 8;  // of each executor
constexpr int threads_count = 2;
constexpr int processes_count = 2;
constexpr int tries_count = 60;  // of each coroutine and thread
constexpr int baton_rounds = 12;
constexpr int runners_max = 16;

// What everybody maps.
struct arena {
  explicit arena(futex_kind kind) : locked{kind}, has_tokens{kind} {
    for (auto& each : is_your_turn) new (&each.changed) condition_variable{kind};
  }

  struct place {
    place() {}
    ~place() {}
    union {
      condition_variable changed;
    };
  };

  mutex locked;
  condition_variable has_tokens;
  std::array<place, runners_max> is_your_turn;
  // Under the mutex.
  std::uint64_t counter = 0;
  std::uint64_t tokens_count = 0;
  int inside_count = 0;
  int baton = 0;
  // What everybody says of their own part.
  std::atomic<std::uint64_t> counted = 0;
  std::atomic<std::uint64_t> put_count = 0;
  std::atomic<std::uint64_t> taken_count = 0;
  std::atomic<int> collisions_count = 0;
};

class mapped_arena {
 public:
  explicit mapped_arena(futex_kind kind)
      : memory_{::mmap(nullptr, sizeof(arena), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0)} {
    REQUIRE(memory_ != MAP_FAILED);
    new (memory_) arena{kind};
  }
  mapped_arena(const mapped_arena&) = delete;
  mapped_arena& operator=(const mapped_arena&) = delete;
  ~mapped_arena() { ::munmap(memory_, sizeof(arena)); }
  arena& operator*() const noexcept { return *static_cast<arena*>(memory_); }

 private:
  void* memory_;
};

using random = std::minstd_rand;

// Who is inside alone.
void work_inside(arena& in) {
  if (++in.inside_count != 1) in.collisions_count.fetch_add(1);
  ++in.counter;
  in.counted.fetch_add(1, std::memory_order_relaxed);
  --in.inside_count;
}

void put_inside(arena& in, bool to_all) {
  ++in.tokens_count;
  in.put_count.fetch_add(1, std::memory_order_relaxed);
  if (to_all) in.has_tokens.notify_all();
  else in.has_tokens.notify_one();
}

void take_inside(arena& in) {
  if (in.tokens_count == 0) in.collisions_count.fetch_add(1);
  --in.tokens_count;
  in.taken_count.fetch_add(1, std::memory_order_relaxed);
}

task<> lock_once(arena& in) {
  const auto held = co_await in.locked.lock();
  work_inside(in);
}

task<> wait_for_token(arena& in) {
  auto held = co_await in.locked.lock();
  co_await in.has_tokens.wait(held, [&in] { return in.tokens_count > 0; });
  take_inside(in);
}

// Begins something, and stops it a moment later, wherever it is by then.
task<> stop_soon(task<> stopped, unsigned turns_count) {
  co_await with_cancel_scope([&](cancel_scope& scope) -> task<> {
    co_await with_task_group([&](task_group& both) -> task<> {
      both.start(std::move(stopped));
      for (unsigned i = 0; i < turns_count; ++i) co_await this_task::yield();
      scope.cancel();
    });
  });
}

task<> try_something(arena& in, random& chance) {
  switch (chance() % 7) {
    case 0: {
      const auto held = co_await in.locked.lock();
      co_await this_task::yield();
      work_inside(in);
      break;
    }
    case 1: {
      const std::chrono::microseconds limit{chance() % 200};
      if (const auto held = co_await as_result(with_timeout(limit, in.locked.lock()))) work_inside(in);
      break;
    }
    case 2:
      co_await stop_soon(lock_once(in), static_cast<unsigned>(chance() % 4));
      break;
    case 3: {
      const auto held = co_await in.locked.lock();
      put_inside(in, /*to_all=*/chance() % 4 == 0);
      break;
    }
    case 4: {
      const std::chrono::microseconds limit{chance() % 500};
      static_cast<void>(co_await as_result(with_timeout(limit, wait_for_token(in))));
      break;
    }
    case 5:
      co_await stop_soon(wait_for_token(in), static_cast<unsigned>(chance() % 4));
      break;
    default:
      if (const auto held = in.locked.try_lock()) work_inside(in);
      else co_await lock_once(in);
  }
}

// Each who runs has a number, and hands the baton to the next.
task<> run_with_baton(arena& in, int number, int runners_count) {
  for (int i = 0; i < baton_rounds; ++i) {
    auto held = co_await in.locked.lock();
    co_await in.is_your_turn[static_cast<std::size_t>(number)].changed.wait(held, [&] { return in.baton == number; });
    in.baton = (number + 1) % runners_count;
    in.is_your_turn[static_cast<std::size_t>(in.baton)].changed.notify_one();
  }
}

void run_with_baton_blocking(arena& in, int number, int runners_count) {
  for (int i = 0; i < baton_rounds; ++i) {
    auto held = in.locked.lock_blocking();
    in.is_your_turn[static_cast<std::size_t>(number)].changed.wait_blocking(held, [&] { return in.baton == number; });
    in.baton = (number + 1) % runners_count;
    in.is_your_turn[static_cast<std::size_t>(in.baton)].changed.notify_one();
  }
}

task<> try_often(arena& in, std::uint32_t seed) {
  random chance{seed};
  for (int i = 0; i < tries_count; ++i) co_await try_something(in, chance);
}

void run_executor(arena& in, std::uint32_t seed, int number, int runners_count) {
  executor loop;
  loop.run([&]() -> task<> {
    co_await with_task_group([&](task_group& all) -> task<> {
      all.start(run_with_baton(in, number, runners_count));
      for (int i = 0; i < coroutines_count; ++i) all.start(try_often(in, seed + static_cast<std::uint32_t>(i)));
      co_return;
    });
  });
}

void run_thread(arena& in, std::uint32_t seed, int number, int runners_count) {
  random chance{seed};
  for (int i = 0; i < tries_count; ++i) {
    if (chance() % 3 == 0) {
      const auto held = in.locked.lock_blocking();
      put_inside(in, /*to_all=*/false);
    } else if (const auto held = chance() % 3 == 0 ? in.locked.try_lock() : in.locked.lock_blocking()) {
      work_inside(in);
    }
  }
  run_with_baton_blocking(in, number, runners_count);
}

void run_everybody(std::uint32_t seed, futex_kind kind) {
  const bool with_processes = kind == futex_kind::process_shared;
  const int runners_count = executors_count + threads_count + (with_processes ? processes_count : 0);
  const mapped_arena mapped{kind};
  arena& in = *mapped;
  int number = 0;
  const auto seed_of = [&](int of) { return seed * 1000 + static_cast<std::uint32_t>(of) * 100 + 1; };

  std::list<test::child> processes;
  if (with_processes) {
    for (int i = 0; i < processes_count; ++i, ++number) {
      processes.emplace_back([&in, seed = seed_of(number), number, runners_count] {
        run_executor(in, seed, number, runners_count);
        return 0;
      });
    }
  }
  std::vector<std::thread> threads;
  for (int i = 0; i < executors_count; ++i, ++number)
    threads.emplace_back(run_executor, std::ref(in), seed_of(number), number, runners_count);
  for (int i = 0; i < threads_count; ++i, ++number)
    threads.emplace_back(run_thread, std::ref(in), seed_of(number), number, runners_count);
  for (auto& each : threads) each.join();
  for (auto& each : processes) CHECK(each.wait().exit_status == 0);

  CHECK(in.collisions_count == 0);
  CHECK(in.counter == in.counted);
  CHECK(in.tokens_count == in.put_count - in.taken_count);
  CHECK(static_cast<bool>(in.locked.try_lock()));
}

std::uint32_t number_from(const char* variable, std::uint32_t otherwise) {
  const char* const told = std::getenv(variable);
  return told == nullptr ? otherwise : static_cast<std::uint32_t>(std::stoul(told));
}

// Run after run with another seed, for as long as is asked for.
void run_for_a_while(futex_kind kind) {
  const std::chrono::seconds duration{number_from("GYRE_STRESS_SECONDS", 0)};
  std::uint32_t seed = number_from("GYRE_STRESS_SEED", std::random_device{}() % 1'000'000);
  const auto end = std::chrono::steady_clock::now() + duration;
  int runs_count = 0;
  do {
    CAPTURE(seed);
    MESSAGE("GYRE_STRESS_SEED=", seed);
    run_everybody(seed++, kind);
    ++runs_count;
  } while (std::chrono::steady_clock::now() < end);
  MESSAGE(runs_count, " runs");
}

}  // namespace

// First, as it forks: no other thread is there yet.
TEST_CASE("coroutines, threads and processes share a mutex, and nobody waits for ever") {
  run_for_a_while(futex_kind::process_shared);
}

TEST_CASE("coroutines on four executors and threads share a mutex, and nobody waits for ever") {
  run_for_a_while(futex_kind::process_private);
}

}  // namespace gyre
