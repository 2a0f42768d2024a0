// SPDX-License-Identifier: MIT
// Reads and writes of several parts: on a connection, and on the scripted ring wherever a request stops half way.
#include <gyre/net/parts.hpp>
#include <gyre/net/tcp_stream.hpp>
#include <gyre/runtime/as_result.hpp>
#include <gyre/runtime/error.hpp>

#include "../support/bytes.hpp"
#include "../support/connection.hpp"
#include "../support/outcome.hpp"
#include "../support/scripted.hpp"
#include "../support/turning.hpp"

#include <doctest/doctest.h>
#include <liburing.h>
#include <sys/uio.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

namespace gyre::net {
namespace {

using namespace test;

template <class T>
concept makes_parts = requires(T&& from) { parts_of(std::forward<T>(from)); };
static_assert(makes_parts<std::string&> && makes_parts<const char (&)[3]> && makes_parts<std::string_view>);
static_assert(makes_parts<std::span<const std::byte>> && makes_parts<std::vector<std::byte>&>);
static_assert(!makes_parts<std::string> && !makes_parts<std::vector<std::byte>>);  // gone before they are sent

// Pieces of the bytes: one byte, none, two, none, three, …
std::vector<::iovec> ever_larger_parts(std::span<std::byte> bytes) {
  std::vector<::iovec> parts;
  for (std::size_t at = 0, size = 1; at < bytes.size(); at += size, ++size) {
    parts.push_back({bytes.data() + at, std::min(size, bytes.size() - at)});
    parts.push_back({nullptr, 0});
  }
  return parts;
}

std::vector<::iovec> parts_of_one_byte(std::span<std::byte> bytes) {
  std::vector<::iovec> parts;
  for (std::byte& each : bytes) parts.push_back({&each, 1});
  return parts;
}

task<> write_parts(tcp_stream& stream, std::span<const ::iovec> parts) { co_await stream.write_all(parts); }

// A write_all() on a script that says how much each request takes.
struct scripted_write {
  explicit scripted_write(std::span<const ::iovec> parts)
      : root{on.loop.start(failure_of(send_all_parts{/*socket=*/3, parts}))} {
    on.loop.run_ready();
  }

  bool is_asking() const { return on.script.in_flight(IORING_OP_SENDMSG).size() == 1; }
  void take(int res) {
    on.script.complete(on.script.in_flight(IORING_OP_SENDMSG).at(0), res);
    on.loop.run_ready();
  }

  // What the request that is in flight would send.
  std::string asked() const {
    const auto& header = *reinterpret_cast<const ::msghdr*>(on.script.in_flight(IORING_OP_SENDMSG).at(0).addr);
    std::string all;
    for (const ::iovec& each : std::span{header.msg_iov, header.msg_iovlen})
      all.append(static_cast<const char*>(each.iov_base), each.iov_len);
    return all;
  }

