// SPDX-License-Identifier: MIT
// What does a connection cost that has nothing to say, among ten thousand? Resident memory of the process beyond what
// the kernel keeps, and the processor time that it took to accept it and to begin to wait.
//
// Three servers: one that waits in a read into a buffer of 1 KiB of each connection's own; one that waits for a stream
// of buffers of one pool for all; and one that waits until there is something to read, and has no buffer before. The
// floors are the same on liburing, with a malloc() for each connection. A server is a process of its own, so that
// nothing has used its memory before it.
#include "support/die.hpp"
#include "support/raw_ring.hpp"

#include <benchmark/benchmark.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <utility>
#include <vector>

#include <gyre/net/address.hpp>
#include <gyre/net/tcp_listener.hpp>
#include <gyre/runtime/buffer_pool.hpp>
#include <gyre/runtime/executor.hpp>
#include <gyre/runtime/ops/poll.hpp>
#include <gyre/runtime/ops/pool_streams.hpp>
#include <gyre/runtime/scope.hpp>
#include <gyre/runtime/task_group.hpp>

namespace {

constexpr std::size_t own_buffer_bytes = 1024;
constexpr unsigned pool_buffers_count = 256;
constexpr std::size_t pool_buffer_bytes = 4096;

enum class waiting { in_read, for_chunks, for_readiness };

double cpu_ns() {
  timespec time{};
  ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) * 1e9 + static_cast<double>(time.tv_nsec);
}

// The kernel's exact count, where statm's lags by some pages for each processor.
double resident_bytes() {
  FILE* const file = std::fopen("/proc/self/smaps_rollup", "re");
  if (file == nullptr) bench::die("/proc/self/smaps_rollup", errno);
  std::array<char, 256> line;
  long kib = -1;
  while (kib < 0 && std::fgets(line.data(), line.size(), file) != nullptr) std::sscanf(line.data(), "Rss: %ld", &kib);
  std::fclose(file);
  if (kib < 0) bench::die("Rss in /proc/self/smaps_rollup", ENOENT);
  return static_cast<double>(kib) * 1024;
}

// What a server tells the other process: the port once it listens, and what a connection has cost when all wait.
class report {
 public:
  report(int to, unsigned count) : to_{to}, count_{count} {}

  unsigned connections_count() const noexcept { return count_; }

  void listens(const gyre::net::address& at) {
    bytes_ = resident_bytes();
    cpu_ns_ = cpu_ns();
    tell(at.port());
  }
  void all_wait() {
    cpu_ns_ = (cpu_ns() - cpu_ns_) / count_;
    bytes_ = (resident_bytes() - bytes_) / count_;
    tell(std::array{bytes_, cpu_ns_});
  }

 private:
  template <class T>
  void tell(const T& what) const {
    if (::write(to_, &what, sizeof what) != ssize_t{sizeof what}) bench::die("write", errno);
  }

  int to_;
  unsigned count_;
  double bytes_ = 0;
  double cpu_ns_ = 0;
};

// ------------------------------------------------------------------------------------------------------------ liburing
struct raw_connection {
  int fd;
  bool was_accepted;  // else it is what waits for connections
};

struct raw_connection_with_buffer : raw_connection {
  std::byte buffer[own_buffer_bytes];
};

class raw_pool {
 public:
  explicit raw_pool(io_uring* ring) {
    if (::posix_memalign(&memory_, 4096, pool_buffers_count * pool_buffer_bytes) != 0)
      bench::die("posix_memalign", ENOMEM);
    int error = 0;
    entries_ = io_uring_setup_buf_ring(ring, pool_buffers_count, 0, 0, &error);
    if (entries_ == nullptr) bench::die("io_uring_setup_buf_ring", -error);
    for (unsigned id = 0; id < pool_buffers_count; ++id)
      io_uring_buf_ring_add(entries_, static_cast<std::byte*>(memory_) + id * pool_buffer_bytes, pool_buffer_bytes,
                            static_cast<unsigned short>(id), io_uring_buf_ring_mask(pool_buffers_count),
                            static_cast<int>(id));
    io_uring_buf_ring_advance(entries_, pool_buffers_count);
  }

 private:
  void* memory_ = nullptr;
  io_uring_buf_ring* entries_ = nullptr;
};

