// SPDX-License-Identifier: MIT
// From what size on does a send without a copy pay, and what does co_await add to it?
//
// On loopback the kernel copies after all, so that what shows is what the second completion and the bookkeeping of
// pages cost, and not what a device would save. Datagrams: over TCP a send is over when the peer has acknowledged it,
// which a lone small one waits 40 ms for, and that is no matter of either side here. One thread sends and receives.
#include "support/die.hpp"
#include "support/raw_ring.hpp"

#include <benchmark/benchmark.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <gyre/runtime/executor.hpp>
#include <gyre/runtime/ops/socket.hpp>
#include <gyre/runtime/ops/zero_copy.hpp>
#include <gyre/runtime/task.hpp>

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace {

int checked(int answer, const char* step) {
  if (answer < 0) bench::die(step, errno);
  return answer;
}

// Two sockets that are connected to each other.
class connection {
 public:
  connection() {
    const sockaddr_in here_address = bind_to_any(here);
    const sockaddr_in there_address = bind_to_any(there);
    checked(::connect(here, reinterpret_cast<const sockaddr*>(&there_address), sizeof there_address), "connect");
    checked(::connect(there, reinterpret_cast<const sockaddr*>(&here_address), sizeof here_address), "connect");
  }
  connection(const connection&) = delete;
  connection& operator=(const connection&) = delete;
  ~connection() { ::close(here), ::close(there); }

  // What was sent is received: by a system call, the same for all sides.
  void drain(std::size_t bytes) {
    room_.resize(bytes);
    if (::recv(there, room_.data(), bytes, 0) != static_cast<ssize_t>(bytes)) bench::die("recv", errno);
  }

  const int here = checked(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), "socket");
  const int there = checked(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), "socket");

 private:
  static sockaddr_in bind_to_any(int socket) {
    sockaddr_in own{};
    own.sin_family = AF_INET;
    own.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof own;
    checked(::bind(socket, reinterpret_cast<sockaddr*>(&own), size), "bind");
    checked(::getsockname(socket, reinterpret_cast<sockaddr*>(&own), &size), "getsockname");
    return own;
  }

  std::vector<std::byte> room_;
};

void expect(std::int64_t sent, std::int64_t bytes) {
  if (sent != bytes) bench::die("a send took a part only", sent < 0 ? static_cast<int>(-sent) : EIO);
}

enum class copies { yes, no };

template <copies Copies>
void raw_send(benchmark::State& state) {
  connection udp;
  const std::vector<std::byte> bytes(static_cast<std::size_t>(state.range(0)));
  bench::raw_ring ring;
  constexpr unsigned completions_count = Copies == copies::yes ? 1 : 2;
  for ([[maybe_unused]] auto _ : state) {
    io_uring_sqe* const sqe = ring.next_sqe();
    if (Copies == copies::yes) io_uring_prep_send(sqe, udp.here, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    else io_uring_prep_send_zc(sqe, udp.here, bytes.data(), bytes.size(), MSG_NOSIGNAL, IORING_SEND_ZC_REPORT_USAGE);
    for (unsigned seen = 0; seen < completions_count; ++seen) {
      io_uring_cqe* cqe = nullptr;
      ring.submit_and_wait(1);
      if (const int rc = io_uring_wait_cqe(ring.get(), &cqe); rc < 0) bench::die("io_uring_wait_cqe", -rc);
      if ((cqe->flags & IORING_CQE_F_NOTIF) == 0) expect(cqe->res, state.range(0));
      io_uring_cqe_seen(ring.get(), cqe);
    }
    udp.drain(bytes.size());
  }
  state.SetItemsProcessed(state.iterations());
}

void send_floor(benchmark::State& state) { raw_send<copies::yes>(state); }
void send_zc_floor(benchmark::State& state) { raw_send<copies::no>(state); }

void send_gyre(benchmark::State& state) {
  connection udp;
  const std::vector<std::byte> bytes(static_cast<std::size_t>(state.range(0)));
  gyre::executor loop;
  loop.run([&]() -> gyre::task<> {
    for ([[maybe_unused]] auto _ : state) {
      expect(static_cast<std::int64_t>(co_await gyre::ops::send(udp.here, bytes)), state.range(0));
      udp.drain(bytes.size());
    }
  });
  state.SetItemsProcessed(state.iterations());
}

void send_zc_gyre(benchmark::State& state) {
  connection udp;
  const std::vector<std::byte> bytes(static_cast<std::size_t>(state.range(0)));
  gyre::executor loop;
  loop.run([&]() -> gyre::task<> {
    for ([[maybe_unused]] auto _ : state) {
      const auto sent = co_await gyre::ops::send_zc(udp.here, bytes);
      expect(static_cast<std::int64_t>(sent.bytes), state.range(0));
      udp.drain(bytes.size());
    }
  });
  state.SetItemsProcessed(state.iterations());
}

constexpr std::int64_t sizes[] = {1 << 10, 1 << 12, 1 << 14, 60 << 10};

void register_all() {
  for (const std::int64_t bytes : sizes) {
    benchmark::RegisterBenchmark("send_floor", &send_floor)->Arg(bytes);
    benchmark::RegisterBenchmark("send_gyre", &send_gyre)->Arg(bytes);
    benchmark::RegisterBenchmark("send_zc_floor", &send_zc_floor)->Arg(bytes);
    benchmark::RegisterBenchmark("send_zc_gyre", &send_zc_gyre)->Arg(bytes);
  }
}

}  // namespace

int main(int argc, char** argv) {
  register_all();
  benchmark::Initialize(&argc, argv);
  benchmark::RunSpecifiedBenchmarks();
}
