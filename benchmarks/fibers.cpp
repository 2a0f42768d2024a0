// SPDX-License-Identifier: MIT
// What does a fiber cost, beside what it is made of, and beside a coroutine that does the same?
//
// An await of what is there already, above two bare switches of Boost.Context, there and back; an await of a child that
// ends at once, above the same from a coroutine; a fiber that is started and ends, above a task that does.
#include <benchmark/benchmark.h>

#include <boost/context/detail/fcontext.hpp>
#include <gyre/runtime/executor.hpp>
#include <gyre/runtime/fiber.hpp>
#include <gyre/runtime/task.hpp>
#include <gyre/runtime/this_task.hpp>

#include <array>
#include <cstddef>

namespace {

using boost::context::detail::jump_fcontext;
using boost::context::detail::make_fcontext;
using boost::context::detail::transfer_t;

// ----------------------------------------------------------------------------------------- there and back, and no more

alignas(64) std::array<std::byte, std::size_t{64} << 10U> bare_stack;

void go_back_again_and_again(transfer_t from) {
  for (;;) from = jump_fcontext(from.fctx, nullptr);
}

void switch_there_and_back_floor(benchmark::State& state) {
  auto other = make_fcontext(bare_stack.data() + bare_stack.size(), bare_stack.size(), &go_back_again_and_again);
  for ([[maybe_unused]] auto _ : state) other = jump_fcontext(other, nullptr).fctx;
  state.SetItemsProcessed(state.iterations());
}

void switch_there_and_back_gyre(benchmark::State& state) {
  gyre::executor loop;
  loop.run(gyre::on_fiber([&] {
    for ([[maybe_unused]] auto _ : state)
      benchmark::DoNotOptimize(gyre::fiber::await(gyre::this_task::stop_requested()));
  }));
  state.SetItemsProcessed(state.iterations());
}

// ------------------------------------------------------------------------------------------ a child that ends at once

[[gnu::noinline]] gyre::task<int> child(int value) { co_return value; }

gyre::task<int> await_children(benchmark::State& state) {
  int sum = 0;
  for ([[maybe_unused]] auto _ : state) sum += co_await child(1);
  co_return sum;
}

void child_of_a_fiber_floor(benchmark::State& state) {
  gyre::executor loop;
  benchmark::DoNotOptimize(loop.run(await_children(state)));
  state.SetItemsProcessed(state.iterations());
}

void child_of_a_fiber_gyre(benchmark::State& state) {
  gyre::executor loop;
  benchmark::DoNotOptimize(loop.run(gyre::on_fiber([&] {
    int sum = 0;
    for ([[maybe_unused]] auto _ : state) sum += gyre::fiber::await(child(1));
    return sum;
  })));
  state.SetItemsProcessed(state.iterations());
}

// -------------------------------------------------------------------------------------------- beginning, and ending

gyre::task<int> await_fibers(benchmark::State& state) {
  int sum = 0;
  for ([[maybe_unused]] auto _ : state) sum += co_await gyre::on_fiber([] { return 1; });
  co_return sum;
}

void start_and_end_floor(benchmark::State& state) { child_of_a_fiber_floor(state); }

void start_and_end_gyre(benchmark::State& state) {
  gyre::executor loop;
  benchmark::DoNotOptimize(loop.run(await_fibers(state)));
  state.SetItemsProcessed(state.iterations());
}

// Floor and gyre in turns, so that the ratio of neighbours is free of the machine's drift.
BENCHMARK(switch_there_and_back_floor);
BENCHMARK(switch_there_and_back_gyre);
BENCHMARK(child_of_a_fiber_floor);
BENCHMARK(child_of_a_fiber_gyre);
BENCHMARK(start_and_end_floor);
BENCHMARK(start_and_end_gyre);

}  // namespace

BENCHMARK_MAIN();
