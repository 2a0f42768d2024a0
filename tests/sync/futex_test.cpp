// SPDX-License-Identifier: MIT
// The building blocks of locks: threads and coroutines that wait on a word and wake each other.
#include <gyre/runtime/executor.hpp>
#include <gyre/sync/futex.hpp>

#include "../support/scripted.hpp"
#include "../support/turning.hpp"

#include <doctest/doctest.h>
#include <liburing.h>

#include <atomic>
#include <cstdint>
#include <thread>

namespace gyre {
namespace {

using namespace test;
using sync::futex_kind;

task<> wait_for(const std::atomic<std::uint32_t>& flag, std::uint32_t value, futex_kind kind) {
  for (std::uint32_t seen = flag.load(); seen != value; seen = flag.load()) co_await sync::futex_wait(flag, seen, kind);
}

void wait_for_blocking(const std::atomic<std::uint32_t>& flag, std::uint32_t value, futex_kind kind) {
  for (std::uint32_t seen = flag.load(); seen != value; seen = flag.load()) sync::futex_wait_blocking(flag, seen, kind);
}

task<> set(std::atomic<std::uint32_t>& flag, std::uint32_t value, futex_kind kind) {
  flag.store(value);
  sync::futex_wake(flag, sync::every_waiter, kind);
  co_return;
}

}  // namespace

TEST_CASE("threads and coroutines wait for each other on one word") {
  for (const auto kind : {futex_kind::process_private, futex_kind::process_shared}) {
    constexpr std::uint32_t rounds_count = 100;
    std::atomic<std::uint32_t> flag = 0;
    std::thread other{[&] {
      for (std::uint32_t i = 0; i < rounds_count; ++i) {
        wait_for_blocking(flag, 2 * i + 1, kind);
        flag.store(2 * i + 2);
        sync::futex_wake(flag, 1, kind);
      }
    }};
    executor loop;

    loop.run([&]() -> task<> {
      for (std::uint32_t i = 0; i < rounds_count; ++i) {
        co_await set(flag, 2 * i + 1, kind);
        co_await wait_for(flag, 2 * i + 2, kind);
      }
    });
    other.join();

    CHECK(flag == 2 * rounds_count);
  }
}

TEST_CASE("a wake wakes as many as asked for, and tells how many it found") {
  executor loop;
  std::atomic<std::uint32_t> flag = 0;
  auto first = loop.start(wait_for(flag, 1, futex_kind::process_private));
  auto second = loop.start(wait_for(flag, 1, futex_kind::process_private));
  loop.run_ready();
  flag = 1;

  CHECK(sync::futex_wake(flag, 0) == 0);
  CHECK(sync::futex_wake(flag, sync::every_waiter, futex_kind::process_shared) == 0);
  CHECK(sync::futex_wake(flag, 1) == 1);
  CHECK(sync::futex_wake(flag, sync::every_waiter) == 1);
  CHECK(sync::futex_wake(flag, sync::every_waiter) == 0);
  turn_until_done(loop, first);
  turn_until_done(loop, second);
}

TEST_CASE("a word that holds something else is not waited on, and memory that is gone has no waiters") {
  const std::atomic<std::uint32_t> flag = 1;
  auto& nowhere = *reinterpret_cast<const std::atomic<std::uint32_t>*>(std::uintptr_t{8});

  CHECK(!sync::futex_wait_blocking(flag, 0));
  CHECK(sync::futex_wake(nowhere, 1, futex_kind::process_shared) == 0);
  executor loop;
  loop.run([&]() -> task<> {
    CHECK(sync::futex_wake(nowhere, 1, futex_kind::process_shared) == 0);
    CHECK(sync::futex_wake(flag, 0) == 0);
    co_return;
  });
}

TEST_CASE("in a turn of an executor a wake goes through its ring") {
  scripted_executor on;
  std::atomic<std::uint32_t> flag = 0;
  std::uint32_t asked_for = 0;
  on.script.on_futex_wake = [&](const std::atomic<std::uint32_t>& word, std::uint32_t count) -> std::size_t {
    CHECK(&word == &flag);
    asked_for = count;
    return 1;
  };

  on.loop.run([&]() -> task<> {
    CHECK(sync::futex_wake(flag, 3) == 1);
    co_return;
  });

  CHECK(asked_for == 3);
}

}  // namespace gyre
