// SPDX-License-Identifier: MIT
// What does a deadline on one operation cost that is not reached: on a recv that finds its byte there, and on one that
// waits for it? Kept by the executor's timers (30 s), and by a linked timeout of the kernel (500 ms).
//
// The floors are the same recv on liburing: without a deadline, and with a linked timeout by hand. The byte is sent by
// send(2), before or after the recv is armed; so what differs between two lines is the deadline.
#include "support/die.hpp"
#include "support/raw_ring.hpp"

#include <benchmark/benchmark.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <string>

#include <gyre/runtime/deadline.hpp>
#include <gyre/runtime/executor.hpp>
#include <gyre/runtime/ops/socket.hpp>
#include <gyre/runtime/task.hpp>
#include <gyre/runtime/timer.hpp>

namespace {

using namespace std::chrono_literals;

enum class byte_comes { before, after };  // the recv is armed

struct socket_pair {
  socket_pair() {
    if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()) != 0) bench::die("socketpair", errno);
  }
  socket_pair(const socket_pair&) = delete;
  socket_pair& operator=(const socket_pair&) = delete;
  ~socket_pair() { ::close(ends[0]), ::close(ends[1]); }
  void send_byte() const {
    if (::send(ends[1], "", 1, 0) != 1) bench::die("send", errno);
  }
  std::array<int, 2> ends{};
};

template <byte_comes When, bool Linked>
void raw_recv(benchmark::State& state) {
  const socket_pair pair;
  std::byte byte{};
  bench::raw_ring ring;
  __kernel_timespec limit{0, 500'000'000};
  for ([[maybe_unused]] auto _ : state) {
    if (When == byte_comes::before) pair.send_byte();
    io_uring_sqe* const receive = ring.next_sqe();
    io_uring_prep_recv(receive, pair.ends[0], &byte, 1, 0);
    if (Linked) {
      receive->flags |= IOSQE_IO_LINK;
      io_uring_sqe* const timeout = ring.next_sqe();
      io_uring_prep_link_timeout(timeout, &limit, 0);
      timeout->flags |= IOSQE_CQE_SKIP_SUCCESS;
    }
    if (When == byte_comes::after) {
      io_uring_submit(ring.get());
      pair.send_byte();
    }
    ring.submit_and_wait(1);
    io_uring_cq_advance(ring.get(), io_uring_cq_ready(ring.get()));
  }
  state.SetItemsProcessed(state.iterations());
}

enum class deadline { none, by_timers, linked };

template <byte_comes When, deadline How>
gyre::task<> receive(const socket_pair& pair) {
  std::array<std::byte, 1> buffer;
  for (;;) {
    if (When == byte_comes::before) pair.send_byte();
    if constexpr (How == deadline::none) co_await gyre::ops::recv(pair.ends[0], buffer);
    else co_await gyre::with_timeout(How == deadline::linked ? 500ms : 30s, gyre::ops::recv(pair.ends[0], buffer));
  }
}

gyre::task<> wait_long() { co_await gyre::sleep_for(1h); }

// A second task sleeps, as in a program with more than one connection: there is always a timer.
template <byte_comes When, deadline How>
void gyre_recv(benchmark::State& state) {
  const socket_pair pair;
  gyre::executor loop;
  auto waiting = loop.start(wait_long());
  auto receiving = loop.start(receive<When, How>(pair));
  loop.turn(/*may_park=*/false);
  for ([[maybe_unused]] auto _ : state) {
    if (When == byte_comes::after) pair.send_byte();
    const auto before = loop.statistics().cqes;
    while (loop.statistics().cqes == before) loop.turn(/*may_park=*/false);
  }
  receiving.cancel();
  waiting.cancel();
  while (!receiving.done() || !waiting.done()) loop.turn(/*may_park=*/true);
  state.SetItemsProcessed(state.iterations());
}

// Floor and gyre in turns: the second of a pair is asked about, the first is what it stands beside.
template <byte_comes When>
void register_all(const std::string& name) {
  const auto pair = [&](const char* what, auto* floor, auto* gyre) {
    benchmark::RegisterBenchmark((name + what + "_floor").c_str(), floor);
    benchmark::RegisterBenchmark((name + what + "_gyre").c_str(), gyre);
  };
  pair("", &raw_recv<When, false>, &gyre_recv<When, deadline::none>);
  pair("_by_timers", &raw_recv<When, true>, &gyre_recv<When, deadline::by_timers>);
  pair("_linked", &raw_recv<When, true>, &gyre_recv<When, deadline::linked>);
}

}  // namespace

int main(int argc, char** argv) {
  register_all<byte_comes::before>("recv_ready");
  register_all<byte_comes::after>("recv_waiting");
  benchmark::Initialize(&argc, argv);
  benchmark::RunSpecifiedBenchmarks();
}
