// SPDX-License-Identifier: MIT
// One semaphore among coroutines on four executors and plain threads: permits that are waited for, one or several, that
// come too late, and whose waits are stopped; that are forgotten and given back by another thread.
//
// Never are more taken than there are, in the end all are back, and nobody waits for ever: then the test does not end.
// Seeds, and how long: tests/support/stress.hpp.
#include <gyre/runtime/as_result.hpp>
#include <gyre/runtime/deadline.hpp>
#include <gyre/runtime/executor.hpp>
#include <gyre/runtime/task_group.hpp>
#include <gyre/runtime/this_task.hpp>
#include <gyre/sync/semaphore.hpp>

#include "../support/stress.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <thread>

namespace gyre {
namespace {

using namespace test;
using sync::semaphore;

constexpr std::uint64_t permits_max = 6;
constexpr std::uint32_t coroutines_count = 8;  // of each executor
constexpr int tries_count = 100;               // of each coroutine and thread

struct arena {
  explicit arena(std::uint64_t count) : permits_count{count}, permits{count} {}

  const std::uint64_t permits_count;
  semaphore permits;
  std::atomic<std::uint64_t> taken_count = 0;
  std::atomic<std::uint64_t> forgotten_count = 0;  // by those who hold them no more: for threads to give back
  std::atomic<bool> too_many = false;
};

// Has them as long as it lives.
class counted {
 public:
  counted(arena& in, std::uint64_t count) noexcept : in_{in}, count_{count} {
    if (in_.taken_count.fetch_add(count_) + count_ > in_.permits_count) in_.too_many = true;
  }
  counted(const counted&) = delete;
  counted& operator=(const counted&) = delete;
  ~counted() { in_.taken_count.fetch_sub(count_); }

 private:
  arena& in_;
  std::uint64_t count_;
};

task<> acquire_once(arena& in, std::uint64_t count, bool yields) {
  const auto held = co_await in.permits.acquire(count);
  const counted taken{in, count};
  if (yields) co_await this_task::yield();
}

task<> acquire_in_time(arena& in, std::uint64_t count, std::chrono::microseconds limit) {
  if (const auto held = co_await as_result(with_timeout(limit, in.permits.acquire(count))))
    const counted taken{in, count};
}

task<> acquire_and_forget(arena& in) {
  auto held = co_await in.permits.acquire();
  held.forget();
  in.forgotten_count.fetch_add(1);
}

task<> try_something(arena& in, random& chance) {
  const std::uint64_t count = std::min<std::uint64_t>(in.permits_count, 1 + chance() % 3);
  switch (chance() % 6) {
    case 0:
      co_await acquire_in_time(in, count, std::chrono::microseconds{chance() % 200});
      break;
    case 1:
      co_await stop_soon(acquire_once(in, count, /*yields=*/true), static_cast<unsigned>(chance() % 4));
      break;
    case 2:
      if (const auto held = in.permits.try_acquire(count)) const counted taken{in, count};
      break;
    case 3:
      co_await acquire_and_forget(in);
      break;
    default:
      co_await acquire_once(in, count, /*yields=*/chance() % 2 == 0);
  }
}

task<> try_often(arena& in, std::uint32_t seed) {
  random chance{seed};
  for (int i = 0; i < tries_count; ++i) co_await try_something(in, chance);
}

void run_executor(arena& in, const member& me) {
  executor{}.run([&]() -> task<> {
    co_await with_task_group([&](task_group& all) -> task<> {
      for (std::uint32_t i = 0; i < coroutines_count; ++i) all.start(try_often(in, me.seed + i));
      co_return;
    });
  });
}

void give_back_forgotten(arena& in) {
  if (const std::uint64_t count = in.forgotten_count.exchange(0); count > 0) in.permits.release(count);
}

// Until the executors have ended, as they may wait for what was forgotten.
void run_thread(arena& in, const member& me, const std::atomic<int>& running_count) {
  random chance{me.seed};
  while (running_count > 0) {
    const std::uint64_t count = std::min<std::uint64_t>(in.permits_count, 1 + chance() % 2);
    if (const auto held = in.permits.try_acquire(count)) const counted taken{in, count};
    give_back_forgotten(in);
    std::this_thread::yield();
  }
}

void run_everybody(std::uint32_t seed) {
  arena in{1 + seed % permits_max};
  std::atomic<int> running_count = crowd::executors_count;
  crowd{}.run(
      seed,
      [&](const member& me) {
        run_executor(in, me);
        --running_count;
      },
      [&](const member& me) { run_thread(in, me, running_count); });

  give_back_forgotten(in);
  CHECK(!in.too_many);
  CHECK(in.taken_count == 0);
  CHECK(in.permits.available() == in.permits_count);
}

}  // namespace

TEST_CASE("coroutines on four executors and threads share permits, and nobody waits for ever") {
  run_for_a_while(&run_everybody);
}

}  // namespace gyre
