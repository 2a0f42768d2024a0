// SPDX-License-Identifier: MIT
// What does a datagram cost that is received with its source: one by one, and as a stream into buffers of a pool? And
// what is saved where many go through the network stack at a time, out (UDP_SEGMENT) and in (UDP_GRO)?
//
// The floors are the same requests on liburing. Datagrams come over loopback, sent by sendmmsg(2) before the other side
// is asked, which is most of the time of every line: so what differs between two lines is gyre's part. The lines of
// bulk send and receive 40 datagrams of 1200 bytes on one executor; all of it is in their time.
#include "support/die.hpp"
#include "support/raw_ring.hpp"

#include <benchmark/benchmark.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <span>
#include <vector>

#include <gyre/net/udp_socket.hpp>
#include <gyre/runtime/buffer_pool.hpp>
#include <gyre/runtime/executor.hpp>
#include <gyre/runtime/task.hpp>

namespace {

using gyre::net::address;
using gyre::net::udp_socket;

constexpr std::size_t message_bytes = 64;
constexpr unsigned buffers_count = 64;
constexpr std::size_t most_at_a_time = 32;

struct two_sockets {
  udp_socket to = udp_socket::bind({.at = address::loopback(0)});
  udp_socket from = udp_socket::connect(to.local_address());

  // So many datagrams, by one call.
  void send(std::size_t count) {
    static std::array<std::byte, message_bytes> message{std::byte{1}};
    static iovec part{message.data(), message.size()};
    static std::array<mmsghdr, most_at_a_time> all = [] {
      std::array<mmsghdr, most_at_a_time> made{};
      for (auto& each : made) each.msg_hdr.msg_iov = &part, each.msg_hdr.msg_iovlen = 1;
      return made;
    }();
    if (::sendmmsg(from.fd().get(), all.data(), static_cast<unsigned>(count), 0) != static_cast<int>(count))
      bench::die("sendmmsg", errno);
  }
};

// ------------------------------------------------------------------------------------------------ liburing, one by one

void recvmsg_floor(benchmark::State& state) {
  two_sockets pair;
  bench::raw_ring ring;
  std::array<std::byte, message_bytes> buffer{};
  sockaddr_in6 source{};
  iovec part{buffer.data(), buffer.size()};
  unsigned seen = 0;
  for ([[maybe_unused]] auto _ : state) {
    pair.send(static_cast<std::size_t>(state.range(0)));
    for (auto left = state.range(0); left > 0; --left) {
      msghdr header{};
      header.msg_name = &source;
      header.msg_namelen = sizeof source;
      header.msg_iov = &part;
      header.msg_iovlen = 1;
      io_uring_prep_recvmsg(ring.next_sqe(), pair.to.fd().get(), &header, MSG_TRUNC);
      ring.submit_and_wait(1);
      io_uring_cqe* cqe = nullptr;
      if (io_uring_peek_cqe(ring.get(), &cqe) != 0 || cqe->res < 0) bench::die("recvmsg", EIO);
      seen += static_cast<unsigned>(buffer[0]) + static_cast<unsigned>(source.sin6_port);
      io_uring_cqe_seen(ring.get(), cqe);
    }
  }
  benchmark::DoNotOptimize(seen);
  state.SetItemsProcessed(state.iterations() * state.range(0));
}

// ------------------------------------------------------------------------------------------------- liburing, multishot

class raw_pool {
 public:
  static constexpr std::size_t name_bytes = 32;
  static constexpr std::size_t buffer_bytes = sizeof(io_uring_recvmsg_out) + name_bytes + message_bytes;

