// SPDX-License-Identifier: MIT
// What does a message cost that is received into a buffer of a pool, with a lease for it? One by one, and many at a
// time; into buffers of their own size, into bundles of them, and bit by bit into large ones; and by single receives.
//
// The floors are the same requests on liburing, with the same buffers, each given back when it was looked at. Messages
// are sent by send(2) over a socketpair, the cheapest way there is, before the other side is asked: so what differs
// between two lines is gyre's part. The lines of TCP say what that is of a message that comes over loopback. A byte of
// each message is added up on both sides.
#include "support/die.hpp"
#include "support/raw_ring.hpp"

#include <benchmark/benchmark.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <optional>
#include <type_traits>

#include <gyre/runtime/buffer_pool.hpp>
#include <gyre/runtime/executor.hpp>
#include <gyre/runtime/ops/leased.hpp>
#include <gyre/runtime/ops/pool_streams.hpp>
#include <gyre/runtime/task.hpp>

namespace {

constexpr std::size_t message_bytes = 64;
constexpr unsigned buffers_count = 64;

enum class how { single, multishot, bundle, incremental };

constexpr std::size_t buffer_bytes_of(how way) { return way == how::incremental ? 4096 : message_bytes; }

enum class over { unix_sockets, tcp };

struct socket_pair {
  explicit socket_pair(over what) {
    if (what == over::tcp) connect_over_tcp();
    else if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()) != 0) bench::die("socketpair", errno);
  }
  socket_pair(const socket_pair&) = delete;
  socket_pair& operator=(const socket_pair&) = delete;
  ~socket_pair() { ::close(ends[0]), ::close(ends[1]); }

  void send(std::int64_t count) const {
    constexpr std::array<std::byte, message_bytes> message{std::byte{1}};
    for (; count > 0; --count)
      if (::send(ends[1], message.data(), message.size(), 0) != ssize_t{message_bytes}) bench::die("send", errno);
  }
  std::array<int, 2> ends{};

 private:
  void connect_over_tcp() {
    const int listener = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in at{};
    at.sin_family = AF_INET;
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof at;
    auto* const address = reinterpret_cast<sockaddr*>(&at);
    const bool listens = ::bind(listener, address, size) == 0 && ::getsockname(listener, address, &size) == 0 &&
                         ::listen(listener, 1) == 0;
    ends[1] = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (!listens || ::connect(ends[1], address, size) != 0) bench::die("connect", errno);
    ends[0] = ::accept4(listener, nullptr, nullptr, SOCK_CLOEXEC);
    const int on = 1;
    ::setsockopt(ends[1], IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    ::close(listener);
  }
};

// ---------------------------------------------------------------------------------------------------------- liburing

class raw_pool {
 public:
  raw_pool(io_uring* ring, how way) : way_{way}, buffer_bytes_{buffer_bytes_of(way)} {
    if (::posix_memalign(&memory_, 4096, buffers_count * buffer_bytes_) != 0) bench::die("posix_memalign", ENOMEM);
    int error = 0;
    entries_ = io_uring_setup_buf_ring(ring, buffers_count, 0, way == how::incremental ? IOU_PBUF_RING_INC : 0, &error);
    if (entries_ == nullptr) bench::die("io_uring_setup_buf_ring", -error);
    for (unsigned id = 0; id < buffers_count; ++id) put_back(id);
  }
  ~raw_pool() { std::free(memory_); }
  raw_pool(const raw_pool&) = delete;
  raw_pool& operator=(const raw_pool&) = delete;

  // Looks at what a completion has brought, gives back its buffers, and returns its bytes.
  std::size_t use(const io_uring_cqe& cqe) {
    if (cqe.res <= 0) bench::die("recv", cqe.res == 0 ? EPIPE : -cqe.res);
    unsigned id = cqe.flags >> IORING_CQE_BUFFER_SHIFT;
    const auto bytes = static_cast<std::size_t>(cqe.res);
    seen_ += static_cast<unsigned>(*(begin_of(id) + used_[id]));
    if (way_ == how::incremental) {
      used_[id] += bytes;
      if ((cqe.flags & IORING_CQE_F_BUF_MORE) == 0) put_back(id);
      return bytes;
    }
    // They come in the order in which they were put back, which is that of their numbers.
    for (std::size_t left = bytes;;) {
      put_back(id);
      if (left <= buffer_bytes_) break;
      left -= buffer_bytes_;
      id = (id + 1) % buffers_count;
    }
    return bytes;
  }

