// SPDX-License-Identifier: MIT
// Code that knows std::istream and std::ostream, over sockets: lines and numbers, errors, stops, ends.
#include <gyre/runtime/executor.hpp>
#include <gyre/runtime/fiber_streambuf.hpp>
#include <gyre/runtime/ops/socket.hpp>
#include <gyre/runtime/when_all.hpp>

#include "../support/scripted.hpp"
#include "../support/socket_pair.hpp"

#include <doctest/doctest.h>
#include <liburing.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <cstddef>
#include <istream>
#include <ostream>
#include <span>
#include <string>
#include <system_error>
#include <vector>

namespace gyre {
namespace {

using namespace test;

constexpr int some_socket = 1'000'123;

struct plain_reader {
  fd_ref fd;
  auto read(std::span<std::byte> buffer) const { return ops::recv(fd, buffer); }
};

struct plain_writer {
  fd_ref fd;
  auto write(std::span<const std::byte> bytes) const { return ops::send(fd, bytes); }
};

struct plain_stream : plain_reader, plain_writer {
  explicit plain_stream(fd_ref both) : plain_reader{both}, plain_writer{both} {}
};

// What a library of another time would have.
std::vector<std::string> read_lines(std::istream& from) {
  std::vector<std::string> lines;
  for (std::string line; std::getline(from, line);) lines.push_back(line);
  return lines;
}

long sum_of_numbers(std::istream& from) {
  long sum = 0;
  for (long each = 0; from >> each;) sum += each;
  return sum;
}

std::string received_by(const unique_fd& socket) {
  std::array<char, 1 << 16> bytes;
  const auto count = ::recv(socket.get(), bytes.data(), bytes.size(), MSG_DONTWAIT);
  return {bytes.data(), count > 0 ? static_cast<std::size_t>(count) : 0};
}

}  // namespace

TEST_CASE("a parser of lines reads them as they come, over any edge of a buffer") {
  for (const std::size_t buffer_bytes :
       {std::size_t{1}, std::size_t{3}, fiber_streambuf<plain_reader>::default_bytes}) {
    scripted_executor on;
    plain_reader socket{fd_ref{some_socket}};
    std::vector<std::string> lines;
    auto reading = on.loop.start(on_fiber([&] {
      fiber_streambuf buffer{socket, buffer_bytes};
      std::istream text{&buffer};
      lines = read_lines(text);
      CHECK(text.eof());
      CHECK(!text.bad());
    }));
    on.loop.run_ready();

    std::string left = "first\nsecond line\n\nlast without an end";
    while (!left.empty()) {
      const auto asked = on.script.only(IORING_OP_RECV);
      const std::string piece = left.substr(0, std::min<std::size_t>(asked.len, 7));
      left.erase(0, piece.size());
      on.script.deliver(asked, piece);
      on.loop.run_ready();
    }
    on.script.complete(on.script.only(IORING_OP_RECV), 0);
    on.loop.run_ready();

    CHECK(reading.done());
    CHECK(lines == std::vector<std::string>{"first", "second line", "", "last without an end"});
  }
}

TEST_CASE("two ends talk by streams, each on a fiber, on one thread") {
  executor loop;
  const socket_pair pair;
  long sum = 0;
  std::string answer;

  loop.run([&]() -> task<> {
    co_await when_all(on_fiber([&] {
                        plain_stream own{pair.here};
                        fiber_streambuf buffer{own, 64};
                        std::iostream text{&buffer};
                        for (int i = 1; i <= 1'000; ++i) text << i << ' ';
                        text << "end" << std::endl;
                        std::getline(text, answer);
                      }),
                      on_fiber([&] {
                        plain_stream own{pair.there};
                        fiber_streambuf buffer{own};
                        std::iostream text{&buffer};
                        sum = sum_of_numbers(text);
                        text.clear();
                        text << "the sum is " << sum << '\n' << std::flush;
                      }));
  });

  CHECK(sum == 500'500);
  CHECK(answer == "the sum is 500500");
}

TEST_CASE("what was not flushed is written when the buffer goes, unless an exception is on its way") {
  executor loop;
  const socket_pair pair;
  plain_writer socket{pair.here};

  loop.run(on_fiber([&] {
    fiber_streambuf buffer{socket};
    std::ostream{&buffer} << "written";
    CHECK(received_by(pair.there).empty());
  }));
  CHECK(received_by(pair.there) == "written");

  CHECK_THROWS_AS(loop.run(on_fiber([&] {
    fiber_streambuf buffer{socket};
    std::ostream{&buffer} << "lost";
    throw std::runtime_error{"on its way"};
  })),
                  std::runtime_error);
  CHECK(received_by(pair.there).empty());
}

TEST_CASE("an error of the stream is a failure of the formatted function, and error() tells which") {
  scripted_executor on;
  plain_reader socket{fd_ref{some_socket}};
  std::error_code told;
  auto reading = on.loop.start(on_fiber([&] {
    fiber_streambuf buffer{socket};
    std::istream text{&buffer};
    CHECK(read_lines(text) == std::vector<std::string>{"whole"});
    CHECK(text.bad());
    told = buffer.error();
  }));
  on.loop.run_ready();

  on.script.deliver(on.script.only(IORING_OP_RECV), "whole\nhalf");
  on.loop.run_ready();
  on.script.complete(on.script.only(IORING_OP_RECV), -ECONNRESET);
  on.loop.run_ready();

  CHECK(reading.done());
  CHECK(told == std::errc::connection_reset);
}

TEST_CASE("a parser that waits for its stream is stopped, and ends by a failure where it catches everything") {
  scripted_executor on;
  plain_reader socket{fd_ref{some_socket}};
  bool was_bad = false;
  auto reading = on.loop.start(on_fiber([&] {
    fiber_streambuf buffer{socket};
    std::istream text{&buffer};
    CHECK(sum_of_numbers(text) == 0);
    was_bad = text.bad();
  }));
  on.loop.run_ready();

  reading.cancel();
  on.loop.run_ready();

  CHECK(reading.stopped());
  CHECK(was_bad);
}

TEST_CASE("a destructor that prints while the fiber is unwound prints nothing, and ends nothing") {
  scripted_executor on;
  plain_stream socket{fd_ref{some_socket}};
  bool was_bad = false;
  struct prints_at_its_end {
    std::ostream& text;
    bool& was_bad;
    ~prints_at_its_end() {
      text << "goodbye" << std::flush;
      was_bad = text.bad();
    }
  };
  auto talking = on.loop.start(on_fiber([&] {
    fiber_streambuf buffer{socket, 4};
    std::iostream text{&buffer};
    const prints_at_its_end local{text, was_bad};
    fiber::await(ops::recv(fd_ref{some_socket}, {}));
  }));
  on.loop.run_ready();

  talking.cancel();
  on.loop.run_ready();

  CHECK(talking.stopped());
  CHECK(was_bad);
  CHECK(on.script.taken_count(IORING_OP_SEND) == 0);
}

}  // namespace gyre
