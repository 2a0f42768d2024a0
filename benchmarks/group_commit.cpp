// SPDX-License-Identifier: MIT
// What does it cost that a record of 128 bytes is on the device, where 64 coroutines append to one log: with an fsync
// each, and with one for all that have written meanwhile?
//
// The floors are the same on liburing by hand: 64 writes and 64 fsyncs behind them, or one. Beside the first, in gyre's
// place: pwrite and fdatasync on four threads.
#include "support/busy_ring.hpp"
#include "support/die.hpp"
#include "support/plain_pool.hpp"
#include "support/raw_ring.hpp"

#include <benchmark/benchmark.h>
#include <fcntl.h>
#include <unistd.h>

#include <gyre/fs/file.hpp>
#include <gyre/runtime/executor.hpp>
#include <gyre/runtime/task.hpp>
#include <gyre/runtime/task_group.hpp>
#include <gyre/runtime/unique_fd.hpp>
#include <gyre/sync/event.hpp>

#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <utility>
#include <vector>

namespace {

constexpr std::size_t writers_count = 64;
constexpr std::size_t record_bytes = 128;
constexpr std::array<std::byte, record_bytes> record{};

// An empty log on a disk: its room is made beforehand, so that nobody's fsync writes where that is.
gyre::unique_fd empty_log() {
  std::string name = "/var/tmp/gyre-bench-XXXXXX";
  gyre::unique_fd made{::mkostemp(name.data(), O_CLOEXEC)};
  const std::vector<std::byte> room(writers_count * record_bytes);
  if (!made || ::pwrite(made.get(), room.data(), room.size(), 0) < 0 || ::fsync(made.get()) != 0)
    bench::die("a log", errno);
  ::unlink(name.c_str());
  return made;
}

void finish(benchmark::State& state) { state.SetItemsProcessed(state.iterations() * std::int64_t{writers_count}); }

// ---------------------------------------------------------------------------------------------------------- the floors
void commit_each_floor(benchmark::State& state) {
  const auto log = empty_log();
  bench::raw_ring ring;
  for ([[maybe_unused]] auto _ : state) {
    std::array<int, writers_count> steps{};
    bench::keep_busy(ring, writers_count, [&](std::size_t lane, int) -> io_uring_sqe* {
      if (steps[lane] == 2) return nullptr;
      io_uring_sqe* const sqe = ring.next_sqe();
      if (steps[lane]++ == 0) io_uring_prep_write(sqe, log.get(), record.data(), record_bytes, lane * record_bytes);
      else io_uring_prep_fsync(sqe, log.get(), IORING_FSYNC_DATASYNC);
      return sqe;
    });
  }
  finish(state);
}

void commit_group_floor(benchmark::State& state) {
  const auto log = empty_log();
  bench::raw_ring ring;
  for ([[maybe_unused]] auto _ : state) {
    std::array<bool, writers_count> has_begun{};
    std::size_t written_count = 0;
    bench::keep_busy(ring, writers_count, [&](std::size_t lane, int) -> io_uring_sqe* {
      if (std::exchange(has_begun[lane], true) && ++written_count != writers_count) return nullptr;
      io_uring_sqe* const sqe = ring.next_sqe();
      if (written_count == writers_count) io_uring_prep_fsync(sqe, log.get(), IORING_FSYNC_DATASYNC);
      else io_uring_prep_write(sqe, log.get(), record.data(), record_bytes, lane * record_bytes);
      return sqe;
    });
  }
  finish(state);
}

// -------------------------------------------------------------------------------------------------------- and the rest
class shared_log {
 public:
  explicit shared_log(gyre::unique_fd opened) noexcept : file_{std::move(opened)} {}

  gyre::task<> append_and_sync(std::size_t place) {
    co_await file_.write_all_at(record, place * record_bytes);
    co_await file_.sync(gyre::ops::sync_what::data);
  }

  // Who finds no sync under way makes one, for all that is written by then.
  gyre::task<> append_and_be_synced(std::size_t place) {
    co_await file_.write_all_at(record, place * record_bytes);
    const std::uint64_t mine = ++written_count_;
    while (synced_count_ < mine) {
      if (is_syncing_) {
        co_await synced_.wait();
        continue;
      }
      is_syncing_ = true;
      const std::uint64_t covered_count = written_count_;
      co_await file_.sync(gyre::ops::sync_what::data);
      synced_count_ = covered_count;
      is_syncing_ = false;
      synced_.set();
      synced_.reset();
    }
  }

 private:
  gyre::fs::file file_;
  std::uint64_t written_count_ = 0;
  std::uint64_t synced_count_ = 0;
  bool is_syncing_ = false;
  gyre::sync::local_event synced_;
};

template <gyre::task<> (shared_log::*Append)(std::size_t)>
void commit_by_gyre(benchmark::State& state) {
  shared_log log{empty_log()};
  gyre::executor loop;
  for ([[maybe_unused]] auto _ : state) {
    loop.run([&]() -> gyre::task<> {
      co_await gyre::with_task_group([&](gyre::task_group& writers) -> gyre::task<> {
        for (std::size_t place = 0; place < writers_count; ++place) writers.start((log.*Append)(place));
        co_return;
      });
    });
  }
  finish(state);
}

void commit_each_gyre(benchmark::State& state) { commit_by_gyre<&shared_log::append_and_sync>(state); }
void commit_group_gyre(benchmark::State& state) { commit_by_gyre<&shared_log::append_and_be_synced>(state); }

void commit_each_pool(benchmark::State& state) {
  const auto log = empty_log();
  bench::plain_pool pool;
  for ([[maybe_unused]] auto _ : state) {
    pool.run_all(writers_count, writers_count, [&](std::size_t place) {
      const auto offset = static_cast<::off_t>(place * record_bytes);
      if (::pwrite(log.get(), record.data(), record_bytes, offset) < 0 || ::fdatasync(log.get()) != 0)
        bench::die("a record", errno);
    });
  }
  finish(state);
}

// Floor and gyre in turns, so that the ratio of neighbours is free of the machine's drift.
BENCHMARK(commit_each_floor)->UseRealTime();
BENCHMARK(commit_each_gyre)->UseRealTime();
BENCHMARK(commit_each_pool)->UseRealTime();
BENCHMARK(commit_group_floor)->UseRealTime();
BENCHMARK(commit_group_gyre)->UseRealTime();

}  // namespace

BENCHMARK_MAIN();
