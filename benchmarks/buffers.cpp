// SPDX-License-Identifier: MIT
// What does a read of the page cache cost above the ring itself, and what does registered memory change?
//
// One read after the other, of 4 KiB and of 64 KiB, into plain memory and into a registered buffer: by hand on
// liburing, and through gyre. The file has just been written, so that no device is asked.
#include "support/die.hpp"
#include "support/raw_ring.hpp"

#include <benchmark/benchmark.h>
#include <fcntl.h>
#include <unistd.h>

#include <gyre/runtime/executor.hpp>
#include <gyre/runtime/ops/file.hpp>
#include <gyre/runtime/registered_buffer.hpp>
#include <gyre/runtime/task.hpp>
#include <gyre/runtime/unique_fd.hpp>

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace {

constexpr std::size_t bytes_max = 65536;
constexpr std::size_t page = 4096;

// What is read, and where it goes to.
struct scene {
  scene() {
    file.reset(::open("/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600));
    if (!file) bench::die("open", errno);
    if (::pwrite(file.get(), memory.data(), bytes_max, 0) != bytes_max) bench::die("pwrite", errno);
  }

  [[nodiscard]] std::span<std::byte> buffer() noexcept { return {memory.data() + skipped(), bytes_max}; }

  gyre::unique_fd file;

 private:
  // Whole pages, as for O_DIRECT.
  [[nodiscard]] std::size_t skipped() const noexcept {
    return (page - reinterpret_cast<std::uintptr_t>(memory.data()) % page) % page;
  }

  std::vector<std::byte> memory = std::vector<std::byte>(bytes_max + page);
};

int take_one(io_uring* ring) {
  io_uring_cqe* cqe = nullptr;
  if (const int rc = io_uring_peek_cqe(ring, &cqe); rc != 0) bench::die("io_uring_peek_cqe", -rc);
  const int count = cqe->res;
  io_uring_cqe_seen(ring, cqe);
  return count;
}

void finish(benchmark::State& state, bool all_read) {
  if (!all_read) state.SkipWithError("a read was cut short");
  state.SetItemsProcessed(state.iterations());
}

void plain_read_floor(benchmark::State& state) {
  scene set;
  const auto size = static_cast<unsigned>(state.range(0));
  bench::raw_ring ring;
  bool all_read = true;
  for ([[maybe_unused]] auto _ : state) {
    io_uring_prep_read(ring.next_sqe(), set.file.get(), set.buffer().data(), size, 0);
    ring.submit_and_wait(1);
    all_read &= take_one(ring.get()) == static_cast<int>(size);
  }
  finish(state, all_read);
}

void registered_read_floor(benchmark::State& state) {
  scene set;
  const auto size = static_cast<unsigned>(state.range(0));
  bench::raw_ring ring;
  const iovec memory{.iov_base = set.buffer().data(), .iov_len = bytes_max};
  if (const int rc = io_uring_register_buffers(ring.get(), &memory, 1); rc != 0)
    bench::die("io_uring_register_buffers", -rc);
  bool all_read = true;
  for ([[maybe_unused]] auto _ : state) {
    io_uring_prep_read_fixed(ring.next_sqe(), set.file.get(), set.buffer().data(), size, 0, 0);
    ring.submit_and_wait(1);
    all_read &= take_one(ring.get()) == static_cast<int>(size);
  }
  finish(state, all_read);
}

gyre::task<> read_all(benchmark::State& state, gyre::fd_ref file, gyre::buffer_ref buffer) {
  bool all_read = true;
  for ([[maybe_unused]] auto _ : state) {
    const std::size_t count = co_await gyre::ops::read(file, buffer, 0);
    all_read &= count == buffer.size();
  }
  finish(state, all_read);
}

void plain_read_gyre(benchmark::State& state) {
  scene set;
  gyre::executor loop;
  loop.run(read_all(state, set.file, set.buffer().first(static_cast<std::size_t>(state.range(0)))));
}

void registered_read_gyre(benchmark::State& state) {
  scene set;
  gyre::executor loop{{.registered_buffers = 1}};
  const gyre::registered_buffer buffer{loop, set.buffer()};
  const auto size = static_cast<std::size_t>(state.range(0));
  auto all = [&]() -> gyre::task<> { co_await read_all(state, set.file, buffer.first(size)); };
  loop.run(all());
}

// Floor and gyre in turns, so that the ratio of neighbours is free of the machine's drift.
BENCHMARK(plain_read_floor)->Arg(4096);
BENCHMARK(plain_read_gyre)->Arg(4096);
BENCHMARK(registered_read_floor)->Arg(4096);
BENCHMARK(registered_read_gyre)->Arg(4096);
BENCHMARK(plain_read_floor)->Arg(65536);
BENCHMARK(plain_read_gyre)->Arg(65536);
BENCHMARK(registered_read_floor)->Arg(65536);
BENCHMARK(registered_read_gyre)->Arg(65536);

}  // namespace

BENCHMARK_MAIN();
