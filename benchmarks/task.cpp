// SPDX-License-Identifier: MIT
// What does calling a coroutine cost: awaiting a child that ends at once, a recursion of them, an item of a stream, a
// child in a group?
//
// The floor is a coroutine type with nothing in it and its frame from the heap. Every coroutine here is noinline: a
// compiler that sees the body puts the child's frame into the caller's, and then nothing is measured.
#include "support/bare_generator.hpp"
#include "support/bare_task.hpp"

#include <benchmark/benchmark.h>

#include <gyre/runtime/executor.hpp>
#include <gyre/runtime/stream.hpp>
#include <gyre/runtime/task.hpp>
#include <gyre/runtime/task_group.hpp>

namespace {

constexpr int recursion_depth = 1000;
constexpr int group_tasks_count = 1000;

// ------------------------------------------------------------------------------------------------ an immediate child
[[gnu::noinline]] bench::bare_task<int> bare_child(int value) { co_return value; }
[[gnu::noinline]] gyre::task<int> gyre_child(int value) { co_return value; }

bench::bare_task<int> await_bare_children(benchmark::State& state) {
  int sum = 0;
  for ([[maybe_unused]] auto _ : state) sum += co_await bare_child(1);
  co_return sum;
}

void immediate_child_floor(benchmark::State& state) {
  benchmark::DoNotOptimize(await_bare_children(state).run());
  state.SetItemsProcessed(state.iterations());
}

gyre::task<int> await_gyre_children(benchmark::State& state) {
  int sum = 0;
  for ([[maybe_unused]] auto _ : state) sum += co_await gyre_child(1);
  co_return sum;
}

void immediate_child_gyre(benchmark::State& state) {
  gyre::executor loop;
  benchmark::DoNotOptimize(loop.run(await_gyre_children(state)));
  state.SetItemsProcessed(state.iterations());
}

// ----------------------------------------------------------------------------------------------- 1000 levels, a level
[[gnu::noinline]] bench::bare_task<int> bare_recursion(int levels) {
  if (levels == 0) co_return 0;
  co_return 1 + co_await bare_recursion(levels - 1);
}

[[gnu::noinline]] gyre::task<int> gyre_recursion(int levels) {
  if (levels == 0) co_return 0;
  co_return 1 + co_await gyre_recursion(levels - 1);
}

void recursion_level_floor(benchmark::State& state) {
  for ([[maybe_unused]] auto _ : state) benchmark::DoNotOptimize(bare_recursion(recursion_depth).run());
  state.SetItemsProcessed(state.iterations() * recursion_depth);
}

gyre::task<> await_gyre_recursions(benchmark::State& state) {
  for ([[maybe_unused]] auto _ : state) benchmark::DoNotOptimize(co_await gyre_recursion(recursion_depth));
}

void recursion_level_gyre(benchmark::State& state) {
  gyre::executor loop;
  loop.run(await_gyre_recursions(state));
  state.SetItemsProcessed(state.iterations() * recursion_depth);
}

// ------------------------------------------------------------------------------------------------ an item of a stream
[[gnu::noinline]] bench::bare_generator<int> bare_numbers() {
  for (int number = 0;; ++number) co_yield number;
}
[[gnu::noinline]] gyre::stream<int> gyre_numbers() {
  for (int number = 0;; ++number) co_yield number;
}

bench::bare_task<int> await_bare_items(benchmark::State& state) {
  auto numbers = bare_numbers();
  int sum = 0;
  for ([[maybe_unused]] auto _ : state) sum ^= co_await numbers.next();
  co_return sum;
}

void stream_item_floor(benchmark::State& state) {
  benchmark::DoNotOptimize(await_bare_items(state).run());
  state.SetItemsProcessed(state.iterations());
}

gyre::task<int> await_gyre_items(benchmark::State& state) {
  auto numbers = gyre_numbers();
  int sum = 0;
  for ([[maybe_unused]] auto _ : state) sum ^= *co_await numbers.next();
  co_return sum;
}

void stream_item_gyre(benchmark::State& state) {
  gyre::executor loop;
  benchmark::DoNotOptimize(loop.run(await_gyre_items(state)));
  state.SetItemsProcessed(state.iterations());
}

// -------------------------------------------------------------------------- starting an empty task and waiting for it
[[gnu::noinline]] gyre::task<> empty_task() { co_return; }

gyre::task<> one_task(gyre::task_group& group) {
  group.start(empty_task());
  co_return;
}

gyre::task<> many_tasks(gyre::task_group& group) {
  for (int index = 0; index < group_tasks_count; ++index) group.start(empty_task());
  co_return;
}

gyre::task<> join_groups(benchmark::State& state, gyre::task<> (*fill)(gyre::task_group&)) {
  for ([[maybe_unused]] auto _ : state) co_await gyre::with_task_group({}, fill);
}

// Opening and closing the group included: the worst case.
void group_of_one_gyre(benchmark::State& state) {
  gyre::executor loop;
  loop.run(join_groups(state, one_task));
  state.SetItemsProcessed(state.iterations());
}

// Per task of a group that has many.
void group_task_gyre(benchmark::State& state) {
  gyre::executor loop;
  loop.run(join_groups(state, many_tasks));
  state.SetItemsProcessed(state.iterations() * group_tasks_count);
}

BENCHMARK(immediate_child_floor);
BENCHMARK(immediate_child_gyre);
BENCHMARK(recursion_level_floor);
BENCHMARK(recursion_level_gyre);
BENCHMARK(stream_item_floor);
BENCHMARK(stream_item_gyre);
BENCHMARK(group_of_one_gyre);
BENCHMARK(group_task_gyre);

}  // namespace

BENCHMARK_MAIN();
