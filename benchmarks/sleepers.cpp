// SPDX-License-Identifier: MIT
// What does a sleeping task cost, among ten thousand, a hundred thousand, a million? Processor time and bytes each, and
// how late it wakes.
//
// Each sleeps until a point of its own, spread at random over one second, for a million over four, that begin
// when all have been started. The floor is a timeout of the kernel each, on liburing.
#include "support/die.hpp"
#include "support/raw_ring.hpp"

#include <benchmark/benchmark.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <random>
#include <vector>

#include <gyre/runtime/executor.hpp>
#include <gyre/runtime/task_group.hpp>
#include <gyre/runtime/timer.hpp>

namespace {

using namespace std::chrono_literals;
using steady = std::chrono::steady_clock;

double cpu_seconds() {
  timespec time{};
  ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) / 1e9;
}

double resident_bytes() {
  long pages_total = 0;
  long pages = 0;
  FILE* const file = std::fopen("/proc/self/statm", "re");
  if (file == nullptr || std::fscanf(file, "%ld %ld", &pages_total, &pages) != 2) bench::die("/proc/self/statm", errno);
  std::fclose(file);
  return static_cast<double>(pages) * static_cast<double>(::sysconf(_SC_PAGESIZE));
}

// The points in time, in the order in which they are armed; and how late each was met.
class schedule {
 public:
  explicit schedule(std::size_t count) : due_(count), late_us_(count) {
    std::mt19937 random{1};
    const std::chrono::nanoseconds spread = std::max<std::chrono::nanoseconds>(1s, 4us * count);
    std::uniform_int_distribution<std::int64_t> within{0, spread.count() - 1};
    const auto begin = steady::now() + 2us * count + 20ms;  // all of them have been started by then
    for (auto& each : due_) each = begin + std::chrono::nanoseconds{within(random)};
  }
  std::size_t count() const noexcept { return due_.size(); }
  steady::time_point due(std::size_t index) const noexcept { return due_[index]; }
  void met(std::size_t index) noexcept {
    late_us_[index] = std::chrono::duration<double, std::micro>(steady::now() - due_[index]).count();
  }
  void report(benchmark::State& state) {
    std::sort(late_us_.begin(), late_us_.end());
    state.counters["late_p50_us"] = late_us_[count() / 2];
    state.counters["late_p99_us"] = late_us_[count() * 99 / 100];
  }

 private:
  std::vector<steady::time_point> due_;
  std::vector<double> late_us_;
};

void sleepers_floor(benchmark::State& state) {
  for ([[maybe_unused]] auto _ : state) {
    schedule all{static_cast<std::size_t>(state.range(0))};
    std::vector<__kernel_timespec> times(all.count());
    bench::raw_ring ring;
    const double begin = cpu_seconds();
    for (std::size_t i = 0; i < all.count(); ++i) {
      const auto since_boot = all.due(i).time_since_epoch();
      times[i] = {.tv_sec = since_boot / 1s, .tv_nsec = (since_boot % 1s).count()};
      io_uring_sqe* const timeout = ring.next_sqe();
      io_uring_prep_timeout(timeout, &times[i], 0, IORING_TIMEOUT_ABS);
      io_uring_sqe_set_data64(timeout, i);
    }
    for (std::size_t left = all.count(); left > 0;) {
      ring.submit_and_wait(1);
      io_uring_cqe* completion = nullptr;
      unsigned head = 0;
      unsigned met_count = 0;
      io_uring_for_each_cqe(ring.get(), head, completion) {
        all.met(completion->user_data);
        ++met_count;
      }
      io_uring_cq_advance(ring.get(), met_count);
      left -= met_count;
    }
    state.SetIterationTime(cpu_seconds() - begin);
    all.report(state);
  }
  state.SetItemsProcessed(state.iterations() * state.range(0));
}

gyre::task<> sleep_until_due(schedule& all, std::size_t index) {
  co_await gyre::sleep_until(all.due(index));
  all.met(index);
}

gyre::task<> sleep_side_by_side(schedule& all, double& bytes_after_start) {
  const auto start_all = [&](gyre::task_group& group) -> gyre::task<> {
    for (std::size_t i = 0; i < all.count(); ++i) group.start(sleep_until_due(all, i));
    group.start([](double& bytes) -> gyre::task<> {
      bytes = resident_bytes();
      co_return;
    }(bytes_after_start));
    co_return;
  };
  co_await gyre::with_task_group(start_all);
}

void sleepers_gyre(benchmark::State& state) {
  for ([[maybe_unused]] auto _ : state) {
    schedule all{static_cast<std::size_t>(state.range(0))};
    gyre::executor loop;
    const double bytes_before = resident_bytes();
    double bytes_after = 0;
    const double begin = cpu_seconds();
    loop.run(sleep_side_by_side(all, bytes_after));
    state.SetIterationTime(cpu_seconds() - begin);
    all.report(state);
    state.counters["bytes_each"] = std::max(0.0, bytes_after - bytes_before) / static_cast<double>(all.count());
  }
  state.SetItemsProcessed(state.iterations() * state.range(0));
}

// Once each: a second run would find the memory of the first.
BENCHMARK(sleepers_floor)->Arg(10'000)->UseManualTime()->Iterations(1);
BENCHMARK(sleepers_gyre)->Arg(10'000)->UseManualTime()->Iterations(1);
BENCHMARK(sleepers_floor)->Arg(100'000)->UseManualTime()->Iterations(1);
BENCHMARK(sleepers_gyre)->Arg(100'000)->UseManualTime()->Iterations(1);
BENCHMARK(sleepers_gyre)->Arg(1'000'000)->UseManualTime()->Iterations(1);

}  // namespace

BENCHMARK_MAIN();
