// SPDX-License-Identifier: MIT
// What does a read of a file cost, of 4 KiB anywhere in it, alone and 32 at a time: from the page cache, and past it?
// What does one of 128 KiB cost that follows another, as in a scan?
//
// The floor is the same on liburing by hand. Beside it, in gyre's place: pread on four threads, and libuv. Past the
// cache, with O_DIRECT, gyre and the floor read into registered memory as well.
#include "support/busy_ring.hpp"
#include "support/die.hpp"
#include "support/plain_pool.hpp"
#include "support/raw_ring.hpp"
#include "support/size.hpp"
#if GYRE_BENCH_UV
#include "support/busy_uv.hpp"
#endif

#include <benchmark/benchmark.h>
#include <fcntl.h>
#include <unistd.h>

#include <gyre/fs/aligned_buffer.hpp>
#include <gyre/fs/file.hpp>
#include <gyre/runtime/executor.hpp>
#include <gyre/runtime/registered_buffer.hpp>
#include <gyre/runtime/task.hpp>
#include <gyre/runtime/task_group.hpp>
#include <gyre/runtime/unique_fd.hpp>

#include <atomic>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <random>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace {

constexpr std::size_t page = 4096;

// How the file is read: what all sides of a question have in common.
struct way {
  const char* name;
  bool direct = false;
  bool registered = false;
  bool in_order = false;
  std::size_t depth = 1;

  [[nodiscard]] std::size_t bytes() const noexcept { return in_order ? std::size_t{128} << 10U : page; }
};

// A file on the disk, a buffer for each lane, and where to read: the same places for everybody.
struct scene {
  explicit scene(const way& read_how) : how{read_how} {
    // Of all that there is to write to, this is most likely to be on a disk.
    std::string name = "/var/tmp/gyre-bench-XXXXXX";
    file.reset(::mkostemp(name.data(), O_CLOEXEC));
    if (!file) bench::die("mkostemp", errno);
    const std::vector<std::byte> piece(std::size_t{1} << 20U, std::byte{1});
    for (std::size_t filled = 0; filled < file_bytes; filled += piece.size()) {
      if (::pwrite(file.get(), piece.data(), piece.size(), static_cast<::off_t>(filled)) < 0)
        bench::die("pwrite", errno);
    }
    ::fsync(file.get());
    file.reset(::open(name.c_str(), O_RDONLY | O_CLOEXEC | (how.direct ? O_DIRECT : 0)));
    if (!file) bench::die("open", errno);
    ::unlink(name.c_str());
    std::minstd_rand chance{1};
    for (std::size_t each = 0; each < reads_count; ++each)
      offsets.push_back(how.in_order ? each * how.bytes() : chance() % (file_bytes / page) * page);
  }

  [[nodiscard]] std::span<std::byte> buffer(std::size_t lane) noexcept {
    return memory.bytes().subspan(lane * how.bytes(), how.bytes());
  }

  const way how;
  const std::size_t file_bytes = bench::size_of_run(std::size_t{256} << 20U, std::size_t{8} << 20U);
  const std::size_t reads_count = how.in_order ? file_bytes / how.bytes() : 1024;
  gyre::unique_fd file;
  gyre::fs::aligned_buffer memory{how.depth * how.bytes(), page};
  std::vector<std::uint64_t> offsets;
};

void finish(benchmark::State& state, const scene& set, bool all_read) {
  if (!all_read) state.SkipWithError("a read was cut short");
  state.SetItemsProcessed(state.iterations() * static_cast<std::int64_t>(set.reads_count));
}

// ----------------------------------------------------------------------------------------------------------- the floor
void by_hand(benchmark::State& state, const way& how) {
  scene set{how};
  bench::raw_ring ring;
  const iovec memory{.iov_base = set.memory.data(), .iov_len = set.memory.size()};
  if (const int rc = how.registered ? io_uring_register_buffers(ring.get(), &memory, 1) : 0; rc != 0)
    bench::die("io_uring_register_buffers", -rc);
  const auto size = static_cast<unsigned>(how.bytes());
  bool all_read = true;
  for ([[maybe_unused]] auto _ : state) {
    std::size_t begun_count = 0;
    bench::keep_busy(ring, how.depth, [&](std::size_t lane, int answer) -> io_uring_sqe* {
      all_read &= answer == 0 || answer == static_cast<int>(size);
      if (begun_count == set.reads_count) return nullptr;
      io_uring_sqe* const sqe = ring.next_sqe();
      const auto offset = set.offsets[begun_count++];
      if (how.registered) io_uring_prep_read_fixed(sqe, set.file.get(), set.buffer(lane).data(), size, offset, 0);
      else io_uring_prep_read(sqe, set.file.get(), set.buffer(lane).data(), size, offset);
      return sqe;
    });
  }
  finish(state, set, all_read);
}