  scripted_executor on;
  root_task<failed_transfer> root;
};

}  // namespace

// ------------------------------------------------------------------------------------------------------ on the kernel

TEST_CASE("parts of any sort are written as one and read as one") {
  connection made;
  const std::string name = "name";
  constexpr std::string_view separator = ": ";
  std::array<std::byte, 3> first{};
  std::vector<std::byte> second(8);

  made.loop.run([&]() -> task<> {
    const auto parts = parts_of(name, separator, bytes_of("value"));
    CHECK(co_await made.ours->write(parts) == 11);
    const auto room = room_of(first, second);
    CHECK(co_await made.theirs->read(room) == 11);
  });

  CHECK(text_of(first) == "nam");
  CHECK(text_of(second) == "e: value");
}

TEST_CASE("a read of parts fills what came, and leaves the rest alone") {
  connection made;
  std::array<std::byte, 2> first{};
  std::array<std::byte, 4> second{};

  made.loop.run([&]() -> task<> {
    co_await made.ours->write_all("abc");
    const auto room = room_of(first, second);
    CHECK(co_await made.theirs->read(room) == 3);
    made.ours.reset();
    CHECK(co_await made.theirs->read(room) == 0);
  });

  CHECK(text_of(first) == "ab");
  CHECK(second[0] == std::byte{'c'});
  CHECK(second[1] == std::byte{});
}

TEST_CASE("any number of parts is written in full, through a connection that takes few bytes at a time") {
  auto sent = telling_bytes(big_bytes);
  for (const bool of_one_byte : {false, true}) {
    CAPTURE(of_one_byte);
    const auto of_them = of_one_byte ? std::span{sent}.first(10'000) : std::span{sent};
    const auto parts = of_one_byte ? parts_of_one_byte(of_them) : ever_larger_parts(of_them);
    REQUIRE(parts.size() > 2 * parts_max);
    connection made;
    made.make_narrow();
    std::vector<std::byte> received(of_them.size());
    auto writing = made.loop.start(write_parts(*made.ours, parts));

    made.loop.run(read_in_full(*made.theirs, received));
    turn_until_done(made.loop, writing);

    CHECK(std::ranges::equal(received, of_them));
  }
}

TEST_CASE("a read into more parts than one request takes fills the first of them") {
  connection made;
  std::vector<std::byte> buffer(2 * parts_max);
  const auto room = parts_of_one_byte(buffer);
  const auto sent = telling_bytes(buffer.size());
  made.loop.run(write_in_full(*made.ours, sent));

  const auto count = made.loop.run([&]() -> task<std::size_t> { co_return co_await made.theirs->read(room); });

  CHECK(count == parts_max);
  CHECK(std::ranges::equal(std::span{buffer}.first(parts_max), std::span{sent}.first(parts_max)));
}

TEST_CASE("no parts, and parts without bytes, are written at once") {
  connection made;
  const std::vector<::iovec> empty_ones(2 * parts_max);

  made.loop.run(write_parts(*made.ours, {}));
  made.loop.run(write_parts(*made.ours, empty_ones));
}

TEST_CASE("a write of parts to a peer that resets tells how much of all was taken") {
  auto bytes = telling_bytes(big_bytes);
  const auto parts = ever_larger_parts(bytes);
  connection made;
  made.make_narrow();
  auto writing = made.loop.start(failure_of(made.ours->write_all(parts)));
  made.loop.run_ready();
  CHECK(!writing.done());

  test::reset(*made.theirs);
  turn_until_done(made.loop, writing);

  const auto failed = writing.get();
  CHECK((failed.why == std::errc::connection_reset || failed.why == std::errc::broken_pipe));
  CHECK(failed.bytes > 0);
  CHECK(failed.bytes < bytes.size());
}

TEST_CASE("reads and writes of parts that are stopped take nothing from the connection") {
  connection made;
  std::array<std::byte, 1> buffer{};
  const auto room = room_of(buffer);
  outcome noted;
  auto reading = made.loop.start(observe(made.theirs->read(room), noted));
  made.loop.run_ready();

  reading.cancel();
  turn_until_done(made.loop, reading);
  made.loop.run(write_in_full(*made.ours, bytes_of("x")));
  made.loop.run(read_in_full(*made.theirs, buffer));

  CHECK(noted.how == ended::stopped);
  CHECK(text_of(buffer) == "x");
}

// -------------------------------------------------------------------------------------------- on the scripted ring

TEST_CASE("wherever a request stops, the next one goes on there") {
  const auto parts = parts_of(std::string_view{"ab"}, std::string_view{}, std::string_view{"cde"});
  for (int taken = 1; taken < 5; ++taken) {
    CAPTURE(taken);
    scripted_write subject{parts};
    REQUIRE(subject.asked() == "abcde");

    std::string arrived = subject.asked().substr(0, static_cast<std::size_t>(taken));
    subject.take(taken);
    while (subject.is_asking()) {
      arrived += subject.asked().substr(0, 1);
      subject.take(1);
    }

    CHECK(arrived == "abcde");
    REQUIRE(subject.root.done());
    CHECK(!subject.root.get().why);
  }
}

TEST_CASE("the count of a failure is that of all parts that went before, wherever it comes") {
  const auto parts = parts_of(std::string_view{"ab"}, std::string_view{"cde"});
  for (int taken = 1; taken < 5; ++taken) {
    CAPTURE(taken);
    scripted_write subject{parts};

    subject.take(taken);
    subject.take(-EPIPE);

    REQUIRE(subject.root.done());
    const auto failed = subject.root.get();
    CHECK(failed.why == std::errc::broken_pipe);
    CHECK(failed.bytes == static_cast<std::size_t>(taken));
  }
}

TEST_CASE("a socket that takes nothing and says no error is not asked again") {
  const auto parts = parts_of(std::string_view{}, std::string_view{"ab"}, std::string_view{"cde"});
  scripted_write subject{parts};

  subject.take(3);
  subject.take(0);

  REQUIRE(subject.root.done());
  const auto failed = subject.root.get();
  CHECK(failed.why == make_error_code(errc::no_progress));
  CHECK(failed.bytes == 3);
}

TEST_CASE("more parts than a request takes are several requests, and empty ones are none") {
  std::array<std::byte, 1> byte{std::byte{'x'}};
  std::vector<::iovec> parts(parts_max, ::iovec{nullptr, 0});
  parts.insert(parts.end(), parts_max + 1, ::iovec{byte.data(), 1});
  scripted_write subject{parts};
  CHECK(subject.asked().size() == parts_max);

  subject.take(parts_max);
  CHECK(subject.asked() == "x");
  subject.take(1);

  REQUIRE(subject.root.done());
  CHECK(!subject.root.get().why);
}

}  // namespace gyre::net
