// SPDX-License-Identifier: MIT
// What does handing an item through a channel cost: on one executor, and between threads?
//
// On one executor the floor is a ring of as many items and no channel: a store, a load and two comparisons for each. In
// `channel_pair` one coroutine sends and receives, and none waits; in `channel_flow` senders and receivers wait for
// each other, each time the channel is full or empty. Between threads there is a channel of 1024 items, an executor on
// each thread, and the floor is a queue of as many with a std::mutex and condition variables.
#include <benchmark/benchmark.h>

#include <gyre/runtime/executor.hpp>
#include <gyre/runtime/task.hpp>
#include <gyre/runtime/task_group.hpp>
#include <gyre/sync/channel.hpp>
#include <gyre/sync/select.hpp>

#include <array>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <mutex>
#include <thread>
#include <vector>

namespace {

// ------------------------------------------------------------------------------------- one executor, nobody waits
struct bare_ring {
  std::array<std::uint64_t, 64> items;
  std::size_t first = 0;
  std::size_t count = 0;

  [[gnu::noinline]] bool push(std::uint64_t item) {
    if (count == items.size()) return false;
    items[(first + count++) % items.size()] = item;
    return true;
  }
  [[gnu::noinline]] bool pop(std::uint64_t& item) {
    if (count == 0) return false;
    item = items[first++ % items.size()];
    --count;
    return true;
  }
};

void channel_pair_floor(benchmark::State& state) {
  bare_ring ring;
  std::uint64_t sum = 0;
  for ([[maybe_unused]] auto _ : state) {
    ring.push(1);
    std::uint64_t item = 0;
    ring.pop(item);
    sum += item;
  }
  benchmark::DoNotOptimize(sum);
  state.SetItemsProcessed(state.iterations());
}

gyre::task<> send_and_receive(benchmark::State& state, gyre::sync::channel<std::uint64_t>& through) {
  std::uint64_t sum = 0;
  for ([[maybe_unused]] auto _ : state) {
    benchmark::DoNotOptimize(static_cast<bool>(co_await through.send(1)));
    sum += *co_await through.receive();
  }
  benchmark::DoNotOptimize(sum);
}

void channel_pair_gyre(benchmark::State& state) {
  gyre::executor loop;
  gyre::sync::channel<std::uint64_t> through{64};
  loop.run(send_and_receive(state, through));
  state.SetItemsProcessed(state.iterations());
}

// The same where the bias of the channel's lock has been taken away by another thread.
void channel_pair_shared_gyre(benchmark::State& state) {
  gyre::executor loop;
  gyre::sync::channel<std::uint64_t> through{64};
  for (int round = 0; round < 1000; ++round) benchmark::DoNotOptimize(through.size());
  std::thread{[&through] { benchmark::DoNotOptimize(through.size()); }}.join();
  loop.run(send_and_receive(state, through));
  state.SetItemsProcessed(state.iterations());
}

// --------------------------------------------------------------------- one executor, senders and receivers wait
gyre::task<> send_all(gyre::sync::channel<std::uint64_t>& to, std::uint64_t count) {
  for (std::uint64_t sent = 0; sent < count; ++sent)
    if (!co_await to.send(std::uint64_t{sent})) co_return;
}

gyre::task<> receive_all(gyre::sync::channel<std::uint64_t>& from, std::uint64_t& sum) {
  while (const auto item = co_await from.receive()) sum += *item;
}

gyre::task<> flow(gyre::sync::channel<std::uint64_t>& through, std::int64_t senders, std::int64_t receivers,
                  std::uint64_t items_count, std::uint64_t& sum) {
  co_await gyre::with_task_group([&](gyre::task_group& outer) -> gyre::task<> {
    for (std::int64_t each = 0; each < receivers; ++each) outer.start(receive_all(through, sum));
    co_await gyre::with_task_group([&](gyre::task_group& inner) -> gyre::task<> {
      for (std::int64_t each = 0; each < senders; ++each)
        inner.start(send_all(through, items_count / static_cast<std::uint64_t>(senders)));
      co_return;
    });
    through.close();
  });
}

void flow_through(benchmark::State& state, std::int64_t senders, std::int64_t receivers, std::size_t capacity) {
  constexpr std::uint64_t items_count = 60'000;
  gyre::executor loop;
  std::uint64_t sum = 0;
  for ([[maybe_unused]] auto _ : state) {
    gyre::sync::channel<std::uint64_t> through{capacity};
    loop.run(flow(through, senders, receivers, items_count, sum));
  }
  benchmark::DoNotOptimize(sum);
  state.SetItemsProcessed(state.iterations() * static_cast<std::int64_t>(items_count));
}

void channel_flow_gyre(benchmark::State& state) { flow_through(state, 1, 1, 64); }
void channel_rendezvous_gyre(benchmark::State& state) { flow_through(state, 1, 1, 0); }
void channel_flow_4_to_1_gyre(benchmark::State& state) { flow_through(state, 4, 1, 64); }
void channel_flow_4_to_4_gyre(benchmark::State& state) { flow_through(state, 4, 4, 64); }

// ------------------------------------------------------------------------------------------------------- select()
gyre::task<> select_of_two(benchmark::State& state) {
  gyre::sync::channel<std::uint64_t> one{64};
  gyre::sync::channel<std::uint64_t> other{64};
  std::uint64_t sum = 0;
  for ([[maybe_unused]] auto _ : state) {
    benchmark::DoNotOptimize(other.try_send(1));
    const auto got = co_await gyre::sync::select(one.receive(), other.receive());
    sum += *std::get<1>(got.value);
  }
  benchmark::DoNotOptimize(sum);
}

void channel_select_gyre(benchmark::State& state) {
  gyre::executor loop;
  loop.run(select_of_two(state));
  state.SetItemsProcessed(state.iterations());
}

// ----------------------------------------------------------------------------------------------- between threads
constexpr std::uint64_t threads_items_count = 400'000;
constexpr std::size_t threads_capacity = 1024;

class locked_queue {
 public:
  void push(std::uint64_t item) {
    std::unique_lock lock{mutex_};
    has_room_.wait(lock, [this] { return items_.size() < threads_capacity; });
    items_.push_back(item);
    has_items_.notify_one();
  }

