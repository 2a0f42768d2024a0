// SPDX-License-Identifier: MIT
// One channel among coroutines on four executors and plain threads: sends and receives that wait, that come too late
// and that are stopped.
//
// What was sent arrives, once; what was not sent never does; and nobody waits for ever: then the test does not end.
// Seeds, and how long: tests/support/stress.hpp.
#include <gyre/runtime/as_result.hpp>
#include <gyre/runtime/deadline.hpp>
#include <gyre/runtime/executor.hpp>
#include <gyre/runtime/task_group.hpp>
#include <gyre/runtime/this_task.hpp>
#include <gyre/sync/channel.hpp>

#include "../support/stress.hpp"

#include <doctest/doctest.h>

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <thread>

namespace gyre {
namespace {

using namespace test;

using item = std::uint64_t;

constexpr std::uint32_t senders_count = 4;  // of each executor; and as many receivers
constexpr int tries_count = 100;            // of each sender
constexpr int all_senders_count = crowd::executors_count * static_cast<int>(senders_count) + crowd::threads_count / 2;

// What came out, or went in: how many, and which.
struct tally {
  void add(item counted) noexcept {
    count.fetch_add(1, std::memory_order_relaxed);
    sum.fetch_add(counted * counted, std::memory_order_relaxed);
  }
  bool operator==(const tally& other) const noexcept { return count == other.count && sum == other.sum; }

  std::atomic<std::uint64_t> count = 0;
  std::atomic<std::uint64_t> sum = 0;
};

struct arena {
  explicit arena(std::size_t capacity) : through{capacity} {}

  item next() noexcept { return next_.fetch_add(1, std::memory_order_relaxed); }
  void sender_ended() noexcept {
    if (--senders_left_count_ == 0) through.close();
  }

  sync::channel<item> through;
  tally sent;
  tally received;

 private:
  std::atomic<item> next_ = 1;
  std::atomic<int> senders_left_count_ = all_senders_count;
};

task<> send_once(arena& in) {
  const item mine = in.next();
  if (co_await in.through.send(mine)) in.sent.add(mine);
}

task<> send_in_time(arena& in, std::chrono::microseconds limit) {
  item mine = in.next();
  if (const auto sent = co_await as_result(with_timeout(limit, in.through.send_from(mine))); sent && *sent)
    in.sent.add(mine);
}

task<> receive_once(arena& in) {
  if (const auto came = co_await in.through.receive()) in.received.add(*came);
}

task<> send_often(arena& in, std::uint32_t seed) {
  random chance{seed};
  for (int i = 0; i < tries_count; ++i) {
    const auto way = chance() % 8;
    if (way == 0) {
      co_await send_in_time(in, std::chrono::microseconds{chance() % 200});
    } else if (way == 1) {
      co_await stop_soon(send_once(in), static_cast<unsigned>(chance() % 4));
    } else if (way == 2) {
      if (const item mine = in.next(); in.through.try_send(mine)) in.sent.add(mine);
    } else {
      co_await send_once(in);
    }
  }
  in.sender_ended();
}

task<> receive_often(arena& in, std::uint32_t seed) {
  random chance{seed};
  for (;;) {
    const auto way = chance() % 8;
    if (way == 0) {
      const std::chrono::microseconds limit{chance() % 200};
      const auto came = co_await as_result(with_timeout(limit, in.through.receive()));
      if (came && *came) in.received.add(**came);
    } else if (way == 1) {
      co_await stop_soon(receive_once(in), static_cast<unsigned>(chance() % 4));
    } else if (way == 2) {
      if (const auto came = in.through.try_receive()) in.received.add(*came);
      co_await this_task::yield();
    } else {
      const auto came = co_await in.through.receive();
      if (!came) co_return;
      in.received.add(*came);
    }
  }
}

void run_executor(arena& in, const member& me) {
  executor{}.run([&]() -> task<> {
    co_await with_task_group([&](task_group& all) -> task<> {
      for (std::uint32_t i = 0; i < senders_count; ++i) {
        all.start(send_often(in, me.seed + 2 * i));
        all.start(receive_often(in, me.seed + 2 * i + 1));
      }
      co_return;
    });
  });
}

void run_thread(arena& in, const member& me) {
  if (me.number % 2 == 0) {
    for (int i = 0; i < tries_count; ++i)
      if (const item mine = in.next(); in.through.send_blocking(item{mine})) in.sent.add(mine);
    in.sender_ended();
  } else {
    while (const auto came = in.through.receive_blocking()) in.received.add(*came);
  }
}

void run_everybody(std::uint32_t seed) {
  arena in{seed % 5};
  crowd{}.run(seed, [&](const member& me) { run_executor(in, me); }, [&](const member& me) { run_thread(in, me); });

  CHECK(in.through.size() == 0);
  CHECK(in.sent == in.received);
  CHECK(in.received.count >= static_cast<std::uint64_t>(crowd::threads_count) / 2 * tries_count);
}

}  // namespace

TEST_CASE("coroutines on four executors and threads share a channel: what was sent arrives, once") {
  run_for_a_while(&run_everybody);
}

}  // namespace gyre
