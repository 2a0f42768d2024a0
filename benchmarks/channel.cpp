// SPDX-License-Identifier: MIT
// What does handing an item through a channel cost: on one executor, and between threads?
//
// On one executor the floor is a ring of as many items and no channel: a store, a load and two comparisons for each. In
// `channel_pair` one coroutine sends and receives, and none waits; in `channel_flow` senders and receivers wait for
// each other, each time the channel is full or empty. Between threads there is a channel of 1024 items, an executor on
// each thread, and the floor is a queue under a std::mutex, whose threads look again and again.
#include <benchmark/benchmark.h>

#include <gyre/runtime/executor.hpp>
#include <gyre/runtime/task.hpp>
#include <gyre/runtime/task_group.hpp>
#include <gyre/sync/channel.hpp>
#include <gyre/sync/select.hpp>

#include <array>
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

// Arguments: senders, receivers, capacity.
void channel_flow_gyre(benchmark::State& state) {
  constexpr std::uint64_t items_count = 60'000;
  gyre::executor loop;
  std::uint64_t sum = 0;
  for ([[maybe_unused]] auto _ : state) {
    gyre::sync::channel<std::uint64_t> through{static_cast<std::size_t>(state.range(2))};
    loop.run(flow(through, state.range(0), state.range(1), items_count, sum));
  }
  benchmark::DoNotOptimize(sum);
  state.SetItemsProcessed(state.iterations() * static_cast<std::int64_t>(items_count));
}

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
struct locked_queue {
  std::mutex mutex;
  std::deque<std::uint64_t> items;
};

constexpr std::uint64_t threads_items_count = 400'000;

// Runs `send(count)` on so many threads, and `receive()` on so many others.
template <class Send, class Receive, class Close>
void on_threads(std::int64_t senders, std::int64_t receivers, Send send, Receive receive, Close close) {
  std::vector<std::thread> receiving;
  std::vector<std::thread> sending;
  for (std::int64_t each = 0; each < receivers; ++each) receiving.emplace_back(receive);
  for (std::int64_t each = 0; each < senders; ++each)
    sending.emplace_back(send, threads_items_count / static_cast<std::uint64_t>(senders));
  for (auto& each : sending) each.join();
  close();
  for (auto& each : receiving) each.join();
}

void channel_threads_floor(benchmark::State& state) {
  constexpr std::size_t capacity = 1024;
  for ([[maybe_unused]] auto _ : state) {
    locked_queue queue;
    bool closed = false;
    auto send = [&queue](std::uint64_t count) {
      while (count > 0) {
        const std::lock_guard lock{queue.mutex};
        if (queue.items.size() < capacity) queue.items.push_back(count--);
      }
    };
    auto receive = [&queue, &closed] {
      for (;;) {
        const std::lock_guard lock{queue.mutex};
        if (!queue.items.empty()) queue.items.pop_front();
        else if (closed) return;
      }
    };
    on_threads(state.range(0), state.range(1), send, receive, [&] {
      const std::lock_guard lock{queue.mutex};
      closed = true;
    });
  }
  state.SetItemsProcessed(state.iterations() * static_cast<std::int64_t>(threads_items_count));
}

void channel_threads_gyre(benchmark::State& state) {
  for ([[maybe_unused]] auto _ : state) {
    gyre::sync::channel<std::uint64_t> through{1024};
    auto send = [&through](std::uint64_t count) { gyre::executor{}.run(send_all(through, count)); };
    auto receive = [&through] {
      std::uint64_t sum = 0;
      gyre::executor{}.run(receive_all(through, sum));
      benchmark::DoNotOptimize(sum);
    };
    on_threads(state.range(0), state.range(1), send, receive, [&through] { through.close(); });
  }
  state.SetItemsProcessed(state.iterations() * static_cast<std::int64_t>(threads_items_count));
}

BENCHMARK(channel_pair_floor);
BENCHMARK(channel_pair_gyre);
BENCHMARK(channel_pair_shared_gyre);
BENCHMARK(channel_flow_gyre)->Args({1, 1, 64})->Args({1, 1, 0})->Args({4, 1, 64})->Args({4, 4, 64});
BENCHMARK(channel_select_gyre);
BENCHMARK(channel_threads_floor)->Args({1, 1})->UseRealTime();
BENCHMARK(channel_threads_gyre)->Args({1, 1})->UseRealTime();
BENCHMARK(channel_threads_floor)->Args({2, 1})->UseRealTime();
BENCHMARK(channel_threads_gyre)->Args({2, 1})->UseRealTime();
BENCHMARK(channel_threads_floor)->Args({2, 2})->UseRealTime();
BENCHMARK(channel_threads_gyre)->Args({2, 2})->UseRealTime();

}  // namespace

BENCHMARK_MAIN();
