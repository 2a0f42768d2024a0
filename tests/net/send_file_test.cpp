// SPDX-License-Identifier: MIT
// Parts of files over a connection, large and small, cached and not; and connections that end on the way.
#include <gyre/net/stream_socket.hpp>
#include <gyre/net/tcp_stream.hpp>
#include <gyre/runtime/as_result.hpp>
#include <gyre/runtime/deadline.hpp>
#include <gyre/runtime/error.hpp>

#include "../support/bytes.hpp"
#include "../support/connection.hpp"
#include "../support/loopback.hpp"
#include "../support/outcome.hpp"
#include "../support/scarce_descriptors.hpp"
#include "../support/temp_folder.hpp"
#include "../support/turning.hpp"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

namespace gyre::net {
namespace {

using namespace std::chrono_literals;
using namespace test;

constexpr std::size_t file_bytes = (std::size_t{3} << 20) + 12'345;

// A file of bytes in which it shows when some are missing.
struct told_file {
  explicit told_file(std::size_t count = file_bytes) : content{telling_bytes(count)} {
    opened.reset(::open(folder.file("content").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
    REQUIRE(static_cast<bool>(opened));
    for (std::span<const std::byte> rest{content}; !rest.empty();) {
      const auto count_written = ::write(opened.get(), rest.data(), rest.size());
      REQUIRE(count_written > 0);
      rest = rest.subspan(static_cast<std::size_t>(count_written));
    }
  }

  std::span<const std::byte> part(std::size_t offset, std::size_t count) const {
    const std::span<const std::byte> all{content};
    return all.subspan(std::min(offset, all.size()), std::min(count, all.size() - std::min(offset, all.size())));
  }

  temp_folder folder;
  std::vector<std::byte> content;
  unique_fd opened;
};

task<std::size_t> send_and_end(tcp_stream& to, fd_ref file, std::size_t offset, std::size_t count) {
  const auto sent = co_await to.send_file(file, offset, count);
  to.shutdown_write();
  co_return sent;
}

// Sends, and checks what arrives at the other end.
void check_part(connection& made, const told_file& file, std::size_t offset, std::size_t count) {
  CAPTURE(offset);
  CAPTURE(count);
  auto sending = made.loop.start(send_and_end(*made.ours, file.opened, offset, count));

  const auto received = made.loop.run(read_to_end(*made.theirs));
  turn_until_done(made.loop, sending);

  CHECK(sending.get() == file.part(offset, count).size());
  CHECK(std::ranges::equal(received, file.part(offset, count)));
}

bool has_room(const tcp_stream& stream) {
  ::pollfd room{.fd = stream.fd().get(), .events = POLLOUT, .revents = 0};
  static_cast<void>(::poll(&room, 1, /*timeout_ms=*/0));
  return (room.revents & POLLOUT) != 0;
}

bool has_no_wait(const tcp_stream& stream) { return (::fcntl(stream.fd().get(), F_GETFL) & O_NONBLOCK) != 0; }

}  // namespace

TEST_CASE("any part of a file arrives as it is, and the count says how much there was of it") {
  const told_file file;
  constexpr std::size_t small = std::size_t{64} << 10;

  for (const std::size_t offset :
       {std::size_t{0}, std::size_t{1}, std::size_t{4095}, file_bytes - 1, file_bytes, file_bytes + 1})
    for (const std::size_t count : {std::size_t{0}, std::size_t{1}, small, small + 1, file_bytes, SIZE_MAX}) {
      connection made;
      check_part(made, file, offset, count);
      CHECK(!has_no_wait(*made.ours));
    }
}

TEST_CASE("a file goes through a connection that takes few bytes at a time") {
  const told_file file;
  connection made;
  made.make_narrow();

  check_part(made, file, 100, SIZE_MAX);
}

TEST_CASE("a file goes over IPv6 as well") {
  if (!has_ipv6_loopback()) return;
  const told_file file;
  connection made{address::parse("[::1]:0").value()};

  check_part(made, file, 0, SIZE_MAX);
}

TEST_CASE("a file that is not in the page cache is sent") {
  const told_file file;
  REQUIRE(::fsync(file.opened.get()) == 0);
  REQUIRE(::posix_fadvise(file.opened.get(), 0, 0, POSIX_FADV_DONTNEED) == 0);
  connection made;

  check_part(made, file, 0, SIZE_MAX);
}

TEST_CASE("without descriptors for a pipe, and where a file cannot be spliced, it is sent as well") {
  const told_file file;
  connection made;
  {
    const no_descriptor_left none;
    check_part(made, file, 0, SIZE_MAX);
  }

  connection other;
  const unique_fd unspliceable{::open("/proc/self/limits", O_RDONLY | O_CLOEXEC)};
  auto sending = other.loop.start(send_and_end(*other.ours, unspliceable, 0, SIZE_MAX));
  const auto received = other.loop.run(read_to_end(*other.theirs));
  turn_until_done(other.loop, sending);

  CHECK(sending.get() == received.size());
  CHECK(text_of(received).find("Max open files") != std::string_view::npos);
}

TEST_CASE("what cannot be read is an error, and nothing was sent") {
  connection made;
  const unique_fd folder{::open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC)};

