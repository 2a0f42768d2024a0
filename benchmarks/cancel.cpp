// SPDX-License-Identifier: MIT
// What does it cost to cancel many operations that wait in the kernel, from the cancel to the end of the last task?
//
// The floor arms as many by hand and cancels each by its user_data, newest first, with the task work run in between.
// The cost of arming is not in either.
#include "support/die.hpp"
#include "support/raw_ring.hpp"

#include <benchmark/benchmark.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <vector>

#include <gyre/runtime/executor.hpp>
#include <gyre/runtime/ops/socket.hpp>
#include <gyre/runtime/task_group.hpp>

namespace {

using clock_type = std::chrono::steady_clock;

// So few that any limit of descriptors will do: many may wait on one.
constexpr unsigned pairs_count = 200;

class socket_pairs {
 public:
  socket_pairs() : ends_(pairs_count) {
    for (auto& each : ends_)
      if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, each.data()) != 0) bench::die("socketpair", errno);
  }
  socket_pairs(const socket_pairs&) = delete;
  socket_pairs& operator=(const socket_pairs&) = delete;
  ~socket_pairs() {
    for (const auto& each : ends_) ::close(each[0]), ::close(each[1]);
  }
  int end(unsigned index) const noexcept { return ends_[index % pairs_count][0]; }

 private:
  std::vector<std::array<int, 2>> ends_;
};

void reap(bench::raw_ring& ring, unsigned& left) {
  io_uring_cqe* completion = nullptr;
  unsigned head = 0;
  unsigned count = 0;
  io_uring_for_each_cqe(ring.get(), head, completion) {
    ++count;
    if (completion->user_data != 0) --left;
  }
  io_uring_cq_advance(ring.get(), count);
}

void cancel_floor(benchmark::State& state) {
  const auto count = static_cast<unsigned>(state.range(0));
  const socket_pairs sockets;
  std::byte byte{};
  bench::raw_ring ring;
  for ([[maybe_unused]] auto _ : state) {
    for (unsigned i = 0; i < count; ++i) {
      io_uring_sqe* const armed = ring.next_sqe();
      io_uring_prep_recv(armed, sockets.end(i), &byte, 1, 0);
      io_uring_sqe_set_data64(armed, (i + 1) * 64);
    }
    io_uring_submit_and_get_events(ring.get());

    const auto begin = clock_type::now();
    unsigned left = count;
    for (unsigned i = count; i > 0;) {
      for (unsigned batch = 512; batch > 0 && i > 0; --batch, --i) {
        io_uring_sqe* const cancel = ring.next_sqe();
        io_uring_prep_cancel64(cancel, i * 64, 0);
        cancel->flags |= IOSQE_CQE_SKIP_SUCCESS;
        io_uring_sqe_set_data64(cancel, 0);
      }
      do {
        io_uring_submit_and_get_events(ring.get());
        reap(ring, left);
      } while ((IO_URING_READ_ONCE(*ring.get()->sq.kflags) & IORING_SQ_TASKRUN) != 0);
    }
    while (left > 0) {
      ring.submit_and_wait(1);
      reap(ring, left);
    }
    state.SetIterationTime(std::chrono::duration<double>(clock_type::now() - begin).count());
  }
  state.SetItemsProcessed(state.iterations() * state.range(0));
}

gyre::task<> receive(int fd) {
  std::array<std::byte, 1> buffer;
  co_await gyre::ops::recv(fd, buffer);
}

gyre::task<> receive_from_all(const socket_pairs& sockets, unsigned count) {
  const auto start_all = [&](gyre::task_group& group) -> gyre::task<> {
    for (unsigned i = 0; i < count; ++i) group.start(receive(sockets.end(i)));
    co_return;
  };
  co_await gyre::with_task_group(start_all);
}

// A task each, which ends: its frame is taken down, and its group waits for it.
void cancel_gyre(benchmark::State& state) {
  const auto count = static_cast<unsigned>(state.range(0));
  const socket_pairs sockets;
  gyre::executor loop;
  for ([[maybe_unused]] auto _ : state) {
    auto root = loop.start(receive_from_all(sockets, count));
    while (loop.in_kernel_count() < count) loop.turn(/*may_park=*/false);

    const auto begin = clock_type::now();
    root.cancel();
    while (!root.done()) loop.turn(/*may_park=*/true);
    state.SetIterationTime(std::chrono::duration<double>(clock_type::now() - begin).count());
  }
  state.SetItemsProcessed(state.iterations() * state.range(0));
}

BENCHMARK(cancel_floor)->Arg(100)->UseManualTime();
BENCHMARK(cancel_gyre)->Arg(100)->UseManualTime();
BENCHMARK(cancel_floor)->Arg(10'000)->UseManualTime();
BENCHMARK(cancel_gyre)->Arg(10'000)->UseManualTime();
BENCHMARK(cancel_floor)->Arg(100'000)->UseManualTime();
BENCHMARK(cancel_gyre)->Arg(100'000)->UseManualTime();

}  // namespace

BENCHMARK_MAIN();
