// SPDX-License-Identifier: MIT
// What comes over a connection in buffers of a pool: one at a time, as a stream, and as a stream of several.
#include <gyre/net/stream_socket.hpp>
#include <gyre/net/tcp_stream.hpp>
#include <gyre/runtime/as_result.hpp>
#include <gyre/runtime/buffer_pool.hpp>
#include <gyre/runtime/ops/open_streams.hpp>

#include "../support/bytes.hpp"
#include "../support/connection.hpp"
#include "../support/loopback.hpp"
#include "../support/outcome.hpp"
#include "../support/socket_pair.hpp"
#include "../support/turning.hpp"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

namespace gyre::net {
namespace {

using namespace test;

constexpr buffer_pool_options small{.buffers_count = 4, .buffer_bytes = 8};

template <class Stream>
task<std::vector<std::byte>> all_of_chunks(Stream incoming) {
  std::vector<std::byte> all;
  while (const auto chunk = co_await incoming.next()) {
    const auto bytes = chunk->bytes();
    all.insert(all.end(), bytes.begin(), bytes.end());
  }
  co_return all;
}

task<std::vector<std::byte>> all_of_bundles(ops::recv_bundle_stream incoming) {
  std::vector<std::byte> all;
  while (const auto bundle = co_await incoming.next())
    for (const auto part : *bundle) all.insert(all.end(), part.begin(), part.end());
  co_return all;
}

task<> write_and_end(tcp_stream& stream, std::span<const std::byte> bytes) {
  co_await stream.write_all(bytes);
  stream.shutdown_write();
}

std::size_t bytes_in(int socket) {
  int count = 0;
  REQUIRE(::ioctl(socket, FIONREAD, &count) == 0);
  return static_cast<std::size_t>(count);
}

task<> nothing() { co_return; }

enum class stream_at { unread, waiting, hungry, storing };

// A stream that is at this when its connection ends, after which its number is somebody else's.
template <class Make>
void check_end_of(Make make, stream_at at, bool by_reset) {
  connection made;
  const socket_pair another;
  const std::uint32_t buffers_count = at == stream_at::hungry ? 1 : 4;
  const buffer_pool pool{made.loop, {.buffers_count = buffers_count, .buffer_bytes = 8}};
  const int number = made.theirs->fd().get();
  auto incoming = make(*made.theirs, pool);
  outcome noted;
  buffer_lease held;
  if (at == stream_at::hungry) {
    made.loop.run(write_in_full(*made.ours, bytes_of("x")));
    held = made.loop.run([&]() -> task<buffer_lease> { co_return co_await made.theirs->receive(pool); });
  }
  if (at == stream_at::storing) {
    made.loop.run(write_in_full(*made.ours, bytes_of("first")));
    made.loop.run(observe(incoming.next(), noted));
    made.loop.run(write_in_full(*made.ours, bytes_of("second")));
    while (pool.statistics().on_loan == 0) made.loop.turn(/*may_park=*/true);
  }
  auto waiting = made.loop.start(at == stream_at::waiting || at == stream_at::hungry ? observe(incoming.next(), noted)
                                                                                     : nothing());
  made.loop.run_ready();

  made.loop.run(by_reset ? made.theirs->reset() : made.theirs->close());
  turn_until_done(made.loop, waiting);
  const unique_fd of_same_number{::fcntl(another.here.get(), F_DUPFD_CLOEXEC, number)};
  REQUIRE(of_same_number.get() == number);
  REQUIRE(::send(another.there.get(), "for another", 11, 0) == 11);
  held = buffer_lease{};
  if (at == stream_at::storing) {
    made.loop.run(observe(incoming.next(), noted));
    CHECK(noted.how == ended::with_value);
  }
  if (at == stream_at::storing || at == stream_at::unread) made.loop.run(observe(incoming.next(), noted));
  CHECK(noted.error == std::errc::operation_canceled);
  made.loop.run(observe(incoming.next(), noted));
  made.loop.run_ready();

  CHECK(noted.error == std::errc::operation_canceled);
  CHECK(bytes_in(number) == 11);
  CHECK(pool.statistics().on_loan == 0);
}

}  // namespace

TEST_CASE("receive() gives what is there in a buffer of the pool, and an empty one at the end") {
  connection made;
  const buffer_pool pool{made.loop, small};

  made.loop.run([&]() -> task<> {
    co_await made.ours->write_all("0123456789");
    CHECK(text_of((co_await made.theirs->receive(pool)).bytes()) == "01234567");
    CHECK(text_of((co_await made.theirs->receive(pool)).bytes()) == "89");
    made.ours->shutdown_write();
    CHECK((co_await made.theirs->receive(pool)).bytes().empty());
  });
}

TEST_CASE("receive() of a peer that resets is connection_reset") {
  connection made;
  const buffer_pool pool{made.loop, small};
  outcome noted;
  auto receiving = made.loop.start(observe(made.theirs->receive(pool), noted));
  made.loop.run_ready();

  test::reset(*made.ours);
  turn_until_done(made.loop, receiving);

  CHECK(noted.error == std::errc::connection_reset);
}

TEST_CASE("a receive() that is stopped leaves bytes in the connection, and buffers in the pool") {
  connection made;
  const buffer_pool pool{made.loop, small};
  outcome noted;
  auto receiving = made.loop.start(observe(made.theirs->receive(pool), noted));
  made.loop.run_ready();

  receiving.cancel();
  turn_until_done(made.loop, receiving);
  made.loop.run(write_in_full(*made.ours, bytes_of("x")));
  made.loop.run([&]() -> task<> { CHECK(text_of((co_await made.theirs->receive(pool)).bytes()) == "x"); });

  CHECK(noted.how == ended::stopped);
}

TEST_CASE("chunks() and bundles() give all that the peer sends, and end with it, over IPv4 and IPv6") {
  for (const bool v6 : {false, true}) {
    if (v6 && !has_ipv6_loopback(without_it::goes_on)) continue;
    for (const bool in_bundles : {false, true}) {
      CAPTURE(v6);
      CAPTURE(in_bundles);
      connection made{v6 ? address::parse("[::1]:0").value() : address::loopback(0)};
      const buffer_pool pool{made.loop, {.buffers_count = 8, .buffer_bytes = 1 << 12}};
      const auto sent = telling_bytes(1 << 20);
      auto writing = made.loop.start(write_and_end(*made.ours, sent));

      const auto received = made.loop.run(in_bundles ? all_of_bundles(made.theirs->bundles(pool))
                                                     : all_of_chunks(made.theirs->chunks(pool)));
      turn_until_done(made.loop, writing);

      CHECK((received == sent));
      made.loop.run(made.theirs->close());
    }
  }
}

TEST_CASE("a stream of chunks tells a reset, and is stopped without a loss") {
  connection made;
  const buffer_pool pool{made.loop, small};

  {
    auto incoming = made.theirs->chunks(pool);
    outcome noted;
    auto waiting = made.loop.start(observe(incoming.next(), noted));
    made.loop.run_ready();
    waiting.cancel();
    turn_until_done(made.loop, waiting);
    CHECK(noted.how == ended::stopped);

    made.loop.run(write_in_full(*made.ours, bytes_of("x")));
    made.loop.run([&]() -> task<> { CHECK(text_of((co_await incoming.next())->bytes()) == "x"); });

    test::reset(*made.ours);
    outcome reset_noted;
    made.loop.run(observe(incoming.next(), reset_noted));
    CHECK(reset_noted.error == std::errc::connection_reset);
  }
  made.loop.run(made.theirs->close());
}

// ------------------------------------------------------------------------------------- streams of a connection's bytes

TEST_CASE("close() and reset() end chunks() and bundles() wherever they are, and what is in store is given before") {
  for (const auto at : {stream_at::unread, stream_at::waiting, stream_at::hungry, stream_at::storing}) {
    for (const bool by_reset : {false, true}) {
      CAPTURE(static_cast<int>(at));
      CAPTURE(by_reset);
      check_end_of([](tcp_stream& of, const buffer_pool& pool) { return of.chunks(pool); }, at, by_reset);
      check_end_of([](tcp_stream& of, const buffer_pool& pool) { return of.bundles(pool); }, at, by_reset);
    }
  }
}

TEST_CASE("a stream of chunks and its connection are moved, and end in any order") {
  connection made;
  const buffer_pool pool{made.loop, small};
  std::optional<ops::recv_stream> first{made.theirs->chunks(pool)};
  const ops::recv_stream second{made.theirs->chunks(pool)};
  ops::recv_stream third{made.theirs->chunks(pool)};
  ops::recv_stream moved{std::move(third)};
  first.reset();
  tcp_stream elsewhere{std::move(*made.theirs)};
  made.theirs.reset();  // what was moved from knows no stream

  outcome noted;
  auto waiting = made.loop.start(observe(moved.next(), noted));
  made.loop.run_ready();
  CHECK(noted.how == ended::not_yet);
  elsewhere = tcp_stream{unique_fd{}};  // closes the connection
  turn_until_done(made.loop, waiting);

  CHECK(noted.error == std::errc::operation_canceled);
}

TEST_CASE("a read that polls first gets what comes, and what is there already") {
  connection made;
  std::array<std::byte, 1> byte{};
  outcome noted;
  auto reading = made.loop.start(observe(made.theirs->read_poll_first(byte), noted));
  made.loop.run_ready();
  CHECK(noted.how == ended::not_yet);

  made.loop.run(write_in_full(*made.ours, bytes_of("xy")));
  turn_until_done(made.loop, reading);
  CHECK(text_of(byte) == "x");
  made.loop.run([&]() -> task<> { CHECK(co_await made.theirs->read_poll_first(byte) == 1); });

  CHECK(text_of(byte) == "y");
}

}  // namespace gyre::net
