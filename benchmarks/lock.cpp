// SPDX-License-Identifier: MIT
// What does a mutex cost: free, and biased to the executor that alone uses it, or used by others once; handed on among
// coroutines of one executor; between two executors; between an executor and a plain thread?
//
// The floors: a store in and one out; one compare-and-swap in and one out; a hundred coroutines that yield in turn,
// which is the switch without the mutex; and std::mutex between two threads that do as much inside.
#include <benchmark/benchmark.h>

#include <gyre/runtime/executor.hpp>
#include <gyre/runtime/task.hpp>
#include <gyre/runtime/task_group.hpp>
#include <gyre/runtime/this_task.hpp>
#include <gyre/sync/mutex.hpp>

#include <sched.h>

#include <atomic>
#include <cstdint>
#include <functional>
#include <mutex>
#include <thread>

namespace {

// ----------------------------------------------------------------------------------------------------- it is free
void free_mutex_floor(benchmark::State& state) {
  std::atomic<std::uint32_t> word = 0;
  auto* address = &word;
  benchmark::DoNotOptimize(address);  // somebody else may look
  for ([[maybe_unused]] auto _ : state) {
    word.store(2, std::memory_order_relaxed);
    benchmark::ClobberMemory();
    word.store(0, std::memory_order_release);
    benchmark::ClobberMemory();
  }
  state.SetItemsProcessed(state.iterations());
}

void free_unbiased_mutex_floor(benchmark::State& state) {
  std::atomic<std::uint32_t> word = 0;
  for ([[maybe_unused]] auto _ : state) {
    std::uint32_t expected = 0;
    word.compare_exchange_strong(expected, 2, std::memory_order_acquire, std::memory_order_relaxed);
    expected = 2;
    word.compare_exchange_strong(expected, 0, std::memory_order_release, std::memory_order_relaxed);
    benchmark::ClobberMemory();
  }
  state.SetItemsProcessed(state.iterations());
}

[[gnu::noinline]] gyre::task<> lock_again_and_again(benchmark::State& state, gyre::sync::mutex& locked) {
  for ([[maybe_unused]] auto _ : state) {
    const auto held = co_await locked.lock();
    benchmark::ClobberMemory();
  }
}

void free_mutex_gyre(benchmark::State& state) {
  gyre::executor loop;
  gyre::sync::mutex locked;
  loop.run(lock_again_and_again(state, locked));
  state.SetItemsProcessed(state.iterations());
}

// It was the executor's own, until a thread came.
void free_unbiased_mutex_gyre(benchmark::State& state) {
  gyre::executor loop;
  gyre::sync::mutex locked;
  loop.run([&]() -> gyre::task<> {
    for (int i = 0; i < 1000; ++i) const auto held = co_await locked.lock();
  });
  static_cast<void>(locked.lock_blocking());
  loop.run(lock_again_and_again(state, locked));
  state.SetItemsProcessed(state.iterations());
}

// ------------------------------------------------------------------------------------ a hundred on one executor
constexpr int contending_count = 100;

gyre::task<> yield_until(const bool& done) {
  while (!done) co_await gyre::this_task::yield();
}

gyre::task<> yield_counted(benchmark::State& state, bool& done) {
  for ([[maybe_unused]] auto _ : state) co_await gyre::this_task::yield();
  done = true;
}

void mutex_hand_over_floor(benchmark::State& state) {
  gyre::executor loop;
  bool done = false;
  auto all = [&](gyre::task_group& group) -> gyre::task<> {
    for (int others = contending_count - 1; others > 0; --others) group.start(yield_until(done));
    co_await yield_counted(state, done);
  };
  auto run = [&]() -> gyre::task<> { co_await gyre::with_task_group({}, all); };
  loop.run(run());
  state.SetItemsProcessed(state.iterations() * contending_count);
}

// Everybody waits for everybody: each lock() but the first finds it taken, and is handed it.
gyre::task<> contend_until(gyre::sync::mutex& locked, const bool& done) {
  while (!done) const auto held = co_await locked.lock();
}

gyre::task<> contend_counted(benchmark::State& state, gyre::sync::mutex& locked, bool& done) {
  for ([[maybe_unused]] auto _ : state) const auto held = co_await locked.lock();
  done = true;
}

void mutex_hand_over_gyre(benchmark::State& state) {
  gyre::executor loop;
  gyre::sync::mutex locked;
  bool done = false;
  auto all = [&](gyre::task_group& group) -> gyre::task<> {
    auto first = co_await locked.lock();
    for (int others = contending_count - 1; others > 0; --others) group.start(contend_until(locked, done));
    group.start(contend_counted(state, locked, done));
    co_await gyre::this_task::yield();
    first.unlock();
  };
  auto run = [&]() -> gyre::task<> { co_await gyre::with_task_group({}, all); };
  loop.run(run());
  state.SetItemsProcessed(state.iterations() * contending_count);
}

// --------------------------------------------------------------------------------------- two sides, on a core each
constexpr int locks_count = 20'000;  // of each side

void use_all_cores() {
  cpu_set_t all;
  CPU_ZERO(&all);
  for (unsigned core = 0; core < std::thread::hardware_concurrency(); ++core) CPU_SET(core, &all);
  ::sched_setaffinity(0, sizeof all, &all);
}

void run_two(benchmark::State& state, const std::function<void()>& one, const std::function<void()>& other) {
  for ([[maybe_unused]] auto _ : state) {
    std::thread first{[&] { use_all_cores(), one(); }};
    std::thread second{[&] { use_all_cores(), other(); }};
    first.join();
    second.join();
  }
  state.SetItemsProcessed(state.iterations() * 2 * locks_count);
}

template <class Mutex>
void lock_in_thread(Mutex& locked, std::uint64_t& counter, auto lock) {
  for (int i = 0; i < locks_count; ++i) {
    const auto held = lock(locked);
    benchmark::DoNotOptimize(++counter);
  }
}

void lock_in_coroutines(gyre::sync::mutex& locked, std::uint64_t& counter) {
  constexpr int coroutines_count = 10;
  gyre::executor loop;
  auto one = [&]() -> gyre::task<> {
    for (int i = 0; i < locks_count / coroutines_count; ++i) {
      const auto held = co_await locked.lock();
      benchmark::DoNotOptimize(++counter);
    }
  };
  auto all = [&](gyre::task_group& group) -> gyre::task<> {
    for (int i = 0; i < coroutines_count; ++i) group.start(one());
    co_return;
  };
  auto run = [&]() -> gyre::task<> { co_await gyre::with_task_group({}, all); };
  loop.run(run());
}

void two_threads(benchmark::State& state) {
  std::mutex locked;
  std::uint64_t counter = 0;
  const auto lock = [](std::mutex& taken) { return std::unique_lock{taken}; };
  const auto side = [&] { lock_in_thread(locked, counter, lock); };
  run_two(state, side, side);
}

void two_executors_floor(benchmark::State& state) { two_threads(state); }

void two_executors_gyre(benchmark::State& state) {
  gyre::sync::mutex locked;
  std::uint64_t counter = 0;
  const auto side = [&] { lock_in_coroutines(locked, counter); };
  run_two(state, side, side);
}

void executor_and_thread_floor(benchmark::State& state) { two_threads(state); }

void executor_and_thread_gyre(benchmark::State& state) {
  gyre::sync::mutex locked;
  std::uint64_t counter = 0;
  const auto lock = [](gyre::sync::mutex& taken) { return taken.lock_blocking(); };
  run_two(state, [&] { lock_in_coroutines(locked, counter); }, [&] { lock_in_thread(locked, counter, lock); });
}

BENCHMARK(free_mutex_floor);
BENCHMARK(free_mutex_gyre);
BENCHMARK(free_unbiased_mutex_floor);
BENCHMARK(free_unbiased_mutex_gyre);
BENCHMARK(mutex_hand_over_floor);
BENCHMARK(mutex_hand_over_gyre);
BENCHMARK(two_executors_floor)->UseRealTime();
BENCHMARK(two_executors_gyre)->UseRealTime();
BENCHMARK(executor_and_thread_floor)->UseRealTime();
BENCHMARK(executor_and_thread_gyre)->UseRealTime();

}  // namespace

BENCHMARK_MAIN();
