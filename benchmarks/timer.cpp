// SPDX-License-Identifier: MIT
// What does a deadline cost that is not reached: a timer set, and cancelled?
//
// The floor is a timer of the kernel, added and removed by the ring in one system call.
#include "support/raw_ring.hpp"

#include <benchmark/benchmark.h>

#include <chrono>

#include <gyre/runtime/deadline.hpp>
#include <gyre/runtime/executor.hpp>
#include <gyre/runtime/task.hpp>

namespace {

using namespace std::chrono_literals;

void timer_cancel_floor(benchmark::State& state) {
  constexpr __u64 timer_tag = 1;
  bench::raw_ring ring;
  __kernel_timespec hour{3600, 0};
  for ([[maybe_unused]] auto _ : state) {
    io_uring_sqe* set = ring.next_sqe();
    io_uring_prep_timeout(set, &hour, 0, 0);
    io_uring_sqe_set_data64(set, timer_tag);
    io_uring_sqe* cancel = ring.next_sqe();
    io_uring_prep_timeout_remove(cancel, timer_tag, 0);
    io_uring_sqe_set_data64(cancel, 0);
    ring.submit_and_wait(2);
    io_uring_cq_advance(ring.get(), io_uring_cq_ready(ring.get()));
  }
  state.SetItemsProcessed(state.iterations());
}

[[gnu::noinline]] gyre::task<> empty_task() { co_return; }

gyre::task<> meet_deadlines(benchmark::State& state) {
  for ([[maybe_unused]] auto _ : state) co_await gyre::with_timeout(1h, empty_task());
}

// A deadline around a task: scope, timer, and the call itself.
void timer_cancel_gyre(benchmark::State& state) {
  gyre::executor loop;
  loop.run(meet_deadlines(state));
  state.SetItemsProcessed(state.iterations());
}

BENCHMARK(timer_cancel_floor);
BENCHMARK(timer_cancel_gyre);

}  // namespace

BENCHMARK_MAIN();