  unsigned seen() const { return seen_; }

 private:
  std::byte* begin_of(unsigned id) const { return static_cast<std::byte*>(memory_) + id * buffer_bytes_; }
  void put_back(unsigned id) {
    used_[id] = 0;
    io_uring_buf_ring_add(entries_, begin_of(id), static_cast<unsigned>(buffer_bytes_), static_cast<unsigned short>(id),
                          io_uring_buf_ring_mask(buffers_count), 0);
    io_uring_buf_ring_advance(entries_, 1);
  }

  const how way_;
  const std::size_t buffer_bytes_;
  void* memory_ = nullptr;
  io_uring_buf_ring* entries_ = nullptr;
  std::array<std::size_t, buffers_count> used_{};
  unsigned seen_ = 0;
};

void arm(bench::raw_ring& ring, int socket, how way) {
  io_uring_sqe* const sqe = ring.next_sqe();
  if (way == how::single) io_uring_prep_recv(sqe, socket, nullptr, 0, 0);
  else io_uring_prep_recv_multishot(sqe, socket, nullptr, 0, 0);
  if (way == how::bundle) sqe->ioprio |= IORING_RECVSEND_BUNDLE;
  sqe->flags |= IOSQE_BUFFER_SELECT;
  sqe->buf_group = 0;
}

template <how Way, over What = over::unix_sockets>
void raw_receive(benchmark::State& state) {
  const socket_pair pair{What};
  bench::raw_ring ring;
  raw_pool pool{ring.get(), Way};
  const auto batch = static_cast<std::size_t>(state.range(0));
  bool is_armed = false;
  for ([[maybe_unused]] auto _ : state) {
    pair.send(state.range(0));
    for (std::size_t left = batch * message_bytes; left > 0;) {
      if (!is_armed) arm(ring, pair.ends[0], Way);
      ring.submit_and_wait(1);
      unsigned head = 0;
      unsigned count = 0;
      io_uring_cqe* cqe = nullptr;
      io_uring_for_each_cqe(ring.get(), head, cqe) {
        is_armed = (cqe->flags & IORING_CQE_F_MORE) != 0;
        left -= pool.use(*cqe);
        ++count;
      }
      io_uring_cq_advance(ring.get(), count);
    }
  }
  benchmark::DoNotOptimize(pool.seen());
  state.SetItemsProcessed(state.iterations() * state.range(0));
}

// -------------------------------------------------------------------------------------------------------------- gyre

template <how Way>
struct source {
  source(int socket, const gyre::buffer_pool& from) : incoming{socket, from} {}
  auto next() { return incoming.next(); }
  std::conditional_t<Way == how::bundle, gyre::ops::recv_bundle_stream, gyre::ops::recv_stream> incoming;
};

template <>
struct source<how::single> {
  source(int of, const gyre::buffer_pool& from) : socket{of}, pool{from} {}
  auto next() { return gyre::ops::recv_leased{socket, pool}; }
  int socket;
  const gyre::buffer_pool& pool;
};

std::size_t use(const gyre::buffer_lease& lease, unsigned& seen) {
  seen += static_cast<unsigned>(*lease.data());
  return lease.size();
}
std::size_t use(const std::optional<gyre::buffer_lease>& lease, unsigned& seen) { return use(*lease, seen); }
std::size_t use(const std::optional<gyre::buffer_chain>& chain, unsigned& seen) {
  seen += static_cast<unsigned>(*(*chain->begin()).data());
  return chain->bytes_count();
}

