// SPDX-License-Identifier: MIT
// What does a chain cost above the ring itself, and what does it save?
//
// Three no-ops that follow each other, and a write to a file with its fdatasync: by ops::link(), beside the same links
// on raw liburing, and beside the same operations awaited one by one.
#include "support/raw_ring.hpp"

#include <benchmark/benchmark.h>
#include <fcntl.h>

#include <gyre/runtime/executor.hpp>
#include <gyre/runtime/ops/file.hpp>
#include <gyre/runtime/ops/link.hpp>
#include <gyre/runtime/ops/misc.hpp>
#include <gyre/runtime/task.hpp>
#include <gyre/runtime/unique_fd.hpp>

#include <array>
#include <cerrno>
#include <cstddef>
#include <utility>

namespace {

// Submits what is prepared, and reaps `count`.
void run_raw(bench::raw_ring& ring, unsigned count) {
  ring.submit_and_wait(count);
  io_uring_cqe* cqe = nullptr;
  unsigned head = 0;
  io_uring_for_each_cqe(ring.get(), head, cqe) benchmark::DoNotOptimize(cqe->res);
  io_uring_cq_advance(ring.get(), count);
}

// A file without a name.
struct scratch_file {
  scratch_file() : fd{::open("/var/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600)} {
    if (!fd) bench::die("a file in /var/tmp", errno);
  }
  gyre::unique_fd fd;
  std::array<std::byte, 512> bytes{};
};

gyre::task<> link_nops(benchmark::State& state) {
  for ([[maybe_unused]] auto _ : state) {
    auto chain = gyre::ops::link(gyre::ops::nop(), gyre::ops::nop(), gyre::ops::nop());
    benchmark::DoNotOptimize(co_await std::move(chain));
  }
}

gyre::task<> await_nops(benchmark::State& state) {
  for ([[maybe_unused]] auto _ : state) {
    co_await gyre::ops::nop();
    co_await gyre::ops::nop();
    co_await gyre::ops::nop();
  }
}

gyre::task<> link_write_and_sync(benchmark::State& state, const scratch_file& file) {
  for ([[maybe_unused]] auto _ : state) {
    auto chain = gyre::ops::link(gyre::ops::write(file.fd, file.bytes, 0),
                                 gyre::ops::fsync(file.fd, gyre::ops::sync_what::data));
    benchmark::DoNotOptimize(co_await std::move(chain));
  }
}

gyre::task<> await_write_and_sync(benchmark::State& state, const scratch_file& file) {
  for ([[maybe_unused]] auto _ : state) {
    co_await gyre::ops::write(file.fd, file.bytes, 0);
    co_await gyre::ops::fsync(file.fd, gyre::ops::sync_what::data);
  }
}

void on_an_executor(benchmark::State& state, gyre::task<> (*rounds)(benchmark::State&)) {
  gyre::executor loop;
  loop.run(rounds(state));
  state.SetItemsProcessed(state.iterations());
}

void on_an_executor(benchmark::State& state, gyre::task<> (*rounds)(benchmark::State&, const scratch_file&)) {
  const scratch_file file;
  gyre::executor loop;
  loop.run(rounds(state, file));
  state.SetItemsProcessed(state.iterations());
}

void link_of_nops_floor(benchmark::State& state) {
  bench::raw_ring ring;
  for ([[maybe_unused]] auto _ : state) {
    for (unsigned index = 0; index < 3; ++index) {
      io_uring_sqe* const sqe = ring.next_sqe();
      io_uring_prep_nop(sqe);
      if (index < 2) sqe->flags |= IOSQE_IO_LINK;
    }
    run_raw(ring, 3);
  }
  state.SetItemsProcessed(state.iterations());
}
void link_of_nops_gyre(benchmark::State& state) { on_an_executor(state, &link_nops); }

void link_against_awaits_floor(benchmark::State& state) { on_an_executor(state, &await_nops); }
void link_against_awaits_gyre(benchmark::State& state) { on_an_executor(state, &link_nops); }

void link_of_write_and_sync_floor(benchmark::State& state) {
  const scratch_file file;
  bench::raw_ring ring;
  for ([[maybe_unused]] auto _ : state) {
    io_uring_sqe* const writing = ring.next_sqe();
    io_uring_prep_write(writing, file.fd.get(), file.bytes.data(), file.bytes.size(), 0);
    writing->flags |= IOSQE_IO_LINK;
    io_uring_prep_fsync(ring.next_sqe(), file.fd.get(), IORING_FSYNC_DATASYNC);
    run_raw(ring, 2);
  }
  state.SetItemsProcessed(state.iterations());
}
void link_of_write_and_sync_gyre(benchmark::State& state) { on_an_executor(state, &link_write_and_sync); }

void sync_against_awaits_floor(benchmark::State& state) { on_an_executor(state, &await_write_and_sync); }
void sync_against_awaits_gyre(benchmark::State& state) { on_an_executor(state, &link_write_and_sync); }

// Floor and gyre in turns, so that the ratio of neighbours is free of the machine's drift.
BENCHMARK(link_of_nops_floor);
BENCHMARK(link_of_nops_gyre);
BENCHMARK(link_against_awaits_floor);
BENCHMARK(link_against_awaits_gyre);
BENCHMARK(link_of_write_and_sync_floor)->UseRealTime();
BENCHMARK(link_of_write_and_sync_gyre)->UseRealTime();
BENCHMARK(sync_against_awaits_floor)->UseRealTime();
BENCHMARK(sync_against_awaits_gyre)->UseRealTime();

}  // namespace

BENCHMARK_MAIN();
