// SPDX-License-Identifier: MIT
// What does it cost to ask what is behind a name, for 100,000 names, 32 at a time?
//
// The floor is statx on liburing by hand, which the kernel gives to a worker each time. Beside it, in gyre's place: the
// same call on four threads, libuv, and the call made directly, as try_metadata() makes it of an open file.
#include "support/busy_ring.hpp"
#include "support/die.hpp"
#include "support/file_folder.hpp"
#include "support/plain_pool.hpp"
#include "support/raw_ring.hpp"
#include "support/size.hpp"
#if GYRE_BENCH_UV
#include "support/busy_uv.hpp"
#endif

#include <benchmark/benchmark.h>
#include <fcntl.h>
#include <sys/stat.h>

#include <gyre/fs/metadata.hpp>
#include <gyre/fs/path_ops.hpp>
#include <gyre/runtime/executor.hpp>
#include <gyre/runtime/task.hpp>
#include <gyre/runtime/task_group.hpp>

#include <atomic>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace {

constexpr std::size_t lanes_count = 32;

// One folder for all sides.
const std::vector<std::string>& names() {
  static const bench::file_folder files{bench::size_of_run(100'000, 1'000)};
  return files.names();
}

void finish(benchmark::State& state, std::uint64_t bytes) {
  const auto rounds = static_cast<std::uint64_t>(state.iterations());
  if (bytes != rounds * names().size() * bench::file_folder::bytes_each) state.SkipWithError("a size was wrong");
  state.SetItemsProcessed(state.iterations() * static_cast<std::int64_t>(names().size()));
}

void stat_floor(benchmark::State& state) {
  bench::raw_ring ring;
  std::vector<struct ::statx> found(lanes_count);
  std::uint64_t bytes = 0;
  names();
  for ([[maybe_unused]] auto _ : state) {
    std::size_t begun_count = 0;
    std::vector<bool> asked(lanes_count);
    bench::keep_busy(ring, lanes_count, [&](std::size_t lane, int) -> io_uring_sqe* {
      if (asked[lane]) bytes += found[lane].stx_size;
      if (begun_count == names().size()) return nullptr;
      asked[lane] = true;
      io_uring_sqe* const sqe = ring.next_sqe();
      io_uring_prep_statx(sqe, AT_FDCWD, names()[begun_count++].c_str(), 0, gyre::fs::metadata::mask, &found[lane]);
      return sqe;
    });
  }
  finish(state, bytes);
}

gyre::task<> ask_for_sizes(std::size_t& begun_count, std::uint64_t& bytes) {
  while (begun_count < names().size()) {
    const auto about = co_await gyre::fs::metadata_of(names()[begun_count++]);
    bytes += about.size_bytes;
  }
}

void stat_gyre(benchmark::State& state) {
  gyre::executor loop;
  std::uint64_t bytes = 0;
  names();
  for ([[maybe_unused]] auto _ : state) {
    std::size_t begun_count = 0;
    loop.run([&]() -> gyre::task<> {
      co_await gyre::with_task_group([&](gyre::task_group& lanes) -> gyre::task<> {
        for (std::size_t lane = 0; lane < lanes_count; ++lane) lanes.start(ask_for_sizes(begun_count, bytes));
        co_return;
      });
    });
  }
  finish(state, bytes);
}

std::uint64_t size_of(const std::string& name) {
  struct ::statx found;
  if (::statx(AT_FDCWD, name.c_str(), 0, gyre::fs::metadata::mask, &found) != 0) bench::die("statx", errno);
  return found.stx_size;
}

void stat_pool(benchmark::State& state) {
  bench::plain_pool pool;
  std::atomic<std::uint64_t> bytes = 0;
  names();
  for ([[maybe_unused]] auto _ : state)
    pool.run_all(names().size(), lanes_count, [&](std::size_t each) { bytes += size_of(names()[each]); });
  finish(state, bytes);
}

void stat_direct(benchmark::State& state) {
  std::uint64_t bytes = 0;
  names();
  for ([[maybe_unused]] auto _ : state) {
    for (const auto& name : names()) bytes += size_of(name);
  }
  finish(state, bytes);
}

#if GYRE_BENCH_UV
void stat_libuv(benchmark::State& state) {
  std::uint64_t bytes = 0;
  names();
  for ([[maybe_unused]] auto _ : state) {
    std::size_t begun_count = 0;
    std::vector<bool> asked(lanes_count);
    bench::busy_uv::run(lanes_count,
                        [&](uv_loop_t* loop, uv_fs_t* request, uv_fs_cb done, std::size_t lane, ::ssize_t) {
                          if (asked[lane]) bytes += request->statbuf.st_size;
                          asked[lane] = true;
                          if (begun_count < names().size())
                            uv_fs_stat(loop, request, names()[begun_count++].c_str(), done);
                        });
  }
  finish(state, bytes);
}
#endif

// Floor and gyre in turns, so that the ratio of neighbours is free of the machine's drift.
BENCHMARK(stat_floor)->UseRealTime()->Unit(benchmark::kMillisecond);
BENCHMARK(stat_gyre)->UseRealTime()->Unit(benchmark::kMillisecond);
BENCHMARK(stat_pool)->UseRealTime()->Unit(benchmark::kMillisecond);
#if GYRE_BENCH_UV
BENCHMARK(stat_libuv)->UseRealTime()->Unit(benchmark::kMillisecond);
#endif
BENCHMARK(stat_direct)->UseRealTime()->Unit(benchmark::kMillisecond);

}  // namespace

BENCHMARK_MAIN();
