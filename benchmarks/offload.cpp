// SPDX-License-Identifier: MIT
// What does it cost to have a function run on another thread, and to be back with its value: one after the other, and
// 32 at a time?
//
// The floor is what a program without gyre does: one thread behind a queue, a lock and a condition variable, that tells
// of each end by an eventfd which the caller blocks in. It is the same with one thread of gyre's.
#include "support/die.hpp"

#include <benchmark/benchmark.h>

#include <gyre/runtime/executor.hpp>
#include <gyre/runtime/offload.hpp>
#include <gyre/runtime/task.hpp>
#include <gyre/runtime/task_group.hpp>

#include <sys/eventfd.h>
#include <unistd.h>

#include <cerrno>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>

namespace {

// ----------------------------------------------------------------------------------------------------------- the floor
class plain_pool {
 public:
  plain_pool() : event_fd_{::eventfd(0, EFD_CLOEXEC)} {
    if (event_fd_ < 0) bench::die("eventfd", errno);
  }
  plain_pool(const plain_pool&) = delete;
  plain_pool& operator=(const plain_pool&) = delete;
  ~plain_pool() {
    thread_.request_stop();
    thread_.join();
    ::close(event_fd_);
  }

  void enqueue(std::function<void()> work) {
    const std::lock_guard lock{guard_};
    queue_.push_back(std::move(work));
    changed_.notify_one();
  }

  /// Blocks until some have ended; returns how many.
  std::uint64_t wait_for_ends() const {
    std::uint64_t ended_count = 0;
    if (::read(event_fd_, &ended_count, sizeof ended_count) != sizeof ended_count) bench::die("read", errno);
    return ended_count;
  }

 private:
  void serve(const std::stop_token& stop) {
    std::unique_lock lock{guard_};
    while (changed_.wait(lock, stop, [this] { return !queue_.empty(); })) {
      const auto work = std::move(queue_.front());
      queue_.pop_front();
      lock.unlock();
      work();
      const std::uint64_t one = 1;
      if (::write(event_fd_, &one, sizeof one) != sizeof one) bench::die("write", errno);
      lock.lock();
    }
  }

  int event_fd_;
  std::mutex guard_;
  std::condition_variable_any changed_;
  std::deque<std::function<void()>> queue_;
  std::jthread thread_{[this](const std::stop_token& stop) { serve(stop); }};
};

void offload_floor(benchmark::State& state) {
  plain_pool pool;
  const auto at_a_time = static_cast<std::uint64_t>(state.range(0));
  int value = 0;
  for ([[maybe_unused]] auto _ : state) {
    for (std::uint64_t i = 0; i < at_a_time; ++i) pool.enqueue([&value] { ++value; });
    for (std::uint64_t ended_count = 0; ended_count < at_a_time;) ended_count += pool.wait_for_ends();
  }
  benchmark::DoNotOptimize(value);
  state.SetItemsProcessed(state.iterations() * state.range(0));
}

// ---------------------------------------------------------------------------------------------------------------- gyre
gyre::task<> one_call(gyre::offload_pool& pool, int& value) {
  co_await gyre::offload(pool, [&value] { ++value; });
}

gyre::task<> calls(benchmark::State& state, gyre::offload_pool& pool, int& value) {
  for ([[maybe_unused]] auto _ : state) {
    if (state.range(0) == 1) {
      co_await one_call(pool, value);
      continue;
    }
    co_await gyre::with_task_group([&](gyre::task_group& group) -> gyre::task<> {
      for (std::int64_t i = 0; i < state.range(0); ++i) group.start(one_call(pool, value));
      co_return;
    });
  }
}

void offload_gyre(benchmark::State& state) {
  gyre::offload_pool pool{{.threads_max = 1}};
  gyre::executor loop;
  int value = 0;
  loop.run(calls(state, pool, value));
  benchmark::DoNotOptimize(value);
  state.SetItemsProcessed(state.iterations() * state.range(0));
}

BENCHMARK(offload_floor)->Arg(1)->UseRealTime();
BENCHMARK(offload_gyre)->Arg(1)->UseRealTime();
BENCHMARK(offload_floor)->Arg(32)->UseRealTime();
BENCHMARK(offload_gyre)->Arg(32)->UseRealTime();

}  // namespace

BENCHMARK_MAIN();
