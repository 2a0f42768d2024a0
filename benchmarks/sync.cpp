// SPDX-License-Identifier: MIT
// What does waiting for each other cost on one executor: permits that nobody else wants, one that goes round among a
// hundred, an event that lets a hundred through?
//
// The floor is the same without threads: the types for one executor only, local_semaphore and local_event. So what
// stands above it is the price of being usable from everywhere: an atomic instruction or two. Those types are measured
// for their own sake, too, as local_…
#include <benchmark/benchmark.h>

#include <gyre/runtime/executor.hpp>
#include <gyre/runtime/task.hpp>
#include <gyre/runtime/task_group.hpp>
#include <gyre/runtime/this_task.hpp>
#include <gyre/sync/event.hpp>
#include <gyre/sync/semaphore.hpp>

namespace {

constexpr int waiters_count = 100;

// --------------------------------------------------------------------------------------- permits that are there anyway
template <class Semaphore>
gyre::task<> acquire_alone(benchmark::State& state) {
  Semaphore permits{1};
  for ([[maybe_unused]] auto _ : state) {
    const auto permit = co_await permits.acquire();
    benchmark::DoNotOptimize(&permit);
  }
}

template <class Semaphore>
void acquire(benchmark::State& state) {
  gyre::executor loop;
  loop.run(acquire_alone<Semaphore>(state));
  state.SetItemsProcessed(state.iterations());
}

void acquire_floor(benchmark::State& state) { acquire<gyre::sync::local_semaphore>(state); }
void local_acquire_gyre(benchmark::State& state) { acquire<gyre::sync::local_semaphore>(state); }
void acquire_gyre(benchmark::State& state) { acquire<gyre::sync::semaphore>(state); }

// ---------------------------------------------------------------------------- one permit that goes round among hundred
template <class Semaphore>
gyre::task<> want_until(Semaphore& permits, const bool& done) {
  while (!done) static_cast<void>(co_await permits.acquire());
}

// The one that counts. The permit goes round in the order in which they came: each of them has it once in between.
template <class Semaphore>
gyre::task<> want_counted(benchmark::State& state, Semaphore& permits, bool& done) {
  for ([[maybe_unused]] auto _ : state) static_cast<void>(co_await permits.acquire());
  done = true;
}

template <class Semaphore>
gyre::task<> hand_round(benchmark::State& state) {
  Semaphore permits{1};
  bool done = false;
  co_await gyre::with_task_group([&](gyre::task_group& group) -> gyre::task<> {
    for (int other = 1; other < waiters_count; ++other) group.start(want_until(permits, done));
    group.start(want_counted(state, permits, done));
    {
      const auto held = co_await permits.acquire();
      co_await gyre::this_task::yield();  // until all of them wait
    }
  });
}

template <class Semaphore>
void hand_over(benchmark::State& state) {
  gyre::executor loop;
  loop.run(hand_round<Semaphore>(state));
  state.SetItemsProcessed(state.iterations() * waiters_count);
}

void hand_over_floor(benchmark::State& state) { hand_over<gyre::sync::local_semaphore>(state); }
void local_hand_over_gyre(benchmark::State& state) { hand_over<gyre::sync::local_semaphore>(state); }
void hand_over_gyre(benchmark::State& state) { hand_over<gyre::sync::semaphore>(state); }

// --------------------------------------------------------------------------------------- an event that a hundred await
template <class Event>
gyre::task<> wait_until(Event& opened, const bool& done) {
  while (!done) co_await opened.wait();
}

template <class Event>
gyre::task<> set_again_and_again(benchmark::State& state) {
  Event opened;
  bool done = false;
  co_await gyre::with_task_group([&](gyre::task_group& group) -> gyre::task<> {
    for (int index = 0; index < waiters_count; ++index) group.start(wait_until(opened, done));
    co_await gyre::this_task::yield();
    for ([[maybe_unused]] auto _ : state) {
      opened.set();
      opened.reset();
      co_await gyre::this_task::yield();  // behind those who were let through, and wait again
    }
    done = true;
    opened.set();
  });
}

template <class Event>
void event(benchmark::State& state) {
  gyre::executor loop;
  loop.run(set_again_and_again<Event>(state));
  state.SetItemsProcessed(state.iterations() * waiters_count);
}

void event_floor(benchmark::State& state) { event<gyre::sync::local_event>(state); }
void event_gyre(benchmark::State& state) { event<gyre::sync::event>(state); }

// ------------------------------------------------------------------------------------------ an event that has been set
template <class Event>
gyre::task<> wait_for_what_is_set(benchmark::State& state) {
  Event opened;
  opened.set();
  for ([[maybe_unused]] auto _ : state) {
    co_await opened.wait();
    benchmark::ClobberMemory();
  }
}

template <class Event>
void set_event(benchmark::State& state) {
  gyre::executor loop;
  loop.run(wait_for_what_is_set<Event>(state));
  state.SetItemsProcessed(state.iterations());
}

void set_event_floor(benchmark::State& state) { set_event<gyre::sync::local_event>(state); }
void set_event_gyre(benchmark::State& state) { set_event<gyre::sync::event>(state); }

BENCHMARK(local_acquire_gyre);
BENCHMARK(acquire_floor);
BENCHMARK(acquire_gyre);
BENCHMARK(local_hand_over_gyre);
BENCHMARK(hand_over_floor);
BENCHMARK(hand_over_gyre);
BENCHMARK(event_floor);
BENCHMARK(event_gyre);
BENCHMARK(set_event_floor);
BENCHMARK(set_event_gyre);

}  // namespace

BENCHMARK_MAIN();