  explicit raw_pool(io_uring* ring) {
    if (::posix_memalign(&memory_, 4096, buffers_count * buffer_bytes) != 0) bench::die("posix_memalign", ENOMEM);
    int error = 0;
    entries_ = io_uring_setup_buf_ring(ring, buffers_count, 0, 0, &error);
    if (entries_ == nullptr) bench::die("io_uring_setup_buf_ring", -error);
    for (unsigned id = 0; id < buffers_count; ++id) put_back(id);
  }
  ~raw_pool() { std::free(memory_); }
  raw_pool(const raw_pool&) = delete;
  raw_pool& operator=(const raw_pool&) = delete;

  // Looks at source and payload, and gives the buffer back.
  unsigned use(const io_uring_cqe& cqe, msghdr& shape) {
    if (cqe.res <= 0) bench::die("recvmsg", cqe.res == 0 ? EPIPE : -cqe.res);
    const unsigned id = cqe.flags >> IORING_CQE_BUFFER_SHIFT;
    io_uring_recvmsg_out* const out = io_uring_recvmsg_validate(begin_of(id), cqe.res, &shape);
    if (out == nullptr) bench::die("io_uring_recvmsg_validate", EINVAL);
    const auto* const source = static_cast<const sockaddr_in*>(io_uring_recvmsg_name(out));
    const auto* const payload = static_cast<const std::byte*>(io_uring_recvmsg_payload(out, &shape));
    const unsigned seen = static_cast<unsigned>(*payload) + static_cast<unsigned>(source->sin_port);
    put_back(id);
    return seen;
  }

 private:
  std::byte* begin_of(unsigned id) const { return static_cast<std::byte*>(memory_) + id * buffer_bytes; }
  void put_back(unsigned id) {
    io_uring_buf_ring_add(entries_, begin_of(id), static_cast<unsigned>(buffer_bytes), static_cast<unsigned short>(id),
                          io_uring_buf_ring_mask(buffers_count), 0);
    io_uring_buf_ring_advance(entries_, 1);
  }

