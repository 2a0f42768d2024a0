// SPDX-License-Identifier: MIT
// What does a line of a log cost who logs it, in the middle and at worst: by uring_sink, by spdlog's sink that writes
// where the line is logged, and by spdlog's asynchronous logger in front of that?
//
// On one thread, which is the executor's own where there is one: bursts of lines, and time for what writes them in
// between, as in a server. And by four threads at once, as fast as they can, until all lines are in the file.
#include "support/die.hpp"

#include <benchmark/benchmark.h>
#include <spdlog/async.h>
#include <spdlog/logger.h>
#include <spdlog/sinks/basic_file_sink.h>
#include <stdlib.h>
#include <unistd.h>

#include <gyre/fs/uring_sink.hpp>
#include <gyre/runtime/executor.hpp>
#include <gyre/runtime/offload.hpp>
#include <gyre/runtime/task.hpp>
#include <gyre/runtime/task_group.hpp>
#include <gyre/runtime/timer.hpp>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace {

using clock_type = std::chrono::steady_clock;
using namespace std::chrono_literals;

constexpr int bursts_count = 200;
constexpr int lines_in_burst = 100;
constexpr auto between_bursts = 1ms;
constexpr int threads_count = 4;
constexpr int lines_of_thread = 50'000;
constexpr std::size_t queue_lines = 8192;  // spdlog's own default

// A log that goes with the measurement.
class log_file {
 public:
  log_file() {
    const int made = ::mkstemp(path_.data());
    if (made < 0) bench::die("a log", errno);
    ::close(made);
  }
  log_file(const log_file&) = delete;
  log_file& operator=(const log_file&) = delete;
  ~log_file() { ::unlink(path_.c_str()); }

  [[nodiscard]] const std::string& path() const noexcept { return path_; }

 private:
  std::string path_ = "/var/tmp/gyre-bench-XXXXXX";
};

void log_line(spdlog::logger& out, int number) {
  out.info("GET /a/path/that/is/neither/short/nor/long/{} 200 {} bytes", number, 17 * number);
}

// What each line took who logged it.
class latencies {
 public:
  latencies() { taken_.reserve(std::size_t{bursts_count} * lines_in_burst); }

  void log_burst(spdlog::logger& out) {
    for (int number = 0; number < lines_in_burst; ++number) {
      const auto begun = clock_type::now();
      log_line(out, number);
      taken_.push_back(clock_type::now() - begun);
    }
  }

  void report(benchmark::State& state) {
    std::ranges::sort(taken_);
    state.counters["p50_ns"] = static_cast<double>(taken_[taken_.size() / 2].count());
    state.counters["p999_ns"] = static_cast<double>(taken_[taken_.size() * 999 / 1000].count());
    clock_type::duration all{0};
    for (const auto each : taken_) all += each;
    state.SetIterationTime(std::chrono::duration<double>(all).count());
    state.SetItemsProcessed(static_cast<std::int64_t>(taken_.size()));
  }

 private:
  std::vector<clock_type::duration> taken_;
};

// ------------------------------------------------------------------------------------------------------ in bursts
void burst_by_threads_logger(benchmark::State& state, spdlog::logger& out) {
  latencies measured;
  for (int burst = 0; burst < bursts_count; ++burst) {
    measured.log_burst(out);
    std::this_thread::sleep_for(between_bursts);
  }
  out.flush();
  measured.report(state);
}

void burst_floor(benchmark::State& state) {
  for ([[maybe_unused]] auto _ : state) {
    const log_file file;
    spdlog::logger out{"bench", std::make_shared<spdlog::sinks::basic_file_sink_mt>(file.path())};
    burst_by_threads_logger(state, out);
  }
}

void burst_gyre(benchmark::State& state) {
  for ([[maybe_unused]] auto _ : state) {
    const log_file file;
    gyre::executor loop;
    loop.run([&]() -> gyre::task<> {
      co_await gyre::fs::with_uring_sink(file.path(), {},
                                         [&](std::shared_ptr<gyre::fs::uring_sink> sink) -> gyre::task<> {
                                           spdlog::logger out{"bench", sink};
                                           latencies measured;
                                           for (int burst = 0; burst < bursts_count; ++burst) {
                                             measured.log_burst(out);
                                             co_await gyre::sleep_for(between_bursts);
                                           }
                                           measured.report(state);
                                         });
    });
  }
}

void burst_async(benchmark::State& state) {
  for ([[maybe_unused]] auto _ : state) {
    const log_file file;
    const auto pool = std::make_shared<spdlog::details::thread_pool>(queue_lines, 1);
    const auto sink = std::make_shared<spdlog::sinks::basic_file_sink_mt>(file.path());
    const auto out = std::make_shared<spdlog::async_logger>("bench", sink, pool);
    burst_by_threads_logger(state, *out);
  }
}

// ------------------------------------------------------------------------------------------------ as fast as they can
template <class MakeLogger>
void log_by_threads(MakeLogger make_logger) {
  std::vector<std::thread> threads;
  for (int each = 0; each < threads_count; ++each)
    threads.emplace_back([&] {
      const auto out = make_logger();
      for (int number = 0; number < lines_of_thread; ++number) log_line(*out, number);
    });
  for (auto& each : threads) each.join();
}

void finish(benchmark::State& state, clock_type::time_point begun) {
  state.SetIterationTime(std::chrono::duration<double>(clock_type::now() - begun).count());
  state.SetItemsProcessed(std::int64_t{threads_count} * lines_of_thread);
}

void flood_floor(benchmark::State& state) {
  for ([[maybe_unused]] auto _ : state) {
    const log_file file;
    const auto begun = clock_type::now();
    {
      const auto sink = std::make_shared<spdlog::sinks::basic_file_sink_mt>(file.path());
      log_by_threads([&] { return std::make_shared<spdlog::logger>("bench", sink); });
      sink->flush();
    }
    finish(state, begun);
  }
}

void flood_gyre(benchmark::State& state) {
  for ([[maybe_unused]] auto _ : state) {
    const log_file file;
    gyre::executor loop;
    const auto begun = clock_type::now();
    loop.run([&]() -> gyre::task<> {
      co_await gyre::fs::with_uring_sink(
          file.path(), {}, [](std::shared_ptr<gyre::fs::uring_sink> sink) -> gyre::task<> {
            co_await gyre::offload(
                [&] { log_by_threads([&] { return std::make_shared<spdlog::logger>("bench", sink); }); });
          });
    });
    finish(state, begun);
  }
}

void flood_async(benchmark::State& state) {
  for ([[maybe_unused]] auto _ : state) {
    const log_file file;
    const auto begun = clock_type::now();
    {
      const auto pool = std::make_shared<spdlog::details::thread_pool>(queue_lines, 1);
      const auto sink = std::make_shared<spdlog::sinks::basic_file_sink_mt>(file.path());
      const auto out = std::make_shared<spdlog::async_logger>("bench", sink, pool);
      log_by_threads([&] { return out; });
    }  // the pool's thread has written everything
    finish(state, begun);
  }
}

BENCHMARK(burst_floor)->UseManualTime()->Iterations(1);
BENCHMARK(burst_gyre)->UseManualTime()->Iterations(1);
BENCHMARK(burst_async)->UseManualTime()->Iterations(1);
BENCHMARK(flood_floor)->UseManualTime()->Iterations(1);
BENCHMARK(flood_gyre)->UseManualTime()->Iterations(1);
BENCHMARK(flood_async)->UseManualTime()->Iterations(1);

}  // namespace

BENCHMARK_MAIN();