  bool pop(std::uint64_t& item) {
    std::unique_lock lock{mutex_};
    has_items_.wait(lock, [this] { return !items_.empty() || closed_; });
    if (items_.empty()) return false;
    item = items_.front();
    items_.pop_front();
    has_room_.notify_one();
    return true;
  }

  void close() {
    const std::lock_guard lock{mutex_};
    closed_ = true;
    has_items_.notify_all();
  }

 private:
  std::mutex mutex_;
  std::condition_variable has_room_;
  std::condition_variable has_items_;
  std::deque<std::uint64_t> items_;
  bool closed_ = false;
};

// Runs `send(count)` on so many threads, and `receive()` on so many others.
template <class Send, class Receive, class Close>
void on_threads(unsigned senders, unsigned receivers, Send send, Receive receive, Close close) {
  std::vector<std::thread> receiving;
  std::vector<std::thread> sending;
  for (unsigned each = 0; each < receivers; ++each) receiving.emplace_back(receive);
  for (unsigned each = 0; each < senders; ++each) sending.emplace_back(send, threads_items_count / senders);
  for (auto& each : sending) each.join();
  close();
  for (auto& each : receiving) each.join();
}

void threads_floor(benchmark::State& state, unsigned senders, unsigned receivers) {
  for ([[maybe_unused]] auto _ : state) {
    locked_queue queue;
    auto send = [&queue](std::uint64_t count) {
      for (std::uint64_t item = 0; item < count; ++item) queue.push(item);
    };
    auto receive = [&queue] {
      for (std::uint64_t item = 0; queue.pop(item);) benchmark::DoNotOptimize(item);
    };
    on_threads(senders, receivers, send, receive, [&queue] { queue.close(); });
  }
  state.SetItemsProcessed(state.iterations() * static_cast<std::int64_t>(threads_items_count));
}

void threads_gyre(benchmark::State& state, unsigned senders, unsigned receivers) {
  for ([[maybe_unused]] auto _ : state) {
    gyre::sync::channel<std::uint64_t> through{threads_capacity};
    auto send = [&through](std::uint64_t count) { gyre::executor{}.run(send_all(through, count)); };
    auto receive = [&through] {
      std::uint64_t sum = 0;
      gyre::executor{}.run(receive_all(through, sum));
      benchmark::DoNotOptimize(sum);
    };
    on_threads(senders, receivers, send, receive, [&through] { through.close(); });
  }
  state.SetItemsProcessed(state.iterations() * static_cast<std::int64_t>(threads_items_count));
}

void channel_threads_floor(benchmark::State& state) { threads_floor(state, 1, 1); }
void channel_threads_gyre(benchmark::State& state) { threads_gyre(state, 1, 1); }
void channel_threads_2_to_1_floor(benchmark::State& state) { threads_floor(state, 2, 1); }
void channel_threads_2_to_1_gyre(benchmark::State& state) { threads_gyre(state, 2, 1); }
void channel_threads_2_to_2_floor(benchmark::State& state) { threads_floor(state, 2, 2); }
void channel_threads_2_to_2_gyre(benchmark::State& state) { threads_gyre(state, 2, 2); }

BENCHMARK(channel_pair_floor);
BENCHMARK(channel_pair_gyre);
BENCHMARK(channel_pair_shared_gyre);
BENCHMARK(channel_flow_gyre);
BENCHMARK(channel_rendezvous_gyre);
BENCHMARK(channel_flow_4_to_1_gyre);
BENCHMARK(channel_flow_4_to_4_gyre);
BENCHMARK(channel_select_gyre);
BENCHMARK(channel_threads_floor)->UseRealTime();
BENCHMARK(channel_threads_gyre)->UseRealTime();
BENCHMARK(channel_threads_2_to_1_floor)->UseRealTime();
BENCHMARK(channel_threads_2_to_1_gyre)->UseRealTime();
BENCHMARK(channel_threads_2_to_2_floor)->UseRealTime();
BENCHMARK(channel_threads_2_to_2_gyre)->UseRealTime();

}  // namespace

BENCHMARK_MAIN();
