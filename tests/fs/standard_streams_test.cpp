// SPDX-License-Identifier: MIT
// Standard streams on terminals, pipes, files and /dev/null: lines, ends, stops, and what somebody else has set.
#include <gyre/fs/standard_streams.hpp>
#include <gyre/runtime/as_result.hpp>
#include <gyre/runtime/buffered_reader.hpp>
#include <gyre/runtime/error.hpp>
#include <gyre/runtime/executor.hpp>
#include <gyre/runtime/unique_fd.hpp>

#include "../support/bytes.hpp"
#include "../support/child.hpp"
#include "../support/scripted.hpp"
#include "../support/temp_folder.hpp"
#include "../support/turning.hpp"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <liburing.h>
#include <poll.h>
#include <pty.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstddef>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

namespace gyre::fs {
namespace {

using namespace test;

// A terminal: what is typed goes into `keyboard`, what a program reads and writes is `line`.
struct terminal {
  terminal() {
    std::array<int, 2> ends{};
    if (::openpty(ends.data(), &ends[1], nullptr, nullptr, nullptr) != 0) {
      MESSAGE("skipped: no terminal is to be had here, as openpty(3) says");
      return;
    }
    keyboard.reset(ends[0]);
    line.reset(ends[1]);
  }
  [[nodiscard]] bool is_there() const noexcept { return static_cast<bool>(line); }
  void type(std::string_view text) const { put(keyboard, text); }
  static void put(const unique_fd& into, std::string_view text) {
    REQUIRE(::write(into.get(), text.data(), text.size()) == static_cast<::ssize_t>(text.size()));
  }

