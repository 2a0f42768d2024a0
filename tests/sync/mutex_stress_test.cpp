// SPDX-License-Identifier: MIT
// One mutex and its condition variables among coroutines on four executors, plain threads and two other processes, on
// the kernel: locks that are waited for, that time out and that are stopped; tokens; a baton that goes round; and a
// mutex of each executor's own, biased to it, for which somebody else comes now and then. And one robust mutex.
//
// What is counted under a mutex must come out, and nobody may wait for ever: a wake that is lost stops the baton, and
// then the test does not end. Seeds, and how long: tests/support/stress.hpp.
#include <gyre/runtime/as_result.hpp>
#include <gyre/runtime/deadline.hpp>
#include <gyre/runtime/executor.hpp>
#include <gyre/runtime/task_group.hpp>
#include <gyre/runtime/this_task.hpp>
#include <gyre/sync/condition_variable.hpp>
#include <gyre/sync/mutex.hpp>
#include <gyre/sync/robust_mutex.hpp>

#include "../support/stress.hpp"

#include <doctest/doctest.h>

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <new>

namespace gyre {
namespace {

using namespace std::chrono_literals;
using namespace test;
using ops::futex_kind;
using sync::condition_variable;
using sync::mutex;
using sync::robust_mutex;

constexpr int coroutines_count = 8;  // of each executor
constexpr int tries_count = 60;      // of each coroutine and thread
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

  // Of one executor, which is nearly always the only one to use it; in this process.
  struct own_place {
    mutex locked;
    std::uint64_t counter = 0;
  };

