// SPDX-License-Identifier: MIT
// buffered_reader and buffered_writer: pieces of every size, ends, limits, failures, deadlines and stops.
#include <gyre/runtime/buffered_reader.hpp>
#include <gyre/runtime/buffered_writer.hpp>
#include <gyre/runtime/byte_stream.hpp>
#include <gyre/runtime/deadline.hpp>
#include <gyre/runtime/ops/socket.hpp>
#include <gyre/runtime/when_all.hpp>

#include "../support/outcome.hpp"
#include "../support/scripted.hpp"
#include "../support/socket_pair.hpp"
#include "../support/turning.hpp"

#include <doctest/doctest.h>
#include <liburing.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstring>
#include <random>
#include <string>
#include <string_view>
#include <vector>

namespace gyre {
namespace {

using namespace std::chrono_literals;
using namespace test;

std::string text_of(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

// A stream of a program's own: gives its text in pieces, and takes what is written in pieces.
struct piecemeal {
  std::string text{};
  std::size_t piece = SIZE_MAX;
  std::error_code at_end{};  // in place of the end
  std::size_t reads_count = 0;
  std::string taken{};
  std::error_code refusal{};

  task<std::size_t> read(std::span<std::byte> into) {
    ++reads_count;
    if (text.empty() && at_end) throw std::system_error{at_end};
    const std::size_t count = std::min({piece, into.size(), text.size()});
    std::memcpy(into.data(), text.data(), count);
    text.erase(0, count);
    co_return count;
  }
  task<std::size_t> write(std::span<const std::byte> bytes) {
    if (refusal) throw std::system_error{refusal};
    const std::size_t count = std::min(piece, bytes.size());
    taken += text_of(bytes.first(count));
    co_return count;
  }
};
static_assert(async_stream<piecemeal>);

// One end of a connection.
struct connection {
  int fd;
  ops::recv read(std::span<std::byte> into) { return ops::recv{fd, into}; }
  ops::send write(std::span<const std::byte> bytes) { return ops::send{fd, bytes}; }
};
static_assert(async_stream<connection>);

struct reads_nothing {};
static_assert(!async_reader<reads_nothing> && !async_writer<reads_nothing>);

constexpr int some_socket = 1'000'123;
constexpr std::array<std::size_t, 5> pieces{1, 2, 3, 7, SIZE_MAX};

}  // namespace

TEST_CASE("lines come whole, in whatever pieces they arrive, with the last one unfinished") {
  for (const std::size_t piece : pieces) {
    CAPTURE(piece);
    piecemeal from{.text = "one\ntwo\r\n\n\r\nfour \r five\nsix", .piece = piece};
    std::vector<std::string> lines;
    run_now([&]() -> task<> {
      buffered_reader reader{from, 16};
      while (const auto line = co_await reader.read_line()) lines.emplace_back(*line);
      CHECK(!co_await reader.read_line());
    }());
    CHECK(lines == std::vector<std::string>{"one", "two", "", "", "four \r five", "six"});
  }
}

TEST_CASE("what is read with one read of the stream is given without another") {
  piecemeal from{.text = "a\nb\nc\n"};
  run_now([&]() -> task<> {
    buffered_reader reader{from};
    for (const std::string_view line : {"a", "b", "c"}) CHECK(*co_await reader.read_line() == line);
  }());
  CHECK(from.reads_count == 1);
}

TEST_CASE("a line as long as the limit is a line, a longer one an error, and nothing of it is taken") {
  for (const std::size_t piece : pieces) {
    CAPTURE(piece);
    piecemeal from{.text = "1234567\n12345678\n", .piece = piece};
    run_now([&]() -> task<> {
      buffered_reader reader{from, 32};
      CHECK(*co_await reader.read_line(8) == "1234567");
      const auto refused = co_await as_result(reader.read_line(8));
      CHECK(refused.error() == std::errc::message_size);
      CHECK(*co_await reader.read_line(9) == "12345678");
    }());
  }
}

TEST_CASE("no line takes more memory than the reader was made with") {
  piecemeal from{.text = std::string(1000, 'x') + "\n", .piece = 7};
  run_now([&]() -> task<> {
    buffered_reader reader{from, 64};
    CHECK((co_await as_result(reader.read_line())).error() == std::errc::message_size);
    CHECK(reader.buffered().size() == 64);
    co_await reader.skip(1000);  // more than fits
    CHECK(co_await reader.read_line() == "");
  }());
}

TEST_CASE("a delimiter of several characters is found across the pieces, and only a whole one") {
  for (const std::size_t piece : pieces) {
    CAPTURE(piece);
    piecemeal from{.text = "a\r\n\r\r\n\r\nrest", .piece = piece};
    run_now([&]() -> task<> {
      buffered_reader reader{from, 64};
      CHECK(text_of(co_await reader.read_until("\r\n\r\n")) == "a\r\n\r\r\n\r\n");
      CHECK((co_await as_result(reader.read_until("\r\n\r\n"))).error() == errc::end_of_stream);
      CHECK(text_of(reader.buffered()) == "rest");
    }());
  }
}

TEST_CASE("peek shows what is there, as often as it is asked, and takes nothing") {
  piecemeal from{.text = "abcdef", .piece = 2};
  run_now([&]() -> task<> {
    buffered_reader reader{from, 8};
    CHECK(text_of(co_await reader.peek(0)).empty());
    CHECK(text_of(co_await reader.peek(3)) == "abcd");
    CHECK(text_of(co_await reader.peek(3)) == "abcd");
    reader.consume(3);
    CHECK(text_of(co_await reader.peek(8)) == "def");  // the stream has ended
    CHECK((co_await as_result(reader.peek(9))).error() == std::errc::message_size);
  }());
}

TEST_CASE("read gives what is there, and reads past the buffer into what is as large") {
  piecemeal from{.text = "0123456789abcdef"};
  run_now([&]() -> task<> {
    buffered_reader reader{from, 4};
    std::array<std::byte, 4> large{};
    std::array<std::byte, 3> small{};
    CHECK(co_await reader.read({}) == 0);
    CHECK(from.reads_count == 0);
    CHECK(co_await reader.read(large) == 4);
    CHECK(reader.buffered().empty());
    CHECK(co_await reader.read(small) == 3);
    CHECK(text_of(small) == "456");
    CHECK(co_await reader.read(large) == 1);  // what was left: no wait for more
    CHECK(from.reads_count == 2);
    co_await reader.skip(8);
    CHECK(co_await reader.read(large) == 0);
  }());
}

TEST_CASE("read_exactly fills across pieces, small ones through the buffer") {
  for (const std::size_t piece : pieces) {
    for (const std::size_t capacity : {1U, 5U, 100U}) {
      CAPTURE(piece);
      CAPTURE(capacity);
      piecemeal from{.text = "0123456789", .piece = piece};
      run_now([&]() -> task<> {
        buffered_reader reader{from, capacity};
        std::array<std::byte, 4> four{};
        std::array<std::byte, 8> eight{};
        co_await reader.read_exactly(four);
        CHECK(text_of(four) == "0123");
        try {
          co_await reader.read_exactly(eight);
          FAIL("read more than there is");
        } catch (const transfer_error& ended) {
          CHECK(ended.code() == errc::end_of_stream);
          CHECK(ended.bytes() == 6);
        }
      }());
    }
  }
}

TEST_CASE("a failure of the stream is told with how far it got, and what came before it stays") {
  const auto reset = std::make_error_code(std::errc::connection_reset);
  piecemeal from{.text = "line\nhalf", .at_end = reset};
  run_now([&]() -> task<> {
    buffered_reader reader{from, 32};
    CHECK(co_await reader.read_line() == "line");
    CHECK((co_await as_result(reader.read_line())).error() == reset);
    CHECK(text_of(reader.buffered()) == "half");
    try {
      co_await reader.skip(10);
      FAIL("skipped more than there is");
    } catch (const transfer_error& failed) {
      CHECK(failed.code() == reset);
      CHECK(failed.bytes() == 4);
    }
  }());
}

TEST_CASE("a line that a deadline cut off is there for the next call, in every order of data and deadline") {
  scripted_executor on{{}, {.timer_slack = 0ns, .linked_timeout_max = 0ns}};
  connection peer{some_socket};
  buffered_reader reader{peer, 32};
  outcome noted;
  auto first = on.loop.start(observe(with_timeout(1s, reader.read_line()), noted));
  on.loop.run_ready();
  const auto give = [&](std::string_view text) { on.script.deliver(on.script.only(IORING_OP_RECV), text); };

  SUBCASE("data, then the deadline") {
    give("ha");
    on.loop.run_ready();
    on.script.advance(1s);
    on.loop.run_ready();
  }
  SUBCASE("the deadline, and data that crossed it") {
    on.script.advance(1s);
    give("ha");
    on.loop.run_ready();
  }
  CHECK(noted.error == std::errc::timed_out);
  CHECK(text_of(reader.buffered()) == "ha");

  std::string line;
  auto second = on.loop.start([](auto& from, std::string& to) -> task<> {
    const auto read = co_await from.read_line();
    to = read.value_or("nothing");
  }(reader, line));
  on.loop.run_ready();
  give("lf\n");
  on.loop.run_ready();
  CHECK(line == "half");
}

TEST_CASE("a reader that was stopped can be read by somebody else") {
  scripted_executor on;
  connection peer{some_socket};
  buffered_reader reader{peer, 32};
  outcome noted;
  auto stopped = on.loop.start(observe(reader.peek(1), noted));
  on.loop.run_ready();
  stopped.cancel();
  on.loop.run_ready();
  CHECK(noted.how == ended::stopped);

  auto next = on.loop.start(observe(reader.peek(1), noted));
  on.loop.run_ready();
  on.script.complete(on.script.only(IORING_OP_RECV), 0);
  on.loop.run_ready();
  CHECK(noted.how == ended::with_value);
}

TEST_CASE("small pieces go out in one write, large ones past the buffer") {
  for (const std::size_t piece : pieces) {
    CAPTURE(piece);
    piecemeal to{.piece = piece};
    run_now([&]() -> task<> {
      buffered_writer writer{to, 8};
      co_await writer.write("ab");
      co_await writer.write("");
      co_await writer.write("cdef");
      CHECK(to.taken.empty());
      CHECK(writer.unflushed() == 6);
      co_await writer.write("ghijkl");
      co_await writer.write(std::string(20, 'x'));
      co_await writer.flush();
      CHECK(writer.unflushed() == 0);
    }());
    CHECK(to.taken == "abcdefghijkl" + std::string(20, 'x'));
  }
}

TEST_CASE("a write that fails says how much of it was taken, and a flush goes on where it stopped") {
  piecemeal to{.piece = 3};
  run_now([&]() -> task<> {
    buffered_writer writer{to, 8};
    co_await writer.write("0123456");
    to.refusal = std::make_error_code(std::errc::broken_pipe);
    try {
      co_await writer.write("abcdef");
      FAIL("wrote to what is broken");
    } catch (const transfer_error& failed) {
      CHECK(failed.code() == std::errc::broken_pipe);
      CHECK(failed.bytes() == 1);
    }
    CHECK((co_await as_result(writer.flush())).error() == std::errc::broken_pipe);
    CHECK(writer.unflushed() == 8);
    to.refusal.clear();
    co_await writer.flush();
  }());
  CHECK(to.taken == "0123456a");
}

TEST_CASE("a stream that takes nothing and says no error is not spun on") {
  piecemeal to{.piece = 0};
  run_now([&]() -> task<> {
    buffered_writer writer{to, 8};
    co_await writer.write("0123");
    CHECK((co_await as_result(writer.flush())).error() == errc::no_progress);
  }());
}

TEST_CASE("what a deadline left of a flush is written by the next, once") {
  scripted_executor on{{}, {.timer_slack = 0ns, .linked_timeout_max = 0ns}};
  connection peer{some_socket};
  buffered_writer writer{peer, 16};
  outcome noted;
  const auto flush_within = [](auto& to, std::chrono::nanoseconds limit) -> task<> {
    if (to.unflushed() == 0) co_await to.write("0123456789");
    co_await with_timeout(limit, to.flush());
  };
  auto first = on.loop.start(observe(flush_within(writer, 1s), noted));
  on.loop.run_ready();
  on.script.complete(on.script.only(IORING_OP_SEND), 4);
  on.loop.run_ready();
  on.script.advance(1s);
  on.loop.run_ready();
  CHECK(noted.error == std::errc::timed_out);
  CHECK(writer.unflushed() == 6);

  auto second = on.loop.start(observe(flush_within(writer, 1s), noted));
  on.loop.run_ready();
  const auto request = on.script.only(IORING_OP_SEND);
  CHECK(request.len == 6);
  CHECK(std::string_view{reinterpret_cast<const char*>(request.addr), 6} == "456789");
  on.script.complete(request, 6);
  on.loop.run_ready();
  CHECK(noted.how == ended::with_value);
}

TEST_CASE("what goes in at one end of a connection comes out at the other, in random pieces") {
  const socket_pair sockets;
  std::string sent;
  std::string received;
  run_now([&]() -> task<> {
    auto write_all = [&]() -> task<> {
      std::mt19937 random{7};
      connection here{sockets.here.get()};
      buffered_writer writer{here, 100};
      for (int line = 0; line < 2000; ++line) {
        const std::string text = std::string(random() % 150, static_cast<char>('a' + line % 26)) + "\n";
        sent += text;
        co_await writer.write(text);
        if (random() % 16 == 0) co_await writer.flush();
      }
      co_await writer.flush();
      co_await ops::shutdown{sockets.here.get(), SHUT_WR};
    };
    auto read_all = [&]() -> task<> {
      connection there{sockets.there.get()};
      buffered_reader reader{there, 151};
      while (const auto line = co_await reader.read_line()) (received += *line) += '\n';
    };
    co_await when_all(write_all(), read_all());
  }());
  CHECK(sent.size() > 100'000);
  CHECK(received == sent);
}

}  // namespace gyre