  unique_fd keyboard;
  unique_fd line;
};

struct two_ends {
  two_ends() {
    std::array<int, 2> ends{};
    if (::pipe2(ends.data(), O_CLOEXEC) != 0) throw std::runtime_error{"pipe2"};
    reader.reset(ends[0]);
    writer.reset(ends[1]);
  }
  unique_fd reader;
  unique_fd writer;
};

task<std::vector<std::string>> all_lines(fd_ref from) {
  standard_input in{from};
  buffered_reader reader{in};
  std::vector<std::string> found;
  for (;;) {
    const auto line = co_await reader.read_line();
    if (!line) break;
    found.emplace_back(*line);
  }
  co_return found;
}

task<std::string> one_read(standard_input from) {
  std::array<std::byte, 100> buffer{};
  const auto count = co_await from.read(buffer);
  co_return std::string{text_of(std::span{buffer}.first(count))};
}

void make_nonblocking(const unique_fd& fd) { REQUIRE(::fcntl(fd.get(), F_SETFL, O_RDWR | O_NONBLOCK) == 0); }
bool is_nonblocking(const unique_fd& fd) { return (::fcntl(fd.get(), F_GETFL) & O_NONBLOCK) != 0; }

}  // namespace

TEST_CASE("lines come from a file and a pipe, and none from /dev/null") {
  const std::vector<std::string> both{"one", "two"};
  const temp_folder folder;
  const unique_fd file{::open(folder.file("lines", "one\ntwo\n").c_str(), O_RDONLY | O_CLOEXEC)};
  CHECK(run_now(all_lines(file)) == both);

  two_ends pipe;
  terminal::put(pipe.writer, "one\ntwo");
  pipe.writer.reset();
  CHECK(run_now(all_lines(pipe.reader)) == both);

  const unique_fd null{::open("/dev/null", O_RDONLY | O_CLOEXEC)};
  CHECK(run_now(all_lines(null)).empty());
}

TEST_CASE("lines come from a terminal, until ^D") {
  const terminal tty;
  if (!tty.is_there()) return;
  tty.type("one\ntwo\n\x04");
  CHECK(run_now(all_lines(tty.line)) == std::vector<std::string>{"one", "two"});
}

TEST_CASE("a terminal gives a line when it is complete, and ^D in a line gives what there is of it") {
  const terminal tty;
  if (!tty.is_there()) return;
  executor loop{options_under_test()};
  auto reading = loop.start(one_read(standard_input{tty.line}));
  loop.run_ready();
  tty.type("not comp");
  loop.run_ready();
  CHECK(!reading.done());

  tty.type("lete\n");
  turn_until_done(loop, reading);
  CHECK(reading.get() == "not complete\n");
  tty.type("part\x04");
  CHECK(loop.run(one_read(standard_input{tty.line})) == "part");
}

TEST_CASE("after ^D a terminal can be read again") {
  const terminal tty;
  if (!tty.is_there()) return;
  executor loop{options_under_test()};
  tty.type("\x04");
  CHECK(loop.run(one_read(standard_input{tty.line})).empty());
  tty.type("more\n");
  CHECK(loop.run(one_read(standard_input{tty.line})) == "more\n");
}

TEST_CASE("a read that is stopped leaves the next line of a terminal to the next read, in every order of the two") {
  const terminal tty;
  if (!tty.is_there()) return;
  executor loop{options_under_test()};
  for (int round = 0; round < 300; ++round) {
    const std::string line = std::to_string(round) + "\n";
    auto reading = loop.start(one_read(standard_input{tty.line}));
    loop.turn(/*may_park=*/false);
    if (round % 4 == 0) tty.type(line);
    if (round % 8 == 0) loop.turn(/*may_park=*/false);
    reading.cancel();
    if (round % 4 == 1) tty.type(line);
    if (round % 8 < 4) loop.turn(/*may_park=*/false);
    if (round % 4 == 2) tty.type(line);
    turn_until_done(loop, reading);
    if (round % 4 == 3) tty.type(line);

    const std::string got = reading.stopped() ? loop.run(one_read(standard_input{tty.line})) : reading.get();
    CHECK(got == line);
  }
}

TEST_CASE("a descriptor that somebody has made O_NONBLOCK is waited for, and stays so") {
  const terminal tty;
  if (!tty.is_there()) return;
  make_nonblocking(tty.line);
  executor loop{options_under_test()};
  auto reading = loop.start(one_read(standard_input{tty.line}));
  loop.run_ready();
  CHECK(!reading.done());

  tty.type("a line\n");
  turn_until_done(loop, reading);
  CHECK(reading.get() == "a line\n");
  CHECK(is_nonblocking(tty.line));

  auto stopped = loop.start(one_read(standard_input{tty.line}));
  loop.run_ready();
  stopped.cancel();
  turn_until_done(loop, stopped);
  CHECK(stopped.stopped());
}

TEST_CASE("all is written to a pipe that is O_NONBLOCK and full again and again") {
  const two_ends pipe;
  REQUIRE(::fcntl(pipe.writer.get(), F_SETFL, O_WRONLY | O_NONBLOCK) == 0);
  const std::string text(300'000, 'x');
  executor loop{options_under_test()};
  auto writing = loop.start([](fd_ref to, const std::string& all) -> task<> {
    co_await standard_output{to}.write_all(bytes_of(all));
  }(pipe.writer, text));

  std::string got;
  std::array<char, 65536> buffer{};
  while (got.size() < text.size()) {
    loop.run_ready();
    const auto count = ::read(pipe.reader.get(), buffer.data(), buffer.size());
    REQUIRE(count > 0);
    got.append(buffer.data(), static_cast<std::size_t>(count));
  }
  turn_until_done(loop, writing);
  CHECK(got == text);
}

TEST_CASE("a write that nobody will read is broken_pipe, and no signal") {
  const auto end = child{[] {
                     two_ends pipe;
                     pipe.reader.reset();
                     executor loop;
                     const auto failed = loop.run(as_result(standard_output{pipe.writer}.write_all(bytes_of("x"))));
                     return failed.error() == std::errc::broken_pipe ? 0 : 1;
                   }}.wait();
  CHECK(end.exit_status == 0);
}

TEST_CASE("a read that is interrupted is tried again, and another failure is told") {
  scripted_executor on;
  auto reading = on.loop.start(one_read(standard_input{7}));
  on.loop.run_ready();
  on.script.complete(on.script.only(IORING_OP_READ), -EINTR);
  on.loop.run_ready();
  on.script.complete(on.script.only(IORING_OP_READ), -EAGAIN);
  on.loop.run_ready();
  on.script.complete(on.script.only(IORING_OP_POLL_ADD), POLLIN);
  on.loop.run_ready();
  on.script.deliver(on.script.only(IORING_OP_READ), "text");
  on.loop.run_ready();
  CHECK(reading.get() == "text");

  auto failing = on.loop.start(as_result(one_read(standard_input{7})));
  on.loop.run_ready();
  on.script.complete(on.script.only(IORING_OP_READ), -EIO);
  on.loop.run_ready();
  CHECK(failing.get().error() == std::errc::io_error);
}

TEST_CASE("a terminal is told from what is none, and its size follows the window") {
  const terminal tty;
  if (!tty.is_there()) return;
  const two_ends pipe;
  CHECK(is_terminal(tty.line));
  CHECK(!is_terminal(pipe.reader));
  CHECK(!try_terminal_size(pipe.reader));
  CHECK(!try_terminal_size(tty.line));  // a window that nobody has given a size

  for (const auto columns : std::to_array<unsigned short>({80, 132})) {
    const ::winsize window{.ws_row = 25, .ws_col = columns, .ws_xpixel = 0, .ws_ypixel = 0};
    REQUIRE(::ioctl(tty.keyboard.get(), TIOCSWINSZ, &window) == 0);
    const auto size = try_terminal_size(tty.line);
    REQUIRE(size);
    CHECK(size->columns == columns);
    CHECK(size->rows == 25);
  }
}

}  // namespace gyre::fs