// -------------------------------------------------------------------------------------------------------- and the rest
gyre::task<> read_lane(const gyre::fs::file& file, gyre::buffer_ref buffer, const scene& set, std::size_t& begun_count,
                       bool& all_read) {
  while (begun_count < set.reads_count) {
    const std::size_t count = co_await file.read_at(buffer, set.offsets[begun_count++]);
    all_read &= count == buffer.size();
  }
}

// Lanes begin and end with each round, which is a thousand reads.
gyre::task<> read_all(benchmark::State& state, scene& set, const gyre::registered_buffer* registered) {
  const gyre::fs::file file{std::move(set.file)};
  bool all_read = true;
  for ([[maybe_unused]] auto _ : state) {
    std::size_t begun_count = 0;
    co_await gyre::with_task_group([&](gyre::task_group& lanes) -> gyre::task<> {
      for (std::size_t lane = 0; lane < set.how.depth; ++lane) {
        const gyre::buffer_ref buffer = registered != nullptr
                                            ? registered->subspan(lane * set.how.bytes(), set.how.bytes())
                                            : gyre::buffer_ref{set.buffer(lane)};
        lanes.start(read_lane(file, buffer, set, begun_count, all_read));
      }
      co_return;
    });
  }
  finish(state, set, all_read);
}

void by_gyre(benchmark::State& state, const way& how) {
  scene set{how};
  gyre::executor loop{{.registered_buffers = how.registered ? 1U : 0U}};
  if (!how.registered) return loop.run(read_all(state, set, nullptr));
  const gyre::registered_buffer memory{loop, set.memory.bytes()};
  loop.run(read_all(state, set, &memory));
}

void by_pool(benchmark::State& state, const way& how) {
  scene set{how};
  bench::plain_pool pool;
  std::atomic<bool> all_read = true;
  for ([[maybe_unused]] auto _ : state) {
    pool.run_all(set.reads_count, how.depth, [&](std::size_t each) {
      const auto buffer = set.buffer(each % how.depth);
      const auto count = ::pread(set.file.get(), buffer.data(), buffer.size(), static_cast<::off_t>(set.offsets[each]));
      if (count != static_cast<::ssize_t>(buffer.size())) all_read = false;
    });
  }
  finish(state, set, all_read);
}

#if GYRE_BENCH_UV
void by_uv(benchmark::State& state, const way& how) {
  scene set{how};
  bool all_read = true;
  for ([[maybe_unused]] auto _ : state) {
    std::size_t begun_count = 0;
    bench::busy_uv::run(how.depth, [&](uv_loop_t* loop, uv_fs_t* request, uv_fs_cb done, std::size_t lane,
                                       ::ssize_t answer) {
      all_read &= answer == 0 || answer == static_cast<::ssize_t>(how.bytes());
      if (begun_count == set.reads_count) return;
      const auto bytes = set.buffer(lane);
      const uv_buf_t buffer = uv_buf_init(reinterpret_cast<char*>(bytes.data()), static_cast<unsigned>(bytes.size()));
      const auto offset = static_cast<std::int64_t>(set.offsets[begun_count++]);
      uv_fs_read(loop, request, set.file.get(), &buffer, 1, offset, done);
    });
  }
  finish(state, set, all_read);
}
#endif

// Floor and gyre in turns, so that the ratio of neighbours is free of the machine's drift.
void ask(const way& how) {
  using side = void (*)(benchmark::State&, const way&);
  const auto add = [&how](const char* of, side run) {
    benchmark::RegisterBenchmark((std::string{how.name} + "_" + of).c_str(), run, how)
        ->Arg(static_cast<std::int64_t>(how.depth))
        ->UseRealTime();
  };
  add("floor", by_hand);
  add("gyre", by_gyre);
  if (how.registered) return;
  add("pool", by_pool);
#if GYRE_BENCH_UV
  add("libuv", by_uv);
#endif
}

}  // namespace

int main(int argc, char** argv) {
  ask({.name = "cached_read", .depth = 1});
  ask({.name = "cached_read", .depth = 32});
  ask({.name = "direct_read", .direct = true, .depth = 1});
  ask({.name = "direct_read", .direct = true, .depth = 32});
  ask({.name = "direct_registered_read", .direct = true, .registered = true, .depth = 1});
  ask({.name = "direct_registered_read", .direct = true, .registered = true, .depth = 32});
  ask({.name = "scan", .in_order = true, .depth = 1});
  benchmark::Initialize(&argc, argv);
  benchmark::RunSpecifiedBenchmarks();
}