template <class Connection>
Connection* made_for(int fd) {
  auto* const made = static_cast<Connection*>(std::malloc(sizeof(Connection)));
  if (made == nullptr) bench::die("malloc", ENOMEM);
  made->fd = fd;
  made->was_accepted = true;
  return made;
}

void raw_wait(bench::raw_ring& ring, int fd, waiting what) {
  io_uring_sqe* const sqe = ring.next_sqe();
  if (what == waiting::in_read) {
    auto* const made = made_for<raw_connection_with_buffer>(fd);
    io_uring_prep_recv(sqe, fd, made->buffer, sizeof made->buffer, 0);
    io_uring_sqe_set_data(sqe, static_cast<raw_connection*>(made));
    return;
  }
  if (what == waiting::for_readiness) io_uring_prep_poll_add(sqe, fd, POLLIN);
  if (what == waiting::for_chunks) {
    io_uring_prep_recv_multishot(sqe, fd, nullptr, 0, 0);
    sqe->flags |= IOSQE_BUFFER_SELECT;
    sqe->buf_group = 0;
  }
  io_uring_sqe_set_data(sqe, made_for<raw_connection>(fd));
}

void serve_raw(gyre::net::tcp_listener listener, waiting what, report& told) {
  bench::raw_ring ring;
  const raw_pool pool{ring.get()};
  raw_connection accepting{.fd = listener.fd().get(), .was_accepted = false};
  io_uring_sqe* const sqe = ring.next_sqe();
  io_uring_prep_multishot_accept(sqe, accepting.fd, nullptr, nullptr, SOCK_CLOEXEC);
  io_uring_sqe_set_data(sqe, &accepting);
  io_uring_submit(ring.get());
  told.listens(listener.local_address());
  for (unsigned accepted_count = 0; accepted_count < told.connections_count();) {
    ring.submit_and_wait(1);
    io_uring_cqe* completion = nullptr;
    unsigned head = 0;
    unsigned count = 0;
    io_uring_for_each_cqe(ring.get(), head, completion) {
      ++count;
      if (static_cast<raw_connection*>(io_uring_cqe_get_data(completion))->was_accepted)
        bench::die("a client that says nothing", EPROTO);
      if (completion->res < 0) bench::die("accept", -completion->res);
      raw_wait(ring, completion->res, what);
      ++accepted_count;
    }
    io_uring_cq_advance(ring.get(), count);
  }
  io_uring_submit(ring.get());
  told.all_wait();
}

// ---------------------------------------------------------------------------------------------------------------- gyre
gyre::task<> wait_in_read(gyre::net::tcp_stream client) {
  std::array<std::byte, own_buffer_bytes> buffer;
  while (co_await client.read(buffer) > 0) {
  }
}

gyre::task<> wait_for_chunks(gyre::net::tcp_stream client, const gyre::buffer_pool& pool) {
  gyre::ops::recv_stream chunks{client.fd(), pool};
  while (co_await chunks.next()) {
  }
}

gyre::task<> wait_for_readiness(gyre::net::tcp_stream client) {
  static_cast<void>(co_await gyre::ops::poll(client.fd(), POLLIN));
}

gyre::task<> serve(gyre::net::tcp_listener& listener, waiting what, const gyre::buffer_pool& pool,
                   unsigned& accepted_count) {
  co_await gyre::with_task_group([&](gyre::task_group& clients) -> gyre::task<> {
    auto incoming = listener.incoming();
    while (auto client = co_await incoming.next()) {
      if (what == waiting::in_read) clients.start(wait_in_read(std::move(*client)));
      if (what == waiting::for_chunks) clients.start(wait_for_chunks(std::move(*client), pool));
      if (what == waiting::for_readiness) clients.start(wait_for_readiness(std::move(*client)));
      ++accepted_count;
    }
  });
}

void serve_gyre(gyre::net::tcp_listener listener, waiting what, report& told) {
  gyre::executor loop;
  const gyre::buffer_pool pool{loop, {.buffers_count = pool_buffers_count, .buffer_bytes = pool_buffer_bytes}};
  unsigned accepted_count = 0;
  auto serving = loop.start(serve(listener, what, pool, accepted_count));
  loop.run_ready();
  told.listens(listener.local_address());
  while (accepted_count < told.connections_count()) loop.turn(/*may_park=*/true);
  loop.run_ready();
  told.all_wait();
  std::_Exit(EXIT_SUCCESS);  // with all of them waiting
}

// ------------------------------------------------------------------------------------------------------ both processes
using serve_fn = void (*)(gyre::net::tcp_listener, waiting, report&);

