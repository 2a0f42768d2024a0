// SPDX-License-Identifier: MIT
// What does relay() add to epoll and splice, and what would it cost to copy instead?
//
// An iteration sends a message into one connection on loopback, has it relayed, and receives it from the other: all on
// one thread, by the same system calls on every side but for the relay's own. The floor is a relay of one direction,
// written by hand: a level-triggered epoll set, one pipe, two splices. The copies are gyre's relay of streams that are
// no sockets to it, so that it reads and writes.
#include "support/die.hpp"

#include <benchmark/benchmark.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <gyre/net/relay.hpp>
#include <gyre/net/tcp_stream.hpp>
#include <gyre/runtime/executor.hpp>
#include <gyre/runtime/root_task.hpp>
#include <gyre/runtime/unique_fd.hpp>

#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

namespace {

using gyre::unique_fd;
using gyre::net::tcp_stream;

int checked(int answer, const char* step) {
  if (answer < 0) bench::die(step, errno);
  return answer;
}

// Both ends of a connection, with room for every message.
struct connection {
  connection() {
    const unique_fd listener{checked(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), "socket")};
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    auto* const generic = reinterpret_cast<sockaddr*>(&address);
    checked(::bind(listener.get(), generic, size), "bind");
    checked(::getsockname(listener.get(), generic, &size), "getsockname");
    make_roomy(listener);
    checked(::listen(listener.get(), 1), "listen");
    here.reset(checked(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), "socket"));
    make_roomy(here);
    checked(::connect(here.get(), generic, size), "connect");
    there.reset(checked(::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC), "accept"));
  }

  static void make_roomy(const unique_fd& socket) {
    constexpr int bytes = 1 << 20;
    for (const int option : {SO_SNDBUF, SO_RCVBUF})
      checked(::setsockopt(socket.get(), SOL_SOCKET, option, &bytes, sizeof bytes), "setsockopt");
  }

  unique_fd here;
  unique_fd there;
};

// What stands around a relay: a client, a server, and the message that goes from one to the other.
struct surroundings {
  explicit surroundings(const benchmark::State& state) : message(static_cast<std::size_t>(state.range(0))) {}

  void send() const {
    if (::send(front.here.get(), message.data(), message.size(), 0) != static_cast<ssize_t>(message.size()))
      bench::die("send", errno);
  }
  // What the ring has to finish on this thread ends a recv early, MSG_WAITALL or not.
  void receive() {
    for (std::size_t came_count = 0; came_count < message.size();) {
      const ssize_t came = ::recv(back.there.get(), message.data(), message.size() - came_count, MSG_WAITALL);
      if (came > 0) came_count += static_cast<std::size_t>(came);
      else if (came == 0 || errno != EINTR) bench::die("recv", errno);
    }
  }

  std::vector<std::byte> message;
  connection front;
  connection back;
};

void finish(benchmark::State& state) {
  state.SetItemsProcessed(state.iterations());
  state.SetBytesProcessed(state.iterations() * state.range(0));
}

// One direction, on epoll and splice.
class relay_by_hand {
 public:
  relay_by_hand(int from, int to) : from_{from}, to_{to} {
    std::array<int, 2> ends{};
    checked(::pipe2(ends.data(), O_CLOEXEC | O_NONBLOCK), "pipe2");
    out_.reset(ends[0]);
    in_.reset(ends[1]);
    checked(::fcntl(in_.get(), F_SETPIPE_SZ, pipe_bytes), "F_SETPIPE_SZ");
    for (const int each : {from, to}) checked(::fcntl(each, F_SETFL, O_NONBLOCK), "F_SETFL");
    epoll_event readable{.events = EPOLLIN, .data = {}};
    checked(::epoll_ctl(set_.get(), EPOLL_CTL_ADD, from, &readable), "epoll_ctl");
  }

  // Waits for bytes, and moves those that are there. Returns how many.
  std::size_t turn() {
    epoll_event happened{};
    checked(::epoll_wait(set_.get(), &happened, 1, -1), "epoll_wait");
    const ssize_t came = ::splice(from_, nullptr, in_.get(), nullptr, pipe_bytes, SPLICE_F_NONBLOCK | SPLICE_F_MOVE);
    if (came <= 0) bench::die("splice", errno);
    for (ssize_t left = came; left > 0;) {
      const ssize_t gone = ::splice(out_.get(), nullptr, to_, nullptr, static_cast<std::size_t>(left),
                                    SPLICE_F_NONBLOCK | SPLICE_F_MOVE);
      if (gone <= 0) bench::die("splice", errno);
      left -= gone;
    }
    return static_cast<std::size_t>(came);
  }

 private:
  static constexpr int pipe_bytes = 1 << 18;
  int from_;
  int to_;
  unique_fd set_{checked(::epoll_create1(EPOLL_CLOEXEC), "epoll_create1")};
  unique_fd in_;
  unique_fd out_;
};

void relay_floor(benchmark::State& state) {
  surroundings around{state};
  relay_by_hand relay{around.front.there.get(), around.back.here.get()};
  for ([[maybe_unused]] auto _ : state) {
    around.send();
    for (std::size_t moved = 0; moved < around.message.size();) moved += relay.turn();
    around.receive();
  }
  finish(state);
}

// A connection that relay() does not take for one.
struct copied {
  auto read(std::span<std::byte> buffer) { return stream.read(buffer); }
  auto write(std::span<const std::byte> bytes) { return stream.write(bytes); }
  void shutdown_write() { stream.shutdown_write(); }
  tcp_stream stream;
};

template <class Stream>
void relay_with(benchmark::State& state) {
  surroundings around{state};
  gyre::executor loop;
  Stream first{tcp_stream{std::move(around.front.there)}};
  Stream second{tcp_stream{std::move(around.back.here)}};
  gyre::net::relay_counts counts;
  auto running = loop.start(gyre::net::relay(first, second, {.counts = &counts}));
  std::uint64_t sent_bytes = 0;
  for ([[maybe_unused]] auto _ : state) {
    around.send();
    sent_bytes += around.message.size();
    // The bytes are there: a turn that moved them and then parked would wait for the next ones.
    while (counts.forth.written_bytes < sent_bytes) loop.turn(/*may_park=*/false);
    around.receive();
  }
  running.cancel();
  while (!running.done()) loop.turn(/*may_park=*/true);
  finish(state);
}

void relay_gyre(benchmark::State& state) { relay_with<tcp_stream>(state); }
void relay_copied_gyre(benchmark::State& state) { relay_with<copied>(state); }

// No larger than what every socket on the way takes at once: there is one thread.
constexpr std::int64_t sizes[] = {64, 4 << 10, 64 << 10};

// Registered in pairs, as run.py wants them: the copies have the same floor.
void register_all() {
  for (const std::int64_t bytes : sizes) {
    benchmark::RegisterBenchmark("relay_floor", &relay_floor)->Arg(bytes);
    benchmark::RegisterBenchmark("relay_gyre", &relay_gyre)->Arg(bytes);
    benchmark::RegisterBenchmark("relay_copied_floor", &relay_floor)->Arg(bytes);
    benchmark::RegisterBenchmark("relay_copied_gyre", &relay_copied_gyre)->Arg(bytes);
  }
}

}  // namespace

int main(int argc, char** argv) {
  register_all();
  benchmark::Initialize(&argc, argv);
  benchmark::RunSpecifiedBenchmarks();
}
