// SPDX-License-Identifier: MIT
// Pipes on the real kernel: bytes from end to end, nobody at the other end, and waits that are stopped.
#include <gyre/fs/pipe.hpp>
#include <gyre/runtime/as_result.hpp>
#include <gyre/runtime/buffered_reader.hpp>
#include <gyre/runtime/byte_stream.hpp>
#include <gyre/runtime/deadline.hpp>
#include <gyre/runtime/detail/quiet_writes.hpp>
#include <gyre/runtime/error.hpp>
#include <gyre/runtime/executor.hpp>
#include <gyre/runtime/ops/file.hpp>
#include <gyre/runtime/ops/file_flags.hpp>
#include <gyre/runtime/when_all.hpp>

#include "../support/bytes.hpp"
#include "../support/child.hpp"
#include "../support/outcome.hpp"
#include "../support/scarce_descriptors.hpp"
#include "../support/socket_pair.hpp"
#include "../support/turning.hpp"
#include "../support/unprivileged.hpp"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/uio.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <csignal>
#include <cstddef>
#include <exception>
#include <span>
#include <string>
#include <system_error>
#include <tuple>
#include <utility>

namespace gyre::fs {
namespace {

using namespace std::chrono_literals;
using namespace test;

static_assert(async_reader<pipe_reader> && async_reader<const pipe_reader>);
static_assert(async_writer<pipe_writer> && async_writer<const pipe_writer>);

constexpr std::size_t page_bytes = 4096;

struct failed_transfer {
  std::error_code why;
  std::size_t bytes = 0;
};

task<> note_failure(task<> transfer, failed_transfer& noted) {
  try {
    co_await std::move(transfer);
  } catch (const transfer_error& error) {
    noted = {error.code(), error.bytes()};
  }
}

// What the other end does, by system calls.
std::size_t taken(const pipe_reader& from, std::size_t bytes) {
  std::string buffer(bytes, '\0');
  const auto count = ::read(from.fd().get(), buffer.data(), bytes);
  return count < 0 ? 0 : static_cast<std::size_t>(count);
}

task<std::error_code> write_one(const pipe_writer& writer) {
  const auto written = co_await as_result(writer.write(bytes_of("x")));
  co_return written.error();
}

// Every operation that writes, on something that nobody reads any more.
task<bool> all_are_broken(fd_ref to) {
  const auto bytes = bytes_of("x");
  const ::iovec part{const_cast<std::byte*>(bytes.data()), bytes.size()};
  const std::span<const ::iovec> parts{&part, 1};
  const auto is_broken = [](const auto& written) { return written.error() == std::errc::broken_pipe; };
  const auto write = co_await as_result(ops::write{to, bytes});
  const auto writev = co_await as_result(ops::writev{to, parts});
  const auto write2 = co_await as_result(ops::write2{to, bytes, ops::current_position, 0});
  const auto writev2 = co_await as_result(ops::writev2{to, parts, ops::current_position, 0});
  co_return is_broken(write) && is_broken(writev) && is_broken(write2) && is_broken(writev2);
}

bool sigpipe_is_pending() {
  ::sigset_t pending;
  ::sigpending(&pending);
  return ::sigismember(&pending, SIGPIPE) == 1;
}

// A write that finds nobody, and one that waits for room as the last reader goes. SIGPIPE would end the process.
bool is_quiet(bool without_flag) {
  gyre::detail::is_without_quiet_flag = without_flag;
  executor loop;
  auto ends = pipe::make({.capacity_bytes = page_bytes});
  auto full = pipe::make({.capacity_bytes = page_bytes});
  const std::string page(page_bytes, 'x');
  loop.run(full.writer.write_all(bytes_of(page)));
  auto late = loop.start(write_one(full.writer));
  loop.run_ready();

  full.reader.release().reset();
  ends.reader.release().reset();
  turn_until_done(loop, late);
  const auto at_once = loop.run(write_one(ends.writer));

  return late.get() == std::errc::broken_pipe && at_once == std::errc::broken_pipe && !sigpipe_is_pending();
}

}  // namespace

TEST_CASE("what is written into a pipe is read from it, and its end is that of the last writer") {
  executor loop;
  const auto before = open_descriptors_count();
  {
    auto made = pipe::make();
    CHECK((::fcntl(made.reader.fd().get(), F_GETFD) & FD_CLOEXEC) != 0);
    CHECK((::fcntl(made.writer.fd().get(), F_GETFD) & FD_CLOEXEC) != 0);

    loop.run([&]() -> task<> {
      std::array<std::byte, 8> buffer{};
      CHECK(co_await made.writer.write(bytes_of("abc")) == 3);
      CHECK(co_await made.reader.read(buffer) == 3);
      CHECK(text_of(std::span{buffer}.first(3)) == "abc");
      CHECK(co_await made.reader.read(std::span<std::byte>{}) == 0);
      co_await made.writer.write_all(bytes_of("de"));
      co_await made.writer.close();
      CHECK(co_await made.reader.read(buffer) == 2);
      CHECK(co_await made.reader.read(buffer) == 0);
      co_await made.reader.close();
    });
  }
  CHECK(open_descriptors_count() == before);
}

TEST_CASE("more than a pipe holds goes through it, while somebody reads") {
  executor loop;
  auto made = pipe::make({.capacity_bytes = page_bytes});
  std::string sent;
  for (int each = 0; each < 30'000; ++each) sent += static_cast<char>('a' + each % 26);
  std::string received(sent.size(), '\0');

  loop.run([&]() -> task<> {
    co_await when_all(made.writer.write_all(bytes_of(sent)),
                      made.reader.read_exactly(std::as_writable_bytes(std::span{received})));
  });

  CHECK(received == sent);
}

TEST_CASE("a buffered reader takes lines from a pipe") {
  executor loop;
  auto made = pipe::make();

  loop.run([&]() -> task<> {
    co_await made.writer.write_all(bytes_of("one\ntwo\n"));
    co_await made.writer.close();
    buffered_reader<const pipe_reader> lines{made.reader};
    const auto one = co_await lines.read_line();
    CHECK(one == "one");
    const auto two = co_await lines.read_line();
    CHECK(two == "two");
    const auto none = co_await lines.read_line();
    CHECK(!none);
  });
}

TEST_CASE("a pipe holds what it was asked to, and says how much that is") {
  auto made = pipe::make({.capacity_bytes = 5000});
  CHECK(made.reader.try_capacity().value() == 8192);
  CHECK(made.writer.try_set_capacity(1).value() == page_bytes);
  CHECK(made.reader.try_set_capacity(1U << 20U).value() == 1U << 20U);

  const std::string much(100'000, 'x');
  executor loop;
  loop.run(made.writer.write_all(bytes_of(much)));
  CHECK(made.writer.try_set_capacity(page_bytes).error() == std::errc::device_or_resource_busy);
  CHECK(made.writer.try_capacity().value() == 1U << 20U);
}

TEST_CASE("a capacity that is not to be had is refused, and no pipe is made") {
  auto made = pipe::make();
  CHECK(made.writer.try_set_capacity(std::size_t{1} << 40U).error() == std::errc::invalid_argument);
  CHECK(made.writer.try_set_capacity((std::size_t{1} << 32U) + page_bytes).error() == std::errc::invalid_argument);
  const auto before = open_descriptors_count();
  CHECK_THROWS_AS(std::ignore = pipe::make({.capacity_bytes = std::size_t{1} << 40U}), std::system_error);
  CHECK(open_descriptors_count() == before);

  CHECK(holds_for_nobody([] {
    return pipe::make().writer.try_set_capacity(std::size_t{1} << 30U).error() == std::errc::operation_not_permitted;
  }));
  made.writer.release().reset();
  CHECK(made.writer.try_capacity().error() == std::errc::bad_file_descriptor);
}

TEST_CASE("where no descriptor is left no pipe is made") {
  std::exception_ptr failure;
  {
    const no_descriptor_left scarce;  // UBSan needs one to look at an exception
    try {
      std::ignore = pipe::make();
    } catch (...) {
      failure = std::current_exception();
    }
  }

  REQUIRE(failure);
  try {
    std::rethrow_exception(failure);
  } catch (const std::system_error& error) {
    CHECK(error.code() == std::errc::too_many_files_open);
  }
}

TEST_CASE("a write that nobody will read is an error and no signal, on this kernel and on older ones") {
  for (const bool without_flag : {false, true}) {
    child writer{[without_flag] { return is_quiet(without_flag) ? 0 : 1; }};
    const auto end = writer.wait();
    CHECK(end.killed_by == 0);
    CHECK(end.exit_status == 0);
  }
}

TEST_CASE("no operation that writes raises SIGPIPE, on pipes and on sockets, on this kernel and on older ones") {
  for (const bool without_flag : {false, true}) {
    child writer{[without_flag] {
      gyre::detail::is_without_quiet_flag = without_flag;
      executor loop;
      auto made = pipe::make();
      made.reader.release().reset();
      socket_pair sockets;
      sockets.there.reset();
      const bool in_pipe = loop.run(all_are_broken(made.writer.fd()));
      return in_pipe && loop.run(all_are_broken(sockets.here)) && !sigpipe_is_pending() ? 0 : 1;
    }};
    const auto end = writer.wait();
    CHECK(end.killed_by == 0);
    CHECK(end.exit_status == 0);
  }
}

TEST_CASE("where the process ignores SIGPIPE the thread's mask stays as it is") {
  child writer{[] {
    std::signal(SIGPIPE, SIG_IGN);
    const bool quiet = is_quiet(/*without_flag=*/true);
    ::sigset_t blocked;
    ::pthread_sigmask(SIG_BLOCK, nullptr, &blocked);
    return quiet && ::sigismember(&blocked, SIGPIPE) == 0 ? 0 : 1;
  }};

  CHECK(writer.wait().exit_status == 0);
}

TEST_CASE("a transfer that ends too early says how far it got") {
  executor loop;
  auto made = pipe::make({.capacity_bytes = page_bytes});
  const std::string much(3 * page_bytes, 'x');
  std::array<std::byte, 8> buffer{};

  failed_transfer writing;
  auto root = loop.start(note_failure(made.writer.write_all(bytes_of(much)), writing));
  loop.run_ready();
  CHECK(taken(made.reader, page_bytes) == page_bytes);
  made.reader.release().reset();
  turn_until_done(loop, root);
  CHECK(writing.why == std::errc::broken_pipe);
  CHECK(writing.bytes == page_bytes);

  auto other = pipe::make();
  loop.run(other.writer.write_all(bytes_of("abc")));
  other.writer.release().reset();
  failed_transfer reading;
  loop.run(note_failure(other.reader.read_exactly(buffer), reading));
  CHECK(reading.why == errc::end_of_stream);
  CHECK(reading.bytes == 3);
}

TEST_CASE("a read that waits is stopped at any moment, and what comes later stays in the pipe") {
  executor loop;
  auto made = pipe::make();
  for (int turns_before = 0; turns_before < 4; ++turns_before) {
    std::array<std::byte, 8> buffer{};
    outcome noted;
    auto root = loop.start(observe(made.reader.read(buffer), noted));
    for (int turn = 0; turn < turns_before; ++turn) loop.turn(/*may_park=*/false);
    root.cancel();
    turn_until_done(loop, root);
    CHECK((noted.how == ended::stopped || noted.how == ended::not_begun));
  }

  loop.run(made.writer.write_all(bytes_of("kept")));
  CHECK(taken(made.reader, 8) == 4);
}

TEST_CASE("bytes that cross a stop are delivered, or stay in the pipe") {
  executor loop;
  auto made = pipe::make();
  std::array<std::byte, 8> buffer{};
  outcome noted;
  auto root = loop.start(observe(made.reader.read(buffer), noted));
  loop.run_ready();

  REQUIRE(::write(made.writer.fd().get(), "x", 1) == 1);
  root.cancel();
  turn_until_done(loop, root);

  if (noted.how == ended::stopped) CHECK(taken(made.reader, 8) == 1);
  else CHECK(text_of(std::span{buffer}.first(1)) == "x");
}

TEST_CASE("a write that waits for room is stopped at any moment, or times out, and adds nothing") {
  executor loop;
  auto made = pipe::make({.capacity_bytes = page_bytes});
  const std::string page(page_bytes, 'x');
  loop.run(made.writer.write_all(bytes_of(page)));

  for (int turns_before = 0; turns_before < 4; ++turns_before) {
    outcome noted;
    auto root = loop.start(observe(made.writer.write(bytes_of("more")), noted));
    for (int turn = 0; turn < turns_before; ++turn) loop.turn(/*may_park=*/false);
    root.cancel();
    turn_until_done(loop, root);
    CHECK((noted.how == ended::stopped || noted.how == ended::not_begun));
  }
  outcome noted;
  loop.run(observe(with_timeout(1ms, made.writer.write(bytes_of("more"))), noted));
  CHECK(noted.error == std::errc::timed_out);

  CHECK(taken(made.reader, 2 * page_bytes) == page_bytes);
}

TEST_CASE("a transfer of many pieces is stopped between them and while it waits") {
  executor loop;
  auto made = pipe::make({.capacity_bytes = page_bytes});
  const std::string much(4 * page_bytes, 'x');
  auto writing = loop.start(made.writer.write_all(bytes_of(much)));
  loop.run_ready();
  writing.cancel();
  turn_until_done(loop, writing);
  CHECK(writing.stopped());
  CHECK(taken(made.reader, 2 * page_bytes) == page_bytes);

  std::string all(100, '\0');
  loop.run(made.writer.write_all(bytes_of("part")));
  auto reading = loop.start(made.reader.read_exactly(std::as_writable_bytes(std::span{all})));
  loop.run_ready();
  reading.cancel();
  turn_until_done(loop, reading);
  CHECK(reading.stopped());
}

}  // namespace gyre::fs