template <how Way>
gyre::task<> receive(benchmark::State& state, over what) {
  const socket_pair pair{what};
  const gyre::buffer_pool pool{
      gyre::executor::current(),
      {.buffers_count = buffers_count, .buffer_bytes = buffer_bytes_of(Way), .incremental = Way == how::incremental}};
  source<Way> from{pair.ends[0], pool};
  const auto batch = static_cast<std::size_t>(state.range(0));
  unsigned seen = 0;
  for ([[maybe_unused]] auto _ : state) {
    pair.send(state.range(0));
    for (std::size_t left = batch * message_bytes; left > 0;) left -= use(co_await from.next(), seen);
  }
  benchmark::DoNotOptimize(seen);
  state.SetItemsProcessed(state.iterations() * state.range(0));
}

template <how Way, over What = over::unix_sockets>
void gyre_receive(benchmark::State& state) {
  gyre::executor loop{{.park = gyre::parking::ring_wait}};
  loop.run(receive<Way>(state, What));
}

void recv_single_floor(benchmark::State& state) { raw_receive<how::single>(state); }
void recv_single_gyre(benchmark::State& state) { gyre_receive<how::single>(state); }
void recv_multishot_floor(benchmark::State& state) { raw_receive<how::multishot>(state); }
void recv_multishot_gyre(benchmark::State& state) { gyre_receive<how::multishot>(state); }
void recv_bundle_floor(benchmark::State& state) { raw_receive<how::bundle>(state); }
void recv_bundle_gyre(benchmark::State& state) { gyre_receive<how::bundle>(state); }
void recv_incremental_floor(benchmark::State& state) { raw_receive<how::incremental>(state); }
void recv_incremental_gyre(benchmark::State& state) { gyre_receive<how::incremental>(state); }
void recv_tcp_single_floor(benchmark::State& state) { raw_receive<how::single, over::tcp>(state); }
void recv_tcp_single_gyre(benchmark::State& state) { gyre_receive<how::single, over::tcp>(state); }
void recv_tcp_multishot_floor(benchmark::State& state) { raw_receive<how::multishot, over::tcp>(state); }
void recv_tcp_multishot_gyre(benchmark::State& state) { gyre_receive<how::multishot, over::tcp>(state); }
void recv_tcp_bundle_floor(benchmark::State& state) { raw_receive<how::bundle, over::tcp>(state); }
void recv_tcp_bundle_gyre(benchmark::State& state) { gyre_receive<how::bundle, over::tcp>(state); }
void recv_tcp_incremental_floor(benchmark::State& state) { raw_receive<how::incremental, over::tcp>(state); }
void recv_tcp_incremental_gyre(benchmark::State& state) { gyre_receive<how::incremental, over::tcp>(state); }

BENCHMARK(recv_single_floor)->Arg(1)->Arg(32);
BENCHMARK(recv_single_gyre)->Arg(1)->Arg(32);
BENCHMARK(recv_multishot_floor)->Arg(1)->Arg(32);
BENCHMARK(recv_multishot_gyre)->Arg(1)->Arg(32);
BENCHMARK(recv_bundle_floor)->Arg(1)->Arg(32);
BENCHMARK(recv_bundle_gyre)->Arg(1)->Arg(32);
BENCHMARK(recv_incremental_floor)->Arg(1)->Arg(32);
BENCHMARK(recv_incremental_gyre)->Arg(1)->Arg(32);
BENCHMARK(recv_tcp_single_floor)->Arg(1)->Arg(32);
BENCHMARK(recv_tcp_single_gyre)->Arg(1)->Arg(32);
BENCHMARK(recv_tcp_multishot_floor)->Arg(1)->Arg(32);
BENCHMARK(recv_tcp_multishot_gyre)->Arg(1)->Arg(32);
BENCHMARK(recv_tcp_bundle_floor)->Arg(1)->Arg(32);
BENCHMARK(recv_tcp_bundle_gyre)->Arg(1)->Arg(32);
BENCHMARK(recv_tcp_incremental_floor)->Arg(1)->Arg(32);
BENCHMARK(recv_tcp_incremental_gyre)->Arg(1)->Arg(32);

}  // namespace

BENCHMARK_MAIN();