  for (const std::size_t count : {std::size_t{10}, SIZE_MAX}) {
    const auto failed = made.loop.run(failure_of(made.ours->send_file(folder, 0, count)));
    CHECK(failed.why == std::errc::is_a_directory);
    CHECK(failed.bytes == 0);
  }
  CHECK(made.loop.run(failure_of(made.ours->send_file(unique_fd{}, 0, 1))).why == std::errc::bad_file_descriptor);
}

TEST_CASE("a peer that resets ends it with the count of what was sent, and without a signal") {
  const told_file file{big_bytes};
  connection made;
  made.make_narrow();
  const std::size_t open_before = open_descriptors_count();
  auto sending = made.loop.start(failure_of(made.ours->send_file(file.opened)));
  std::vector<std::byte> first(1 << 20);
  made.loop.run(read_in_full(*made.theirs, first));
  CHECK(!sending.done());

  test::reset(*made.theirs);
  turn_until_done(made.loop, sending);

  const auto failed = sending.get();
  CHECK((failed.why == std::errc::connection_reset || failed.why == std::errc::broken_pipe));
  CHECK(failed.bytes >= first.size());
  CHECK(failed.bytes < big_bytes);
  CHECK(open_descriptors_count() == open_before - 1);
  for (int again = 0; again < 2; ++again) {  // the second is sure to find the connection gone, where SIGPIPE is due
    const auto gone = made.loop.run(failure_of(made.ours->send_file(file.opened)));
    CHECK((gone.why == std::errc::connection_reset || gone.why == std::errc::broken_pipe));
    CHECK(gone.bytes == 0);
  }
}

TEST_CASE("a SIGPIPE that waits for somebody else is left to him") {
  const told_file file;
  connection made;
  made.ours->shutdown_write();
  ::sigset_t sigpipe;
  ::sigset_t before;
  ::sigemptyset(&sigpipe);
  ::sigaddset(&sigpipe, SIGPIPE);
  REQUIRE(::pthread_sigmask(SIG_BLOCK, &sigpipe, &before) == 0);
  constexpr ::timespec at_once{};

  CHECK(made.loop.run(failure_of(made.ours->send_file(file.opened))).why == std::errc::broken_pipe);
  CHECK(::sigtimedwait(&sigpipe, nullptr, &at_once) == -1);
  ::raise(SIGPIPE);
  CHECK(made.loop.run(failure_of(made.ours->send_file(file.opened))).why == std::errc::broken_pipe);
  CHECK(::sigtimedwait(&sigpipe, nullptr, &at_once) == SIGPIPE);

  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

TEST_CASE("a stop anywhere on its way leaves no descriptor behind, and the socket as it was") {
  const told_file file{big_bytes};
  for (const std::size_t count : {std::size_t{1000}, big_bytes}) {
    for (int turns_before = 0; turns_before < 12; ++turns_before) {
      CAPTURE(count);
      CAPTURE(turns_before);
      connection made;
      made.make_narrow();
      const std::size_t open_before = open_descriptors_count();
      outcome noted;
      auto sending = made.loop.start(observe(made.ours->send_file(file.opened, 0, count), noted));

      for (int i = 0; i < turns_before; ++i) made.loop.turn(/*may_park=*/false);
      sending.cancel();
      turn_until_done(made.loop, sending);

      CHECK((noted.how == ended::stopped || (noted.how == ended::with_value && count == 1000)));
      CHECK(open_descriptors_count() == open_before);
      CHECK(!has_no_wait(*made.ours));
    }
  }
}

TEST_CASE("a peer that has ended its own direction, or has sent urgent data, and reads late is waited for asleep") {
  const told_file file;
  for (const bool is_urgent : {false, true}) {
    connection made;
    made.make_narrow();
    if (is_urgent) REQUIRE(::send(made.theirs->fd().get(), "!", 1, MSG_OOB) == 1);
    else made.theirs->shutdown_write();
    auto sending = made.loop.start(send_and_end(*made.ours, file.opened, 0, SIZE_MAX));
    while (has_room(*made.ours)) made.loop.turn(/*may_park=*/false);

    const auto requests_before = made.loop.statistics().sqes;
    for (int i = 0; i < 1000; ++i) made.loop.turn(/*may_park=*/false);
    CHECK(made.loop.statistics().sqes - requests_before < 100);  // TCP may still move some of it

    const auto received = made.loop.run(read_to_end(*made.theirs));
    turn_until_done(made.loop, sending);
    CHECK(std::ranges::equal(received, file.content));
  }
}

TEST_CASE("a deadline ends it where the peer never reads") {
  const told_file file{big_bytes};
  connection made;
  made.make_narrow();

  const auto late = made.loop.run([&]() -> task<result<std::size_t>> {
    co_return co_await as_result(with_timeout(5ms, made.ours->send_file(file.opened)));
  });

  CHECK(late.error() == std::errc::timed_out);
}

TEST_CASE("close() ends it wherever it is, and it never writes to whoever has the descriptor next") {
  const told_file file{big_bytes};
  for (int turns_before = 0; turns_before < 8; ++turns_before) {
    CAPTURE(turns_before);
    connection made;
    made.make_narrow();
    auto sending = made.loop.start(failure_of(made.ours->send_file(file.opened)));

    for (int i = 0; i < turns_before; ++i) made.loop.turn(/*may_park=*/false);
    made.loop.run(made.ours->close());
    turn_until_done(made.loop, sending);

    const auto failed = sending.get();
    CHECK((failed.why == std::errc::operation_canceled || failed.why == std::errc::broken_pipe ||
           failed.why == std::errc::bad_file_descriptor));
    CHECK(failed.bytes < big_bytes);
  }
}

}  // namespace gyre::net
