// SPDX-License-Identifier: MIT
// A connection in two halves: what each can do, what goes with each, and one of the two again.
#include <gyre/net/stream_halves.hpp>
#include <gyre/net/tcp_stream.hpp>
#include <gyre/runtime/as_result.hpp>
#include <gyre/runtime/buffer_pool.hpp>
#include <gyre/runtime/byte_stream.hpp>
#include <gyre/runtime/task_group.hpp>

#include "../support/bytes.hpp"
#include "../support/connection.hpp"
#include "../support/outcome.hpp"
#include "../support/turning.hpp"

#include <doctest/doctest.h>

#include <array>
#include <cstddef>
#include <optional>
#include <span>
#include <string_view>
#include <system_error>
#include <type_traits>
#include <utility>
#include <vector>

namespace gyre::net {
namespace {

using namespace test;
using reader = reading_half<tcp_stream>;
using writer = writing_half<tcp_stream>;

static_assert(async_reader<reader> && !async_writer<reader>);
static_assert(async_writer<writer> && !async_reader<writer>);
static_assert(std::is_nothrow_move_constructible_v<reader> && !std::is_copy_constructible_v<reader>);
static_assert(std::is_nothrow_move_constructible_v<writer> && !std::is_copy_constructible_v<writer>);

stream_halves<tcp_stream> halves_of(std::optional<tcp_stream>& whole) {
  auto made = split(std::move(*whole));
  whole.reset();
  return made;
}

task<std::vector<std::byte>> read_half_to_end(reader from) {
  std::vector<std::byte> all;
  std::array<std::byte, 1000> buffer;
  while (const auto count = co_await from.read(buffer))
    all.insert(all.end(), buffer.begin(), buffer.begin() + static_cast<std::ptrdiff_t>(count));
  co_return all;
}

task<> read_and_compare(reader from, std::span<const std::byte> expected) {
  const auto received = co_await read_half_to_end(std::move(from));
  CHECK(std::ranges::equal(received, expected));
}

// Its half goes when all is written: that is the end that the peer reads.
task<> write_in_parts(writer to, std::span<const std::byte> bytes) {
  const auto [first, second] = std::pair{bytes.first(bytes.size() / 2), bytes.subspan(bytes.size() / 2)};
  const auto parts = parts_of(first, second);
  co_await to.write_all(parts);
}

}  // namespace

TEST_CASE("two tasks have a half each, and each ends when it likes") {
  connection made;
  auto ours = halves_of(made.ours);
  auto theirs = halves_of(made.theirs);
  const auto there = telling_bytes(big_bytes);
  const auto back = telling_bytes(big_bytes / 3);

  made.loop.run([&]() -> task<> {
    co_await with_task_group([&](task_group& all) -> task<> {
      all.start(read_and_compare(std::move(ours.reading), back));
      all.start(write_in_parts(std::move(ours.writing), there));
      all.start(read_and_compare(std::move(theirs.reading), there));
      all.start(write_in_parts(std::move(theirs.writing), back));
      co_return;
    });
  });
}

TEST_CASE("each half has all that its direction of the connection has") {
  connection made;
  const buffer_pool pool{made.loop, {.buffers_count = 2, .buffer_bytes = 16}};
  auto [reading, writing] = halves_of(made.ours);
  std::array<std::byte, 2> buffer{};

  made.loop.run([&]() -> task<> {
    const auto parts = parts_of(std::string_view{"a"}, std::string_view{"b"});
    CHECK(co_await writing.write(bytes_of("x")) == 1);
    CHECK(co_await writing.write(parts) == 2);
    co_await writing.write_all(bytes_of("y"));
    co_await writing.write_all("text");
    writing.shutdown_write();
    CHECK(text_of(co_await read_to_end(*made.theirs)) == "xabytext");

    co_await made.theirs->write_all("123456789");
    CHECK(co_await reading.read(std::span{buffer}.first(1)) == 1);
    const auto room = room_of(buffer);
    CHECK(co_await reading.read(room) == 2);
    co_await reading.read_exactly(buffer);
    CHECK(text_of(buffer) == "45");
    CHECK(text_of((co_await reading.receive(pool)).bytes()) == "6789");
    co_await made.theirs->write_all("!");
    auto incoming = reading.chunks(pool);
    CHECK(text_of((co_await incoming.next())->bytes()) == "!");
    CHECK(reading.whole().peer_address() == made.theirs->local_address());
  });
}

TEST_CASE("without its writing half a connection is at its end for the peer, and reads on") {
  connection made;
  auto ours = halves_of(made.ours);
  std::optional<writer> writing{std::move(ours.writing)};

  writing.reset();
  const auto at_theirs = made.loop.run(read_to_end(*made.theirs));
  made.loop.run(write_in_full(*made.theirs, bytes_of("answer")));
  made.theirs.reset();

  CHECK(at_theirs.empty());
  CHECK(text_of(made.loop.run(read_half_to_end(std::move(ours.reading)))) == "answer");
}

TEST_CASE("without its reading half a connection writes on") {
  connection made;
  auto ours = halves_of(made.ours);
  std::optional<reader> reading{std::move(ours.reading)};

  reading.reset();
  made.loop.run([&]() -> task<> { co_await ours.writing.write_all("still here"); });
  std::array<std::byte, 10> buffer{};
  made.loop.run(read_in_full(*made.theirs, buffer));

  CHECK(text_of(buffer) == "still here");
}

TEST_CASE("the descriptor is closed with the later half, whichever that is") {
  for (const bool reading_first : {true, false}) {
    CAPTURE(reading_first);
    connection made;
    const std::size_t open_before = open_descriptors_count();
    auto ours = halves_of(made.ours);
    std::optional<reader> reading{std::move(ours.reading)};
    std::optional<writer> writing{std::move(ours.writing)};

    if (reading_first) reading.reset();
    else writing.reset();
    CHECK(open_descriptors_count() == open_before);
    reading.reset();
    writing.reset();

    CHECK(open_descriptors_count() == open_before - 1);
  }
}

TEST_CASE("a writing half that another is moved into ends what it wrote to") {
  connection first;
  connection second;
  auto ours_of_first = halves_of(first.ours);
  auto ours_of_second = halves_of(second.ours);
  writer& kept = ours_of_first.writing;

  kept = std::move(ours_of_second.writing);
  CHECK(first.loop.run(read_to_end(*first.theirs)).empty());
  second.loop.run([&]() -> task<> { co_await kept.write_all("on"); });
  std::array<std::byte, 2> buffer{};
  second.loop.run(read_in_full(*second.theirs, buffer));

  CHECK(text_of(buffer) == "on");
}

TEST_CASE("two halves are one connection again, of which nothing has ended") {
  connection made;
  auto [reading, writing] = halves_of(made.ours);

  auto whole = reunite(std::move(reading), std::move(writing));
  made.loop.run(write_in_full(whole, bytes_of("whole")));
  std::array<std::byte, 5> buffer{};
  made.loop.run(read_in_full(*made.theirs, buffer));

  CHECK(text_of(buffer) == "whole");
}

TEST_CASE("closing the whole ends what both halves have in flight") {
  connection made;
  made.make_narrow();
  auto [reading, writing] = halves_of(made.ours);
  const auto bytes = telling_bytes(big_bytes);
  std::array<std::byte, 1> byte{};
  outcome noted;
  auto reads = made.loop.start(observe(reading.read(byte), noted));
  auto writes = made.loop.start(failure_of(writing.write_all(bytes)));
  made.loop.run_ready();

  made.loop.run(reading.whole().close());
  turn_until_done(made.loop, reads);
  turn_until_done(made.loop, writes);

  CHECK(noted.error == std::errc::operation_canceled);
  CHECK(writes.get().why == std::errc::broken_pipe);
}

TEST_CASE("a read of a half that is stopped leaves the other as it was") {
  connection made;
  auto [reading, writing] = halves_of(made.ours);
  std::array<std::byte, 1> byte{};
  outcome noted;
  auto reads = made.loop.start(observe(reading.read(byte), noted));
  made.loop.run_ready();

  reads.cancel();
  turn_until_done(made.loop, reads);
  made.loop.run([&]() -> task<> { co_await writing.write_all("x"); });
  made.loop.run(read_in_full(*made.theirs, byte));

  CHECK(noted.how == ended::stopped);
  CHECK(text_of(byte) == "x");
}

}  // namespace gyre::net