  void* memory_ = nullptr;
  io_uring_buf_ring* entries_ = nullptr;
};

void datagrams_floor(benchmark::State& state) {
  two_sockets pair;
  bench::raw_ring ring;
  raw_pool pool{ring.get()};
  msghdr shape{};
  shape.msg_namelen = raw_pool::name_bytes;
  bool is_armed = false;
  unsigned seen = 0;
  for ([[maybe_unused]] auto _ : state) {
    pair.send(static_cast<std::size_t>(state.range(0)));
    for (auto left = state.range(0); left > 0;) {
      if (!is_armed) {
        io_uring_sqe* const sqe = ring.next_sqe();
        io_uring_prep_recvmsg_multishot(sqe, pair.to.fd().get(), &shape, MSG_TRUNC);
        sqe->flags |= IOSQE_BUFFER_SELECT;
        sqe->buf_group = 0;
      }
      ring.submit_and_wait(1);
      unsigned head = 0;
      unsigned count = 0;
      io_uring_cqe* cqe = nullptr;
      io_uring_for_each_cqe(ring.get(), head, cqe) {
        is_armed = (cqe->flags & IORING_CQE_F_MORE) != 0;
        seen += pool.use(*cqe, shape);
        ++count;
        --left;
      }
      io_uring_cq_advance(ring.get(), count);
    }
  }
  benchmark::DoNotOptimize(seen);
  state.SetItemsProcessed(state.iterations() * state.range(0));
}

// ---------------------------------------------------------------------------------------------------------------- gyre

gyre::task<> receive_singly(benchmark::State& state) {
  two_sockets pair;
  std::array<std::byte, message_bytes> buffer{};
  unsigned seen = 0;
  for ([[maybe_unused]] auto _ : state) {
    pair.send(static_cast<std::size_t>(state.range(0)));
    for (auto left = state.range(0); left > 0; --left) {
      const auto came = co_await pair.to.receive_from(buffer);
      seen += static_cast<unsigned>(buffer[0]) + came.source.port();
    }
  }
  benchmark::DoNotOptimize(seen);
  state.SetItemsProcessed(state.iterations() * state.range(0));
}

gyre::task<> receive_as_stream(benchmark::State& state) {
  two_sockets pair;
  const gyre::buffer_pool pool{
      gyre::executor::current(),
      {.buffers_count = buffers_count, .buffer_bytes = pair.to.buffer_bytes_for(message_bytes)}};
  auto incoming = pair.to.datagrams(pool);
  unsigned seen = 0;
  for ([[maybe_unused]] auto _ : state) {
    pair.send(static_cast<std::size_t>(state.range(0)));
    for (auto left = state.range(0); left > 0; --left) {
      const auto came = co_await incoming.next();
      seen += static_cast<unsigned>(came->payload().front()) + came->source().port();
    }
  }
  benchmark::DoNotOptimize(seen);
  state.SetItemsProcessed(state.iterations() * state.range(0));
}

template <gyre::task<> (*Body)(benchmark::State&)>
void on_executor(benchmark::State& state) {
  gyre::executor loop{{.park = gyre::parking::ring_wait}};
  loop.run(Body(state));
}

void recvmsg_gyre(benchmark::State& state) { on_executor<receive_singly>(state); }
void datagrams_gyre(benchmark::State& state) { on_executor<receive_as_stream>(state); }

// ---------------------------------------------------------------------------------------------------------------- bulk

constexpr std::uint16_t packet_bytes = 1200;
constexpr std::size_t packets_count = 40;

enum class out { one_by_one, in_segments };
enum class in { one_by_one, in_one_piece };

template <out Out, in In>
gyre::task<> transfer(benchmark::State& state) {
  two_sockets pair;
  pair.to.set(gyre::net::receive_buffer{.bytes = 1 << 20});
  if (In == in::in_one_piece) pair.to.set(gyre::net::receive_offload{});
  const gyre::buffer_pool pool{
      gyre::executor::current(),
      {.buffers_count = buffers_count,
       .buffer_bytes = pair.to.buffer_bytes_for(In == in::in_one_piece ? packets_count * packet_bytes : packet_bytes)}};
  auto incoming = pair.to.datagrams(pool);
  const std::vector<std::byte> bytes(packets_count * packet_bytes, std::byte{1});
  unsigned seen = 0;
  for ([[maybe_unused]] auto _ : state) {
    if constexpr (Out == out::in_segments) {
      co_await pair.from.send_segmented(bytes, packet_bytes);
    } else {
      for (std::span<const std::byte> rest{bytes}; !rest.empty(); rest = rest.subspan(packet_bytes))
        co_await pair.from.send(rest.first(packet_bytes));
    }
    for (std::size_t received_count = 0; received_count < packets_count;) {
      const auto came = co_await incoming.next();
      for (const auto packet : came->segments()) {
        seen += static_cast<unsigned>(packet.front());
        ++received_count;
      }
    }
  }
  benchmark::DoNotOptimize(seen);
  state.SetItemsProcessed(state.iterations() * static_cast<std::int64_t>(packets_count));
}

void bulk_plain_gyre(benchmark::State& state) { on_executor<transfer<out::one_by_one, in::one_by_one>>(state); }
void bulk_gso_gyre(benchmark::State& state) { on_executor<transfer<out::in_segments, in::one_by_one>>(state); }
void bulk_gso_gro_gyre(benchmark::State& state) { on_executor<transfer<out::in_segments, in::in_one_piece>>(state); }

BENCHMARK(recvmsg_floor)->Arg(1)->Arg(32);
BENCHMARK(recvmsg_gyre)->Arg(1)->Arg(32);
BENCHMARK(datagrams_floor)->Arg(1)->Arg(32);
BENCHMARK(datagrams_gyre)->Arg(1)->Arg(32);
BENCHMARK(bulk_plain_gyre);
BENCHMARK(bulk_gso_gyre);
BENCHMARK(bulk_gso_gro_gyre);

}  // namespace

BENCHMARK_MAIN();
