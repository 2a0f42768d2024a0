// SPDX-License-Identifier: MIT
// Channels between threads: executors and plain threads that send and receive at once, with stops in between. Each item
// arrives exactly once. What is random comes from a seed, which a failure shows; GYRE_CHANNEL_SEED=n runs one alone.
#include <gyre/runtime/executor.hpp>
#include <gyre/runtime/scope.hpp>
#include <gyre/runtime/task.hpp>
#include <gyre/runtime/task_group.hpp>
#include <gyre/runtime/this_task.hpp>
#include <gyre/sync/channel.hpp>
#include <gyre/sync/detail/biased_lock.hpp>
#include <gyre/sync/select.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <mutex>
#include <random>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace gyre::sync {
namespace {

using items = std::vector<std::uint32_t>;

constexpr std::uint32_t producers_count = 4;
constexpr std::uint32_t consumers_count = 4;
constexpr std::uint32_t each_count = 2000;
constexpr std::uint32_t all_count = producers_count * each_count;

// What arrived, from all threads.
class arrivals {
 public:
  void add(const items& came) {
    const std::lock_guard lock{mutex_};
    all_.insert(all_.end(), came.begin(), came.end());
  }

  void check_that_each_is_there_once() {
    std::ranges::sort(all_);
    REQUIRE(all_.size() == all_count);
    for (std::uint32_t item = 0; item < all_count; ++item) REQUIRE(all_[item] == item);
  }

