// SPDX-License-Identifier: MIT
// What does giving way cost: one coroutine's switch to the next that is ready, alone and among many?
//
// The floor is a first-in-first-out queue of bare coroutines, linked through their awaiters, and a loop that resumes
// them: no turn, no look at the kernel, nothing that could stop one.
#include "support/bare_task.hpp"

#include <benchmark/benchmark.h>

#include <gyre/runtime/executor.hpp>
#include <gyre/runtime/task.hpp>
#include <gyre/runtime/task_group.hpp>
#include <gyre/runtime/this_task.hpp>

#include <coroutine>
#include <vector>

namespace {

// ----------------------------------------------------------------------------------------------------------- the floor
struct bare_yield;

struct bare_queue {
  bare_yield* head = nullptr;
  bare_yield** tail = &head;
};

struct bare_yield {
  explicit bare_yield(bare_queue& its_queue) noexcept : queue{its_queue} {}
  bool await_ready() const noexcept { return false; }
  void await_suspend(std::coroutine_handle<> yielding) noexcept {
    coroutine = yielding;
    next = nullptr;
    *queue.tail = this;
    queue.tail = &next;
  }
  void await_resume() const noexcept {}

  bare_queue& queue;
  std::coroutine_handle<> coroutine;
  bare_yield* next = nullptr;
};

bench::bare_task<int> yield_barely(bare_queue& queue, const bool& done) {
  while (!done) co_await bare_yield{queue};
  co_return 0;
}

bench::bare_task<int> yield_barely_counted(benchmark::State& state, bare_queue& queue, bool& done) {
  for ([[maybe_unused]] auto _ : state) co_await bare_yield{queue};
  done = true;
  co_return 0;
}

void yield_floor(benchmark::State& state) {
  bare_queue queue;
  bool done = false;
  std::vector<bench::bare_task<int>> all;
  for (std::int64_t others = state.range(0) - 1; others > 0; --others) all.push_back(yield_barely(queue, done));
  all.push_back(yield_barely_counted(state, queue, done));
  for (auto& each : all) each.run();
  while (bare_yield* const first = queue.head) {
    queue.head = first->next;
    if (queue.head == nullptr) queue.tail = &queue.head;
    first->coroutine.resume();
  }
  state.SetItemsProcessed(state.iterations() * state.range(0));
}

// ---------------------------------------------------------------------------------------------------------------- gyre
gyre::task<> yield_until(const bool& done) {
  while (!done) co_await gyre::this_task::yield();
}

// The one that counts: the others keep step with it, a yield each for each of its own.
gyre::task<> yield_counted(benchmark::State& state, bool& done) {
  for ([[maybe_unused]] auto _ : state) co_await gyre::this_task::yield();
  done = true;
}

void yield_gyre(benchmark::State& state) {
  gyre::executor loop;
  bool done = false;
  auto side_by_side = [&](gyre::task_group& group) -> gyre::task<> {
    for (std::int64_t others = state.range(0) - 1; others > 0; --others) group.start(yield_until(done));
    co_await yield_counted(state, done);
  };
  auto all = [&]() -> gyre::task<> { co_await gyre::with_task_group({}, side_by_side); };
  loop.run(all());
  state.SetItemsProcessed(state.iterations() * state.range(0));
}

BENCHMARK(yield_floor)->Arg(1);
BENCHMARK(yield_gyre)->Arg(1);
BENCHMARK(yield_floor)->Arg(32);
BENCHMARK(yield_gyre)->Arg(32);
BENCHMARK(yield_floor)->Arg(1000);
BENCHMARK(yield_gyre)->Arg(1000);

}  // namespace

BENCHMARK_MAIN();
