// SPDX-License-Identifier: MIT
// What does waiting for several tasks at once cost: when_all() of 100 that end at once, when_any() of two?
//
// The floor of when_all() is the same 100 calls one after another, of a coroutine type with nothing in it. The floor of
// when_any() is the same by hand, in a task group, as there is no less in which a loser is stopped and waited for.
// Every coroutine here is noinline, as in task.cpp.
#include "support/bare_task.hpp"

#include <benchmark/benchmark.h>

#include <gyre/runtime/executor.hpp>
#include <gyre/runtime/task.hpp>
#include <gyre/runtime/task_group.hpp>
#include <gyre/runtime/timer.hpp>
#include <gyre/runtime/when_all.hpp>
#include <gyre/runtime/when_any.hpp>

#include <array>
#include <chrono>
#include <cstddef>
#include <utility>
#include <vector>

namespace {

constexpr std::size_t tasks_count = 100;

[[gnu::noinline]] bench::bare_task<int> bare_child(int value) { co_return value; }
[[gnu::noinline]] gyre::task<int> gyre_child(int value) { co_return value; }

// ---------------------------------------------------------------------------------------------------- all of 100
bench::bare_task<int> await_100_in_a_row(benchmark::State& state) {
  int sum = 0;
  for ([[maybe_unused]] auto _ : state)
    for (std::size_t index = 0; index < tasks_count; ++index) sum += co_await bare_child(1);
  co_return sum;
}

void when_all_100_floor(benchmark::State& state) {
  benchmark::DoNotOptimize(await_100_in_a_row(state).run());
  state.SetItemsProcessed(state.iterations());
}

gyre::task<> await_100_at_once(benchmark::State& state) {
  for ([[maybe_unused]] auto _ : state) {
    std::vector<gyre::task<int>> tasks;
    tasks.reserve(tasks_count);
    for (std::size_t index = 0; index < tasks_count; ++index) tasks.push_back(gyre_child(1));
    const auto values = co_await gyre::when_all(std::move(tasks));
    benchmark::DoNotOptimize(values.data());
  }
}

void when_all_100_gyre(benchmark::State& state) {
  gyre::executor loop;
  loop.run(await_100_at_once(state));
  state.SetItemsProcessed(state.iterations());
}

[[gnu::noinline]] gyre::task<> store(int value, int& where) {
  where = value;
  co_return;
}

gyre::task<> await_100_in_a_group(benchmark::State& state) {
  for ([[maybe_unused]] auto _ : state) {
    std::array<int, tasks_count> values{};
    co_await gyre::with_task_group([&values](gyre::task_group& group) -> gyre::task<> {
      for (int& each : values) group.start(store(1, each));
      co_return;
    });
    benchmark::DoNotOptimize(values.data());
  }
}

void group_100_gyre(benchmark::State& state) {
  gyre::executor loop;
  loop.run(await_100_in_a_group(state));
  state.SetItemsProcessed(state.iterations());
}

// ---------------------------------------------------------------------------------- the first of two: the second wins
[[gnu::noinline]] gyre::task<int> slow_child() {
  co_await gyre::sleep_for(std::chrono::hours{1});
  co_return 0;
}

[[gnu::noinline]] gyre::task<> store_first(gyre::task<int> one, int& where, gyre::task_group& group) {
  where = co_await std::move(one);
  group.cancel();
}

gyre::task<> await_first_in_a_group(benchmark::State& state) {
  for ([[maybe_unused]] auto _ : state) {
    int first = 0;
    co_await gyre::with_task_group([&first](gyre::task_group& group) -> gyre::task<> {
      group.start(store_first(slow_child(), first, group));
      group.start(store_first(gyre_child(1), first, group));
      co_return;
    });
    benchmark::DoNotOptimize(first);
  }
}

void when_any_2_floor(benchmark::State& state) {
  gyre::executor loop;
  loop.run(await_first_in_a_group(state));
  state.SetItemsProcessed(state.iterations());
}

gyre::task<> await_first(benchmark::State& state) {
  for ([[maybe_unused]] auto _ : state) {
    auto first = co_await gyre::when_any(slow_child(), gyre_child(1));
    benchmark::DoNotOptimize(first.index);
  }
}

void when_any_2_gyre(benchmark::State& state) {
  gyre::executor loop;
  loop.run(await_first(state));
  state.SetItemsProcessed(state.iterations());
}

BENCHMARK(when_all_100_floor);
BENCHMARK(when_all_100_gyre);
BENCHMARK(group_100_gyre);
BENCHMARK(when_any_2_floor);
BENCHMARK(when_any_2_gyre);

}  // namespace

BENCHMARK_MAIN();