  mutex locked;
  condition_variable has_tokens;
  std::array<place, runners_max> is_your_turn;
  std::array<own_place, crowd::executors_count> own;
  // Under the mutex.
  std::uint64_t counter = 0;
  std::uint64_t tokens_count = 0;
  int inside_count = 0;
  int baton = 0;
  // What everybody says of their own part.
  std::atomic<std::uint64_t> counted = 0;
  std::atomic<std::uint64_t> counted_own = 0;
  std::atomic<std::uint64_t> put_count = 0;
  std::atomic<std::uint64_t> taken_count = 0;
  std::atomic<int> collisions_count = 0;
};

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

// One of them is somebody's who uses it all the time.
void work_in(arena& in, arena::own_place& own) {
  ++own.counter;
  in.counted_own.fetch_add(1, std::memory_order_relaxed);
}

arena::own_place& any_own(arena& in, random& chance) { return in.own[chance() % in.own.size()]; }

task<> use_own(arena& in, arena::own_place& own, bool yields) {
  for (int i = 0; i < 100; ++i) {
    const auto held = co_await own.locked.lock();
    if (yields && i % 32 == 0) co_await this_task::yield();
    work_in(in, own);
  }
}

// Whose mutex it uses as its own; none in other processes.
arena::own_place* own_or_null(arena& in, const member& me) {
  return me.number < crowd::executors_count ? &in.own[static_cast<std::size_t>(me.number)] : nullptr;
}

task<> try_something(arena& in, arena::own_place* own, random& chance) {
  switch (chance() % (own == nullptr ? 7 : 9)) {
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
    case 7:
      co_await use_own(in, *own, /*yields=*/chance() % 8 == 0);
      break;
    case 8:
      if (chance() % 8 == 0) {
        auto& of_another = any_own(in, chance);
        const auto held = co_await of_another.locked.lock();
        work_in(in, of_another);
      }
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

task<> try_often(arena& in, member me, std::uint32_t seed) {
  random chance{seed};
  for (int i = 0; i < tries_count; ++i) co_await try_something(in, own_or_null(in, me), chance);
}

void run_executor(arena& in, const member& me, int runners_count) {
  executor loop;
  loop.run([&]() -> task<> {
    co_await with_task_group([&](task_group& all) -> task<> {
      all.start(run_with_baton(in, me.number, runners_count));
      for (std::uint32_t i = 0; i < coroutines_count; ++i) all.start(try_often(in, me, me.seed + i));
      co_return;
    });
  });
}

void run_thread(arena& in, const member& me, int runners_count) {
  random chance{me.seed};
  for (int i = 0; i < tries_count; ++i) {
    if (chance() % 32 == 0) {
      auto& of_another = any_own(in, chance);
      const auto held = of_another.locked.lock_blocking();
      work_in(in, of_another);
    }
    if (chance() % 3 == 0) {
      const auto held = in.locked.lock_blocking();
      put_inside(in, /*to_all=*/false);
    } else if (const auto held = chance() % 3 == 0 ? in.locked.try_lock() : in.locked.lock_blocking()) {
      work_inside(in);
    }
  }
  run_with_baton_blocking(in, me.number, runners_count);
}

void run_everybody(std::uint32_t seed, futex_kind kind) {
  const crowd all{.with_processes = kind == futex_kind::process_shared};
  const mapped<arena> memory{kind};
  arena& in = *memory;
  const int runners_count = all.members_count();

  all.run(
      seed, [&](const member& me) { run_executor(in, me, runners_count); },
      [&](const member& me) { run_thread(in, me, runners_count); });

  CHECK(in.collisions_count == 0);
  CHECK(in.counter == in.counted);
  CHECK(in.tokens_count == in.put_count - in.taken_count);
  CHECK(static_cast<bool>(in.locked.try_lock()));
  std::uint64_t all_own = 0;
  for (auto& each : in.own) {
    all_own += each.counter;
    CHECK(static_cast<bool>(each.locked.try_lock()));
  }
  CHECK(all_own == in.counted_own);
}

// The same of a robust mutex, which has no condition.
struct robust_arena {
  robust_mutex locked;
  // Under the mutex.
  std::uint64_t counter = 0;
  int inside_count = 0;
  // What everybody says of their own part.
  std::atomic<std::uint64_t> counted = 0;
  std::atomic<int> collisions_count = 0;
};

void work_inside(robust_arena& in, const robust_mutex::guard& held) {
  if (++in.inside_count != 1 || held.owner_died()) in.collisions_count.fetch_add(1);
  ++in.counter;
  in.counted.fetch_add(1, std::memory_order_relaxed);
  --in.inside_count;
}

task<> lock_once(robust_arena& in, bool yields) {
  const auto held = co_await in.locked.lock();
  if (yields) co_await this_task::yield();
  work_inside(in, held);
}

task<> try_often(robust_arena& in, std::uint32_t seed) {
  random chance{seed};
  for (int i = 0; i < tries_count; ++i) {
    const std::chrono::microseconds limit{chance() % 200};
    switch (chance() % 4) {
      case 0:
        co_await lock_once(in, /*yields=*/chance() % 2 == 0);
        break;
      case 1:
        if (const auto held = co_await as_result(with_timeout(limit, in.locked.lock()))) work_inside(in, *held);
        break;
      case 2:
        co_await stop_soon(lock_once(in, /*yields=*/false), static_cast<unsigned>(chance() % 4));
        break;
      default:
        if (const auto held = in.locked.try_lock()) work_inside(in, held);
    }
  }
}

void run_executor(robust_arena& in, const member& me) {
  executor loop;
  loop.run([&]() -> task<> {
    co_await with_task_group([&](task_group& all) -> task<> {
      for (std::uint32_t i = 0; i < coroutines_count; ++i) all.start(try_often(in, me.seed + i));
      co_return;
    });
  });
}

void run_thread(robust_arena& in, const member& me) {
  random chance{me.seed};
  for (int i = 0; i < tries_count; ++i)
    if (const auto held = chance() % 3 == 0 ? in.locked.try_lock() : in.locked.lock_blocking()) work_inside(in, held);
}

void run_everybody_robustly(std::uint32_t seed) {
  const mapped<robust_arena> memory;
  robust_arena& in = *memory;

  crowd{.with_processes = true}.run(
      seed, [&in](const member& me) { run_executor(in, me); }, [&in](const member& me) { run_thread(in, me); });

  CHECK(in.collisions_count == 0);
  CHECK(in.counter == in.counted);
  CHECK(static_cast<bool>(in.locked.try_lock()));
}

}  // namespace

// First, as it forks: no other thread is there yet.
TEST_CASE("coroutines, threads and processes share a mutex, and nobody waits for ever") {
  run_for_a_while([](std::uint32_t seed) { run_everybody(seed, futex_kind::process_shared); });
}

TEST_CASE("coroutines, threads and processes share a robust mutex, and nobody waits for ever") {
  run_for_a_while(&run_everybody_robustly);
}

TEST_CASE("coroutines on four executors and threads share a mutex, and nobody waits for ever") {
  run_for_a_while([](std::uint32_t seed) { run_everybody(seed, futex_kind::process_private); });
}

}  // namespace gyre
