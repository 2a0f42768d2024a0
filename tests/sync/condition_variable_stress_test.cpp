// SPDX-License-Identifier: MIT
// A small buffer that is guarded by a mutex and two condition variables, among coroutines on four executors, plain
// threads and two other processes, on the kernel: waits that end by a notify, that time out and that are stopped.
//
// What is put in comes out, once, and nobody waits for ever: a notify that is lost has a putter or a taker sleep when
// all others have ended, and then the test does not end. Seeds, and how long: tests/support/stress.hpp.
#include <gyre/runtime/as_result.hpp>
#include <gyre/runtime/deadline.hpp>
#include <gyre/runtime/executor.hpp>
#include <gyre/runtime/task_group.hpp>
#include <gyre/sync/condition_variable.hpp>
#include <gyre/sync/mutex.hpp>

#include "../support/stress.hpp"

#include <doctest/doctest.h>

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>

namespace gyre {
namespace {

using namespace test;
using ops::futex_kind;
using sync::condition_variable;
using sync::mutex;

constexpr std::uint32_t putters_count = 3;  // of each executor; and as many takers
constexpr int items_count = 40;             // of each putter, and for each taker

// What everybody maps.
struct arena {
  explicit arena(futex_kind kind) : locked{kind}, has_room{kind}, has_items{kind} {}

  mutex locked;
  condition_variable has_room;
  condition_variable has_items;
  // Under the mutex.
  std::array<std::uint64_t, 3> items{};
  std::size_t size = 0;
  std::uint64_t put_sum = 0;
  std::uint64_t taken_sum = 0;
  std::uint64_t next = 1;
  std::atomic<int> collisions_count = 0;
};

bool has_room(const arena& in) noexcept { return in.size < in.items.size(); }
bool has_items(const arena& in) noexcept { return in.size > 0; }

// Who wakes all, now and then, wakes some in vain.
void notify(condition_variable& changed, bool all) {
  if (all) changed.notify_all();
  else changed.notify_one();
}

void put(arena& in, bool to_all) {
  if (!has_room(in)) in.collisions_count.fetch_add(1);
  const std::uint64_t item = in.next++;
  in.items[in.size++] = item * item;
  in.put_sum += item * item;
  notify(in.has_items, to_all);
}

void take(arena& in, bool to_all) {
  if (!has_items(in)) in.collisions_count.fetch_add(1);
  in.taken_sum += in.items[--in.size];
  notify(in.has_room, to_all);
}

// Puts one in, or takes one out.
struct step {
  condition_variable arena::* changed;
  bool (*can)(const arena& in) noexcept;
  void (*act)(arena& in, bool to_all);
};

constexpr step putting{&arena::has_room, &has_room, &put};
constexpr step taking{&arena::has_items, &has_items, &take};

// `is_done` is set when it was done: not when it was stopped, or was too late.
task<> do_once(arena& in, const step& what, bool to_all, bool& is_done) {
  auto held = co_await in.locked.lock();
  co_await (in.*what.changed).wait(held, [&] { return what.can(in); });
  what.act(in, to_all);
  is_done = true;
}

task<> do_in_some_way(arena& in, const step& what, random& chance, bool& is_done) {
  const bool to_all = chance() % 8 == 0;
  switch (chance() % 4) {
    case 0: {
      const std::chrono::microseconds limit{chance() % 500};
      static_cast<void>(co_await as_result(with_timeout(limit, do_once(in, what, to_all, is_done))));
      break;
    }
    case 1:
      co_await stop_soon(do_once(in, what, to_all, is_done), static_cast<unsigned>(chance() % 4));
      break;
    default:
      co_await do_once(in, what, to_all, is_done);
  }
}

task<> do_often(arena& in, const step& what, std::uint32_t seed) {
  random chance{seed};
  for (int done_count = 0; done_count < items_count;) {
    bool is_done = false;
    co_await do_in_some_way(in, what, chance, is_done);
    if (is_done) ++done_count;
  }
}

void run_executor(arena& in, const member& me) {
  executor{}.run([&]() -> task<> {
    co_await with_task_group([&](task_group& all) -> task<> {
      for (std::uint32_t i = 0; i < putters_count; ++i) {
        all.start(do_often(in, putting, me.seed + 2 * i));
        all.start(do_often(in, taking, me.seed + 2 * i + 1));
      }
      co_return;
    });
  });
}

void run_thread(arena& in, const member& me) {
  const step& what = me.number % 2 == 0 ? putting : taking;
  random chance{me.seed};
  for (int i = 0; i < items_count; ++i) {
    auto held = in.locked.lock_blocking();
    (in.*what.changed).wait_blocking(held, [&] { return what.can(in); });
    what.act(in, /*to_all=*/chance() % 8 == 0);
  }
}

void run_everybody(std::uint32_t seed, futex_kind kind) {
  const mapped<arena> memory{kind};
  arena& in = *memory;
  crowd{.with_processes = kind == futex_kind::process_shared}.run(
      seed, [&](const member& me) { run_executor(in, me); }, [&](const member& me) { run_thread(in, me); });

  CHECK(in.collisions_count == 0);
  CHECK(in.size == 0);
  CHECK(in.put_sum == in.taken_sum);
  CHECK(static_cast<bool>(in.locked.try_lock()));
}

}  // namespace

// First, as it forks: no other thread is there yet.
TEST_CASE("coroutines, threads and processes share a buffer, and nobody waits for ever") {
  run_for_a_while([](std::uint32_t seed) { run_everybody(seed, futex_kind::process_shared); });
}

TEST_CASE("coroutines on four executors and threads share a buffer, and nobody waits for ever") {
  run_for_a_while([](std::uint32_t seed) { run_everybody(seed, futex_kind::process_private); });
}

}  // namespace gyre
