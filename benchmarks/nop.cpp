// SPDX-License-Identifier: MIT
// What does one co_await of an operation cost above the ring itself?
//
// A no-op does nothing in the kernel, so what is left is the way there and back. A batch of n is n coroutines that
// await side by side, so that one system call carries n entries; the floor prepares n entries, submits once, and reaps
// n.
#include "support/raw_ring.hpp"

#include <benchmark/benchmark.h>

#include <gyre/runtime/executor.hpp>
#include <gyre/runtime/ops/misc.hpp>
#include <gyre/runtime/task.hpp>
#include <gyre/runtime/task_group.hpp>

namespace {

// liburing, no coroutine.
void nop_floor(benchmark::State& state) {
  const auto batch = static_cast<unsigned>(state.range(0));
  bench::raw_ring ring;
  for ([[maybe_unused]] auto _ : state) {
    for (unsigned index = 0; index < batch; ++index) io_uring_prep_nop(ring.next_sqe());
    ring.submit_and_wait(batch);
    io_uring_cqe* cqe = nullptr;
    unsigned head = 0;
    unsigned count = 0;
    io_uring_for_each_cqe(ring.get(), head, cqe) {
      benchmark::DoNotOptimize(cqe->res);
      ++count;
    }
    io_uring_cq_advance(ring.get(), count);
  }
  state.SetItemsProcessed(state.iterations() * batch);
}

gyre::task<> await_nops(const bool& done) {
  while (!done) co_await gyre::ops::nop();
}

// The one that counts: the others keep step with it, a no-op each for each of its own.
gyre::task<> await_counted_nops(benchmark::State& state, bool& done) {
  for ([[maybe_unused]] auto _ : state) co_await gyre::ops::nop();
  done = true;
}

void nop_gyre(benchmark::State& state) {
  gyre::executor loop;
  bool done = false;
  auto side_by_side = [&](gyre::task_group& group) -> gyre::task<> {
    for (std::int64_t others = state.range(0) - 1; others > 0; --others) group.start(await_nops(done));
    co_await await_counted_nops(state, done);
  };
  auto all = [&]() -> gyre::task<> { co_await gyre::with_task_group({}, side_by_side); };
  loop.run(all());
  state.SetItemsProcessed(state.iterations() * state.range(0));
}

// Floor and gyre in turns, so that the ratio of neighbours is free of the machine's drift.
BENCHMARK(nop_floor)->Arg(1);
BENCHMARK(nop_gyre)->Arg(1);
BENCHMARK(nop_floor)->Arg(8);
BENCHMARK(nop_gyre)->Arg(8);
BENCHMARK(nop_floor)->Arg(32);
BENCHMARK(nop_gyre)->Arg(32);
BENCHMARK(nop_floor)->Arg(256);
BENCHMARK(nop_gyre)->Arg(256);

}  // namespace

BENCHMARK_MAIN();