// A server in a process of its own.
class server_process {
 public:
  server_process(serve_fn serve, waiting what, unsigned count) {
    std::array<int, 2> pipe;
    if (::pipe(pipe.data()) != 0) bench::die("pipe", errno);
    pid_ = ::fork();
    if (pid_ < 0) bench::die("fork", errno);
    if (pid_ == 0) {
      report told{pipe[1], count};
      serve(gyre::net::tcp_listener::bind({.at = gyre::net::address::loopback(0)}), what, told);
      std::_Exit(EXIT_SUCCESS);
    }
    ::close(pipe[1]);
    told_ = pipe[0];
  }
  server_process(const server_process&) = delete;
  server_process& operator=(const server_process&) = delete;
  ~server_process() {
    ::close(told_);
    ::waitpid(pid_, nullptr, 0);
  }

  template <class T>
  T is_told() const {
    T what;
    if (::read(told_, &what, sizeof what) != ssize_t{sizeof what}) bench::die("the server ended early", EPIPE);
    return what;
  }

 private:
  pid_t pid_;
  int told_;
};

// Connections that say nothing, and leave no port behind that rests for a minute.
class silent_clients {
 public:
  silent_clients(std::uint16_t port, unsigned count) {
    const auto server = gyre::net::address::loopback(port);
    for (unsigned i = 0; i < count; ++i) {
      const int client = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, IPPROTO_TCP);
      if (client < 0) bench::die("socket", errno);
      constexpr ::linger at_once{.l_onoff = 1, .l_linger = 0};
      ::setsockopt(client, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
      if (::connect(client, server.data(), server.size()) != 0) bench::die("connect", errno);
      all_.push_back(client);
    }
  }
  silent_clients(const silent_clients&) = delete;
  silent_clients& operator=(const silent_clients&) = delete;
  ~silent_clients() {
    for (const int each : all_) ::close(each);
  }

 private:
  std::vector<int> all_;
};

void allow_descriptors(unsigned count) {
  ::rlimit limit{};
  ::getrlimit(RLIMIT_NOFILE, &limit);
  limit.rlim_cur = limit.rlim_max;
  ::setrlimit(RLIMIT_NOFILE, &limit);
  if (limit.rlim_cur < count) bench::die("RLIMIT_NOFILE is too low", EMFILE);
}

void measure(benchmark::State& state, serve_fn serve, waiting what) {
  const auto count = static_cast<unsigned>(state.range(0));
  allow_descriptors(count + 100);
  for ([[maybe_unused]] auto _ : state) {
    const server_process running{serve, what, count};
    const silent_clients clients{running.is_told<std::uint16_t>(), count};
    const auto [bytes, ns] = running.is_told<std::array<double, 2>>();
    state.SetIterationTime(ns * count / 1e9);
    state.counters["bytes_each"] = bytes;
  }
  state.SetItemsProcessed(state.iterations() * state.range(0));
}

void idle_in_read_floor(benchmark::State& state) { measure(state, serve_raw, waiting::in_read); }
void idle_in_read_gyre(benchmark::State& state) { measure(state, serve_gyre, waiting::in_read); }
void idle_for_chunks_floor(benchmark::State& state) { measure(state, serve_raw, waiting::for_chunks); }
void idle_for_chunks_gyre(benchmark::State& state) { measure(state, serve_gyre, waiting::for_chunks); }
void idle_for_readiness_floor(benchmark::State& state) { measure(state, serve_raw, waiting::for_readiness); }
void idle_for_readiness_gyre(benchmark::State& state) { measure(state, serve_gyre, waiting::for_readiness); }

BENCHMARK(idle_in_read_floor)->Arg(10'000)->UseManualTime()->Iterations(1);
BENCHMARK(idle_in_read_gyre)->Arg(10'000)->UseManualTime()->Iterations(1);
BENCHMARK(idle_for_chunks_floor)->Arg(10'000)->UseManualTime()->Iterations(1);
BENCHMARK(idle_for_chunks_gyre)->Arg(10'000)->UseManualTime()->Iterations(1);
BENCHMARK(idle_for_readiness_floor)->Arg(10'000)->UseManualTime()->Iterations(1);
BENCHMARK(idle_for_readiness_gyre)->Arg(10'000)->UseManualTime()->Iterations(1);

}  // namespace

BENCHMARK_MAIN();