 private:
  std::mutex mutex_;
  items all_;
};

// Calls `produce(first, end)` on a thread for each producer, and `consume()` on one for each consumer.
template <class Produce, class Consume, class Close>
void on_threads(Produce produce, Consume consume, Close close) {
  std::vector<std::thread> consumers;
  std::vector<std::thread> producers;
  for (std::uint32_t each = 0; each < consumers_count; ++each) consumers.emplace_back(consume);
  for (std::uint32_t each = 0; each < producers_count; ++each)
    producers.emplace_back([&produce, each] { produce(each * each_count, (each + 1) * each_count); });
  for (auto& each : producers) each.join();
  close();
  for (auto& each : consumers) each.join();
}

task<> send_range(channel<std::uint32_t>& to, std::uint32_t first, std::uint32_t end) {
  for (std::uint32_t item = first; item < end; ++item) {
    const auto sent = co_await to.send(std::uint32_t{item});
    CHECK(static_cast<bool>(sent));
  }
}

task<> receive_into(channel<std::uint32_t>& from, items& came) {
  while (const auto item = co_await from.receive()) came.push_back(*item);
}

TEST_CASE("4 producers and 4 consumers, an executor each: every item arrives once, and each producer's in order") {
  for (const std::size_t capacity : {0, 1, 16}) {
    CAPTURE(capacity);
    channel<std::uint32_t> through{capacity};
    arrivals all;
    std::atomic<bool> in_order = true;
    auto consume = [&] {
      items came;
      executor{}.run(receive_into(through, came));
      std::array<std::uint32_t, producers_count> latest{};
      for (const std::uint32_t item : came) {
        std::uint32_t& before = latest[item / each_count];
        if (item + 1 <= before) in_order = false;
        before = item + 1;
      }
      all.add(came);
    };
    on_threads([&](std::uint32_t first, std::uint32_t end) { executor{}.run(send_range(through, first, end)); },
               consume, [&] { through.close(); });

    all.check_that_each_is_there_once();
    CHECK(in_order);
  }
}

TEST_CASE("plain threads block in a channel that executors use, too") {
  for (const std::size_t capacity : {0, 4}) {
    CAPTURE(capacity);
    channel<std::uint32_t> through{capacity};
    arrivals all;
    std::atomic<unsigned> number = 0;
    auto produce = [&](std::uint32_t first, std::uint32_t end) {
      if (number++ % 2 == 0) return executor{}.run(send_range(through, first, end));
      for (std::uint32_t item = first; item < end; ++item) CHECK(through.send_blocking(std::uint32_t{item}));
    };
    auto consume = [&] {
      items came;
      if (number++ % 2 == 0) executor{}.run(receive_into(through, came));
      else
        while (const auto item = through.receive_blocking()) came.push_back(*item);
      all.add(came);
    };
    on_threads(produce, consume, [&] { through.close(); });

    all.check_that_each_is_there_once();
  }
}

// Receives one item with a stop on its way, at a moment that is drawn by lot. Nothing for the end.
task<bool> receive_with_a_stop(channel<std::uint32_t>& from, items& came, bool& ended, unsigned turns_before) {
  bool arrived = false;
  co_await with_task_group([&](task_group& group) -> task<> {
    group.start([](channel<std::uint32_t>& from_it, items& into, bool& over, bool& got) -> task<> {
      const auto item = co_await from_it.receive();
      if (item) into.push_back(*item), got = true;
      else over = true;
    }(from, came, ended, arrived));
    for (unsigned turn = 0; turn < turns_before; ++turn) co_await this_task::yield();
    group.cancel();
  });
  co_return arrived;
}

task<> receive_with_stops(channel<std::uint32_t>& from, items& came, std::uint32_t seed) {
  std::minstd_rand random{seed};
  for (bool ended = false; !ended;) static_cast<void>(co_await receive_with_a_stop(from, came, ended, random() % 4));
}

std::vector<std::uint32_t> seeds() {
  if (const char* const one = std::getenv("GYRE_CHANNEL_SEED")) return {static_cast<std::uint32_t>(std::stoul(one))};
  return {1, 2, 3};
}

TEST_CASE("receivers that are stopped all the time lose no item") {
  for (const std::uint32_t seed : seeds()) {
    CAPTURE(seed);
    channel<std::uint32_t> through{seed % 2};
    arrivals all;
    std::atomic<std::uint32_t> number = seed * 100;
    auto consume = [&] {
      items came;
      executor{}.run(receive_with_stops(through, came, ++number));
      all.add(came);
    };
    on_threads([&](std::uint32_t first, std::uint32_t end) { executor{}.run(send_range(through, first, end)); },
               consume, [&] { through.close(); });

    all.check_that_each_is_there_once();
  }
}

// Sends with a stop on its way; sends again what was not sent.
task<> send_with_stops(channel<std::uint32_t>& to, std::uint32_t first, std::uint32_t end, std::uint32_t seed) {
  std::minstd_rand random{seed};
  for (std::uint32_t item = first; item < end; ++item) {
    for (bool sent = false; !sent;) {
      co_await with_task_group([&](task_group& group) -> task<> {
        group.start([](channel<std::uint32_t>& to_it, std::uint32_t one, bool& done) -> task<> {
          done = static_cast<bool>(co_await to_it.send(std::uint32_t{one}));
        }(to, item, sent));
        for (unsigned turns = random() % 4; turns > 0; --turns) co_await this_task::yield();
        group.cancel();
      });
    }
  }
}

TEST_CASE("senders that are stopped all the time know what they have sent") {
  for (const std::uint32_t seed : seeds()) {
    CAPTURE(seed);
    channel<std::uint32_t> through{seed % 2};
    arrivals all;
    auto consume = [&] {
      items came;
      executor{}.run(receive_into(through, came));
      all.add(came);
    };
    on_threads([&](std::uint32_t first,
                   std::uint32_t end) { executor{}.run(send_with_stops(through, first, end, seed * 1000 + first)); },
               consume, [&] { through.close(); });

    all.check_that_each_is_there_once();
  }
}

task<> select_into(channel<std::uint32_t>& one, channel<std::uint32_t>& other, items& came) {
  for (;;) {
    auto got = co_await select(one.receive(), other.receive());
    const auto& item = got.index == 0 ? std::get<0>(got.value) : std::get<1>(got.value);
    if (!item) break;
    came.push_back(*item);
  }
  co_await receive_into(one, came);
  co_await receive_into(other, came);
}

task<> select_range(channel<std::uint32_t>& one, channel<std::uint32_t>& other, std::uint32_t first,
                    std::uint32_t end) {
  for (std::uint32_t item = first; item < end; ++item) {
    std::uint32_t offered = item;
    const auto sent = co_await select(one.send_from(offered), other.send_from(offered));
    CHECK((sent.index == 0 ? std::get<0>(sent.value) : std::get<1>(sent.value)));
  }
}

TEST_CASE("selects on both sides of two channels, which name them in either order: every item arrives once") {
  for (const std::size_t capacity : {0, 1}) {
    CAPTURE(capacity);
    channel<std::uint32_t> a{capacity};
    channel<std::uint32_t> b{capacity};
    arrivals all;
    std::atomic<unsigned> number = 0;
    auto consume = [&] {
      items came;
      const bool turned = number++ % 2 == 0;
      executor{}.run(turned ? select_into(a, b, came) : select_into(b, a, came));
      all.add(came);
    };
    on_threads(
        [&](std::uint32_t first, std::uint32_t end) {
          const bool turned = number++ % 2 == 0;
          executor{}.run(turned ? select_range(a, b, first, end) : select_range(b, a, first, end));
        },
        consume,
        [&] {
          a.close();
          b.close();
        });

    all.check_that_each_is_there_once();
  }
}

// ------------------------------------------------------------------------------------------------------- its lock

TEST_CASE("a lock that one thread uses is its own after a while, and nobody's once another thread comes") {
  detail::biased_lock lock;
  for (std::uint32_t use = 0; use <= detail::biased_lock::uses_before_bias; ++use) const detail::holding held{lock};
  const bool was_biased = lock.is_biased();
  if (!was_biased) MESSAGE("this kernel has no membarrier(2): the lock stays shared");

  std::thread{[&lock] { const detail::holding held{lock}; }}.join();

  CHECK(!lock.is_biased());
  for (std::uint32_t use = 0; use <= 2 * detail::biased_lock::uses_before_bias; ++use) const detail::holding held{lock};
  CHECK(!lock.is_biased());
}

// Counts up slowly, so that two that count at once lose something.
void count_up(std::uint64_t& counted) {
  const std::uint64_t before = counted;
  for (int round = 0; round < 8; ++round) std::atomic_signal_fence(std::memory_order_seq_cst);
  static_cast<volatile std::uint64_t&>(counted) = before + 1;
}

// Without the fence on all threads, in end_bias(), one in some thousand rounds loses a count.
TEST_CASE("the thread that a lock is biased to and one that takes the bias away are never inside together") {
  struct round {
    detail::biased_lock lock;
    std::uint64_t counted = 0;  // plain: ThreadSanitizer looks, too
  };
  constexpr std::size_t rounds_count = 400;
  std::vector<round> rounds{rounds_count};
  std::atomic<std::size_t> begun_count = 0;
  std::atomic<std::size_t> ended_count = 0;
  std::thread other{[&] {
    for (std::size_t index = 0; index < rounds_count; ++index) {
      while (begun_count <= index) std::this_thread::yield();
      const detail::holding held{rounds[index].lock};
      count_up(rounds[index].counted);
      ++ended_count;
    }
  }};
  for (std::size_t index = 0; index < rounds_count; ++index) {
    round& mine = rounds[index];
    std::uint64_t uses = 0;
    const auto use = [&mine, &uses] {
      const detail::holding held{mine.lock};
      count_up(mine.counted);
      ++uses;
    };
    while (uses <= detail::biased_lock::uses_before_bias) use();
    ++begun_count;
    while (ended_count <= index) use();
    use();
    CHECK(mine.counted == uses + 1);
  }
  other.join();
}

}  // namespace
}  // namespace gyre::sync
