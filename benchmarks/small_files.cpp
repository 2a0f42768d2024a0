// SPDX-License-Identifier: MIT
// What does it cost to open a small file, read it and close it, for 10,000 of them, one after the other and 32 at a
// time?
//
// The floor is the same on liburing by hand. Beside it, in gyre's place: the three calls on four threads, and libuv.
#include "support/busy_ring.hpp"
#include "support/die.hpp"
#include "support/file_folder.hpp"
#include "support/plain_pool.hpp"
#include "support/raw_ring.hpp"
#if GYRE_BENCH_UV
#include "support/busy_uv.hpp"
#endif

#include <benchmark/benchmark.h>
#include <fcntl.h>
#include <unistd.h>

#include <gyre/fs/file.hpp>
#include <gyre/runtime/executor.hpp>
#include <gyre/runtime/task.hpp>
#include <gyre/runtime/task_group.hpp>

#include <array>
#include <atomic>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace {

using buffer = std::array<std::byte, 4096>;

void finish(benchmark::State& state, const bench::file_folder& files, std::uint64_t bytes_read) {
  const auto rounds = static_cast<std::uint64_t>(state.iterations());
  if (bytes_read != rounds * files.names().size() * bench::file_folder::bytes_each)
    state.SkipWithError("a file was not read");
  state.SetItemsProcessed(state.iterations() * static_cast<std::int64_t>(files.names().size()));
}

// What a lane of the floor, or of libuv, is at.
struct lane_state {
  enum class step : std::uint8_t { idle, opening, reading, closing };
  step at = step::idle;
  int fd = -1;
  buffer bytes{};
};

// ----------------------------------------------------------------------------------------------------------- the floor
void small_files_floor(benchmark::State& state) {
  const bench::file_folder files;
  const auto depth = static_cast<std::size_t>(state.range(0));
  std::vector<lane_state> lanes(depth);
  bench::raw_ring ring;
  std::uint64_t bytes_read = 0;
  for ([[maybe_unused]] auto _ : state) {
    std::size_t begun_count = 0;
    bench::keep_busy(ring, depth, [&](std::size_t index, int answer) -> io_uring_sqe* {
      using enum lane_state::step;
      lane_state& lane = lanes[index];
      if (lane.at == opening) {
        lane.fd = answer;
        lane.at = reading;
        io_uring_sqe* const sqe = ring.next_sqe();
        io_uring_prep_read(sqe, lane.fd, lane.bytes.data(), static_cast<unsigned>(lane.bytes.size()), 0);
        return sqe;
      }
      if (lane.at == reading) {
        bytes_read += static_cast<std::uint64_t>(answer);
        lane.at = closing;
        io_uring_sqe* const sqe = ring.next_sqe();
        io_uring_prep_close(sqe, lane.fd);
        return sqe;
      }
      lane.at = idle;
      if (begun_count == files.names().size()) return nullptr;
      lane.at = opening;
      io_uring_sqe* const sqe = ring.next_sqe();
      io_uring_prep_openat(sqe, AT_FDCWD, files.names()[begun_count++].c_str(), O_RDONLY | O_CLOEXEC, 0);
      return sqe;
    });
  }
  finish(state, files, bytes_read);
}

// -------------------------------------------------------------------------------------------------------- and the rest
gyre::task<> read_files(const bench::file_folder& files, std::size_t& begun_count, std::uint64_t& bytes_read) {
  buffer bytes;
  while (begun_count < files.names().size()) {
    auto opened = co_await gyre::fs::file::open(files.names()[begun_count++]);
    bytes_read += co_await opened.read_at(bytes, 0);
    co_await opened.close();
  }
}

void small_files_gyre(benchmark::State& state) {
  const bench::file_folder files;
  gyre::executor loop;
  std::uint64_t bytes_read = 0;
  for ([[maybe_unused]] auto _ : state) {
    std::size_t begun_count = 0;
    loop.run([&]() -> gyre::task<> {
      co_await gyre::with_task_group([&](gyre::task_group& lanes) -> gyre::task<> {
        for (std::int64_t lane = 0; lane < state.range(0); ++lane)
          lanes.start(read_files(files, begun_count, bytes_read));
        co_return;
      });
    });
  }
  finish(state, files, bytes_read);
}

void small_files_pool(benchmark::State& state) {
  const bench::file_folder files;
  bench::plain_pool pool;
  std::atomic<std::uint64_t> bytes_read = 0;
  for ([[maybe_unused]] auto _ : state) {
    pool.run_all(files.names().size(), static_cast<std::size_t>(state.range(0)), [&](std::size_t each) {
      buffer bytes;
      const int fd = ::open(files.names()[each].c_str(), O_RDONLY | O_CLOEXEC);
      const auto count = ::pread(fd, bytes.data(), bytes.size(), 0);
      if (count < 0 || ::close(fd) != 0) bench::die("a small file", errno);
      bytes_read += static_cast<std::uint64_t>(count);
    });
  }
  finish(state, files, bytes_read);
}

#if GYRE_BENCH_UV
void small_files_libuv(benchmark::State& state) {
  const bench::file_folder files;
  const auto depth = static_cast<std::size_t>(state.range(0));
  std::vector<lane_state> lanes(depth);
  std::uint64_t bytes_read = 0;
  for ([[maybe_unused]] auto _ : state) {
    std::size_t begun_count = 0;
    bench::busy_uv::run(
        depth, [&](uv_loop_t* loop, uv_fs_t* request, uv_fs_cb done, std::size_t index, ::ssize_t answer) {
          using enum lane_state::step;
          lane_state& lane = lanes[index];
          if (lane.at == opening) {
            lane.fd = static_cast<int>(answer);
            lane.at = reading;
            const uv_buf_t into =
                uv_buf_init(reinterpret_cast<char*>(lane.bytes.data()), static_cast<unsigned>(lane.bytes.size()));
            uv_fs_read(loop, request, lane.fd, &into, 1, 0, done);
          } else if (lane.at == reading) {
            bytes_read += static_cast<std::uint64_t>(answer);
            lane.at = closing;
            uv_fs_close(loop, request, lane.fd, done);
          } else if (begun_count < files.names().size()) {
            lane.at = opening;
            uv_fs_open(loop, request, files.names()[begun_count++].c_str(), O_RDONLY, 0, done);
          } else {
            lane.at = idle;
          }
        });
  }
  finish(state, files, bytes_read);
}
#endif

// Floor and gyre in turns, so that the ratio of neighbours is free of the machine's drift.
void ask(std::int64_t depth) {
  const auto add = [depth](const char* name, void (*run)(benchmark::State&)) {
    benchmark::RegisterBenchmark(name, run)->Arg(depth)->UseRealTime()->Unit(benchmark::kMillisecond);
  };
  add("small_files_floor", small_files_floor);
  add("small_files_gyre", small_files_gyre);
  add("small_files_pool", small_files_pool);
#if GYRE_BENCH_UV
  add("small_files_libuv", small_files_libuv);
#endif
}

}  // namespace

int main(int argc, char** argv) {
  ask(1);
  ask(32);
  benchmark::Initialize(&argc, argv);
  benchmark::RunSpecifiedBenchmarks();
}
