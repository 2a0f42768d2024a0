// SPDX-License-Identifier: MIT
// TCP connections on loopback: made, refused and given up; read, written, half closed and closed; and peers that go
// early.
#include <gyre/net/address.hpp>
#include <gyre/net/stream_socket.hpp>
#include <gyre/net/tcp_listener.hpp>
#include <gyre/net/tcp_stream.hpp>
#include <gyre/runtime/as_result.hpp>
#include <gyre/runtime/deadline.hpp>
#include <gyre/runtime/error.hpp>
#include <gyre/runtime/executor.hpp>
#include <gyre/runtime/scope.hpp>
#include <gyre/runtime/task_group.hpp>

#include "../support/bytes.hpp"
#include "../support/connection.hpp"
#include "../support/loopback.hpp"
#include "../support/outcome.hpp"
#include "../support/turning.hpp"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
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

task<> read_one(tcp_stream& stream, outcome& noted) {
  std::array<std::byte, 1> buffer{};
  co_await observe(stream.read(buffer), noted);
}

// A listener that takes no more connections: its backlog is full, so that who connects waits for an answer.
struct deaf_listener {
  deaf_listener() : listener{tcp_listener::bind({.at = address::loopback(0), .backlog = 0})} {
    // Those that got no place stay without an answer as well.
    for (int i = 0; i < 4; ++i) waiting.push_back(connect_to(listener.local_address()));
  }

  tcp_listener listener;
  std::vector<unique_fd> waiting;
};

task<> connect_and_note(address peer, outcome& noted) { co_await observe(tcp_stream::connect(peer), noted); }

int option_of(const tcp_stream& stream, int level, int name) {
  int value = -1;
  ::socklen_t size = sizeof value;
  REQUIRE(::getsockopt(stream.fd().get(), level, name, &value, &size) == 0);
  return value;
}

}  // namespace

// --------------------------------------------------------------------------------------------------------- connect()

TEST_CASE("the two ends of a connection know each other's address") {
  const connection made;

  CHECK(made.ours->local_address() == made.theirs->peer_address());
  CHECK(made.ours->peer_address() == made.theirs->local_address());
  CHECK((::fcntl(made.ours->fd().get(), F_GETFD) & FD_CLOEXEC) != 0);
}

TEST_CASE("a connection over IPv6 carries bytes as well") {
  if (!has_ipv6_loopback()) return;
  connection made{address::parse("[::1]:0").value()};
  std::array<std::byte, 5> buffer{};

  made.loop.run(write_in_full(*made.ours, bytes_of("hello")));
  made.loop.run(read_in_full(*made.theirs, buffer));

  CHECK(made.ours->peer_address().is_v6());
  CHECK(std::ranges::equal(buffer, bytes_of("hello")));
}

TEST_CASE("connecting where nobody listens is refused, and the socket is closed") {
  executor loop;
  const unique_fd bound{::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
  const auto anywhere = address::loopback(0);
  REQUIRE(::bind(bound.get(), anywhere.data(), anywhere.size()) == 0);
  const auto nobody = tcp_stream{unique_fd{::dup(bound.get())}}.local_address();
  const std::size_t open_before = open_descriptors_count();
  outcome noted;

  loop.run(connect_and_note(nobody, noted));

  CHECK(noted.error == std::errc::connection_refused);
  CHECK(open_descriptors_count() == open_before);
}

TEST_CASE("who could not connect is told where to") {
  executor loop;
  const unique_fd bound{::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};  // and does not listen
  const auto anywhere = address::loopback(0);
  REQUIRE(::bind(bound.get(), anywhere.data(), anywhere.size()) == 0);
  const auto nobody = tcp_stream{unique_fd{::dup(bound.get())}}.local_address();
  std::string text;

  loop.run([&]() -> task<> {
    try {
      static_cast<void>(co_await tcp_stream::connect(nobody));
    } catch (const std::system_error& failed) {
      text = failed.what();
    }
  });

  CHECK(text == "connect " + nobody.to_string() + ": Connection refused");
}

TEST_CASE("connecting to what is no address of a peer is an error") {
  executor loop;
  outcome noted;

  loop.run(connect_and_note(address::parse("255.255.255.255:80").value(), noted));

  CHECK(noted.how == ended::with_error);
}

TEST_CASE("a connect that nobody answers times out, and the socket is closed") {
  const deaf_listener deaf;
  executor loop;
  const std::size_t open_before = open_descriptors_count();

  const auto connected = loop.run([&]() -> task<result<tcp_stream>> {
    co_return co_await as_result(with_timeout(5ms, tcp_stream::connect(deaf.listener.local_address())));
  });

  CHECK(connected.error() == std::errc::timed_out);
  CHECK(open_descriptors_count() == open_before);
}

TEST_CASE("a connect that is cancelled closes its socket, wherever it was") {
  const deaf_listener deaf;
  executor loop;
  const std::size_t open_before = open_descriptors_count();

  for (int turns_before = 0; turns_before < 6; ++turns_before) {
    CAPTURE(turns_before);
    outcome noted;
    auto connecting = loop.start(connect_and_note(deaf.listener.local_address(), noted));

    for (int i = 0; i < turns_before; ++i) loop.turn(/*may_park=*/false);
    connecting.cancel();
    turn_until_done(loop, connecting);

    CHECK(noted.how == ended::stopped);
    CHECK(open_descriptors_count() == open_before);
  }
}

TEST_CASE("a connect that meets a cancel connects or is stopped, and leaks no descriptor") {
  constexpr int rounds_count = 50;
  executor loop;
  auto listener = tcp_listener::bind({.at = address::loopback(0)});
  const std::size_t open_before = open_descriptors_count();

  for (int i = 0; i < rounds_count; ++i) {
    for (int turns_before = 0; turns_before < 5; ++turns_before) {
      outcome noted;
      auto connecting = loop.start(connect_and_note(listener.local_address(), noted));

      for (int turn = 0; turn < turns_before; ++turn) loop.turn(/*may_park=*/false);
      connecting.cancel();
      turn_until_done(loop, connecting);

      CHECK((noted.how == ended::stopped || noted.how == ended::with_value));
    }
  }

  CHECK(open_descriptors_count() == open_before);
}

// ------------------------------------------------------------------------------------------------- reading and writing

TEST_CASE("what one end writes the other reads, as much as is there") {
  connection made;
  std::array<std::byte, 64> buffer{};

  made.loop.run([&]() -> task<> {
    CHECK(co_await made.ours->write(bytes_of("hello")) == 5);
    CHECK(co_await made.theirs->read(buffer) == 5);
  });

  CHECK(std::ranges::equal(std::span{buffer}.first(5), bytes_of("hello")));
}

TEST_CASE("a read waits until something comes") {
  connection made;
  outcome noted;
  auto reading = made.loop.start(read_one(*made.theirs, noted));
  made.loop.run_ready();
  CHECK(noted.how == ended::not_yet);

  made.loop.run(write_in_full(*made.ours, bytes_of("x")));
  turn_until_done(made.loop, reading);

  CHECK(noted.how == ended::with_value);
}

TEST_CASE("a read is 0 when the peer has closed, after all that it wrote") {
  connection made;
  made.loop.run(write_in_full(*made.ours, bytes_of("last words")));
  made.ours.reset();

  const auto read = made.loop.run(read_to_end(*made.theirs));

  CHECK(std::ranges::equal(read, bytes_of("last words")));
}

TEST_CASE("a read that is stopped takes nothing from the connection") {
  connection made;
  outcome stopped_one;
  outcome next_one;
  auto reading = made.loop.start(read_one(*made.theirs, stopped_one));
  made.loop.run_ready();

  reading.cancel();
  turn_until_done(made.loop, reading);
  made.loop.run(write_in_full(*made.ours, bytes_of("x")));
  made.loop.run(read_one(*made.theirs, next_one));

  CHECK(stopped_one.how == ended::stopped);
  CHECK(next_one.how == ended::with_value);
}

TEST_CASE("bytes by the million go both ways at once, through a connection that takes few at a time") {
  const auto sent = telling_bytes(big_bytes);
  connection made;
  made.make_narrow();
  std::vector<std::byte> at_ours(big_bytes);
  std::vector<std::byte> at_theirs(big_bytes);

  made.loop.run([&]() -> task<> {
    co_await with_task_group([&](task_group& all) -> task<> {
      all.start(write_in_full(*made.ours, sent));
      all.start(write_in_full(*made.theirs, sent));
      all.start(read_in_full(*made.ours, at_ours));
      all.start(read_in_full(*made.theirs, at_theirs));
      co_return;
    });
  });

  CHECK((at_ours == sent));
  CHECK((at_theirs == sent));
}

TEST_CASE("write() says how much it took: what was told and what arrives is the same") {
  const auto sent = telling_bytes(big_bytes);
  connection made;
  made.make_narrow();
  const auto write_in_parts = [&]() -> task<> {
    for (std::span<const std::byte> rest{sent}; !rest.empty();) {
      const auto count = co_await made.ours->write(rest);
      REQUIRE(count >= 1);
      REQUIRE(count <= rest.size());
      rest = rest.subspan(count);
    }
    made.ours->shutdown_write();
  };

  auto writing = made.loop.start(write_in_parts());
  const auto received = made.loop.run(read_to_end(*made.theirs));
  turn_until_done(made.loop, writing);

  writing.get();
  CHECK((received == sent));
}

TEST_CASE("nothing to write and nothing to read is done at once") {
  connection made;

  made.loop.run(write_in_full(*made.ours, {}));
  made.loop.run(read_in_full(*made.ours, {}));
}

TEST_CASE("read_exactly() of a peer that closes early tells how much lies in the buffer") {
  connection made;
  std::array<std::byte, 64> buffer{};
  auto reading = made.loop.start(failure_of(made.theirs->read_exactly(buffer)));
  made.loop.run_ready();
  made.loop.run(write_in_full(*made.ours, bytes_of("half")));

  made.ours.reset();
  turn_until_done(made.loop, reading);

  const auto failed = reading.get();
  CHECK(failed.why == make_error_code(errc::end_of_stream));
  CHECK(failed.bytes == 4);
  CHECK(std::ranges::equal(std::span{buffer}.first(4), bytes_of("half")));
}

TEST_CASE("read_exactly() of a peer that had closed before tells that nothing came") {
  connection made;
  std::array<std::byte, 64> buffer{};
  made.ours.reset();

  const auto failed = made.loop.run(failure_of(made.theirs->read_exactly(buffer)));

  CHECK(failed.why == make_error_code(errc::end_of_stream));
  CHECK(failed.bytes == 0);
}

TEST_CASE("write_all() to a peer that resets tells how much was taken") {
  const auto bytes = telling_bytes(big_bytes);
  connection made;
  made.make_narrow();
  auto writing = made.loop.start(failure_of(made.ours->write_all(bytes)));
  made.loop.run_ready();
  CHECK(!writing.done());

  test::reset(*made.theirs);
  turn_until_done(made.loop, writing);

  const auto failed = writing.get();
  CHECK((failed.why == std::errc::connection_reset || failed.why == std::errc::broken_pipe));
  CHECK(failed.bytes > 0);
  CHECK(failed.bytes < bytes.size());
}

TEST_CASE("writing to a connection that is gone is an error and no signal") {
  connection made;
  test::reset(*made.theirs);
  const std::array<std::byte, 1> byte{};

  // The first may still hear of the reset; from the second on the connection is known to be gone.
  static_cast<void>(made.loop.run(failure_of(made.ours->write_all(byte))));
  const auto failed = made.loop.run(failure_of(made.ours->write_all(byte)));
  const auto written =
      made.loop.run([&]() -> task<result<std::size_t>> { co_return co_await as_result(made.ours->write(byte)); });

  CHECK(failed.why == std::errc::broken_pipe);
  CHECK(failed.bytes == 0);
  CHECK(written.error() == std::errc::broken_pipe);
}

TEST_CASE("a read from a peer that resets is connection_reset") {
  connection made;
  outcome noted;
  auto reading = made.loop.start(read_one(*made.ours, noted));
  made.loop.run_ready();

  test::reset(*made.theirs);
  turn_until_done(made.loop, reading);

  CHECK(noted.error == std::errc::connection_reset);
}

TEST_CASE("a read with a deadline times out, and the connection is as good as before") {
  connection made;
  std::array<std::byte, 1> buffer{};

  const auto late = made.loop.run(
      [&]() -> task<result<std::size_t>> { co_return co_await as_result(with_timeout(1ms, made.ours->read(buffer))); });
  made.loop.run(write_in_full(*made.theirs, bytes_of("x")));
  made.loop.run(read_in_full(*made.ours, buffer));

  CHECK(late.error() == std::errc::timed_out);
  CHECK(std::ranges::equal(buffer, bytes_of("x")));
}

// ------------------------------------------------------------------------------------------------------------ the end

TEST_CASE("who has shut down writing can still read") {
  connection made;
  made.loop.run(write_in_full(*made.ours, bytes_of("question")));
  made.ours->shutdown_write();

  const auto question = made.loop.run(read_to_end(*made.theirs));
  made.loop.run(write_in_full(*made.theirs, bytes_of("answer")));
  made.theirs.reset();
  const auto answer = made.loop.run(read_to_end(*made.ours));

  CHECK(std::ranges::equal(question, bytes_of("question")));
  CHECK(std::ranges::equal(answer, bytes_of("answer")));
}

TEST_CASE("what is written after shutdown_write() is broken_pipe") {
  connection made;
  made.ours->shutdown_write();

  const auto failed = made.loop.run(failure_of(made.ours->write_all(bytes_of("x"))));

  CHECK(failed.why == std::errc::broken_pipe);
}

TEST_CASE("a socket that is not connected says so") {
  tcp_stream unconnected{unique_fd{::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)}};
  const auto code_of = [](auto call) {
    try {
      call();
    } catch (const std::system_error& error) {
      return error.code();
    }
    return std::error_code{};
  };

  CHECK(code_of([&] { unconnected.shutdown_write(); }) == std::errc::not_connected);
  CHECK(code_of([&] { static_cast<void>(unconnected.peer_address()); }) == std::errc::not_connected);
}

TEST_CASE("close() ends what other tasks have in flight on the connection") {
  connection made;
  made.make_narrow();
  const std::size_t open_before = open_descriptors_count();
  const auto bytes = telling_bytes(big_bytes);
  outcome read_noted;
  auto reading = made.loop.start(read_one(*made.ours, read_noted));
  auto writing = made.loop.start(failure_of(made.ours->write_all(bytes)));
  made.loop.run_ready();

  made.loop.run(made.ours->close());
  turn_until_done(made.loop, reading);
  turn_until_done(made.loop, writing);

  CHECK(read_noted.error == std::errc::operation_canceled);
  const auto failed = writing.get();
  CHECK(failed.why == std::errc::broken_pipe);
  CHECK(failed.bytes > 0);
  CHECK(failed.bytes < bytes.size());
  CHECK(open_descriptors_count() == open_before - 1);
}

TEST_CASE("close() ends a read_exactly() that was half done, which tells what lies in the buffer") {
  connection made;
  std::array<std::byte, 64> buffer{};
  auto reading = made.loop.start(failure_of(made.ours->read_exactly(buffer)));
  made.loop.run_ready();
  made.loop.run(write_in_full(*made.theirs, bytes_of("half")));
  made.loop.run_ready();

  made.loop.run(made.ours->close());
  turn_until_done(made.loop, reading);

  const auto failed = reading.get();
  CHECK(failed.why == std::errc::operation_canceled);
  CHECK(failed.bytes == 4);
}

TEST_CASE("close() ends a read_exactly() that nothing has come for as cancelled") {
  connection made;
  std::array<std::byte, 64> buffer{};
  auto reading = made.loop.start(failure_of(made.ours->read_exactly(buffer)));
  made.loop.run_ready();

  made.loop.run(made.ours->close());
  turn_until_done(made.loop, reading);

  const auto failed = reading.get();
  CHECK(failed.why == std::errc::operation_canceled);
  CHECK(failed.bytes == 0);
}

TEST_CASE("what is asked of a stream that was closed is bad_file_descriptor") {
  connection made;
  made.loop.run(made.ours->close());
  outcome read_noted;

  made.loop.run(read_one(*made.ours, read_noted));
  const auto failed = made.loop.run(failure_of(made.ours->write_all(bytes_of("x"))));

  CHECK(read_noted.error == std::errc::bad_file_descriptor);
  CHECK(failed.why == std::errc::bad_file_descriptor);
}

TEST_CASE("close() with nothing in flight closes: the peer reads the end") {
  connection made;
  const std::size_t open_before = open_descriptors_count();

  made.loop.run(made.ours->close());

  CHECK(open_descriptors_count() == open_before - 1);
  CHECK(made.loop.run(read_to_end(*made.theirs)).empty());
}

TEST_CASE("a close() that is stopped has closed, wherever it was") {
  for (int turns_before = 0; turns_before < 5; ++turns_before) {
    CAPTURE(turns_before);
    connection made;
    auto closing = made.loop.start(made.ours->close());

    for (int i = 0; i < turns_before; ++i) made.loop.turn(/*may_park=*/false);
    closing.cancel();
    turn_until_done(made.loop, closing);
    made.ours.reset();

    CHECK(made.loop.run(read_to_end(*made.theirs)).empty());
  }
}

TEST_CASE("a close() that is stopped ends what is in flight all the same, wherever it was") {
  for (int turns_before = 1; turns_before < 5; ++turns_before) {
    CAPTURE(turns_before);
    connection made;
    std::array<std::byte, 4> buffer{};
    outcome noted;
    auto reading = made.loop.start(observe(made.ours->read(buffer), noted));
    made.loop.run_ready();
    auto closing = made.loop.start(made.ours->close());

    for (int i = 0; i < turns_before; ++i) made.loop.turn(/*may_park=*/false);
    closing.cancel();
    turn_until_done(made.loop, closing);
    turn_until_done(made.loop, reading);

    CHECK(noted.error == std::errc::operation_canceled);
    CHECK(made.loop.run(read_to_end(*made.theirs)).empty());
  }
}

TEST_CASE("a stream that is destroyed closes; one whose socket was given away does not") {
  connection made;
  const std::size_t open_before = open_descriptors_count();

  const unique_fd kept = made.ours->release();
  made.ours.reset();
  CHECK(open_descriptors_count() == open_before);
  made.theirs.reset();

  CHECK(open_descriptors_count() == open_before - 1);
}

TEST_CASE("small writes are held back or not, as set_no_delay() says") {
  connection made;

  made.ours->set_no_delay(true);
  CHECK(option_of(*made.ours, IPPROTO_TCP, TCP_NODELAY) != 0);

  made.ours->set_no_delay(false);
  CHECK(option_of(*made.ours, IPPROTO_TCP, TCP_NODELAY) == 0);
}

// ------------------------------------------------------------------------------------------------------------ reset()

TEST_CASE("a reset is no end: the peer hears connection_reset, and of what was on its way nothing") {
  connection made;
  made.loop.run(write_in_full(*made.theirs, bytes_of("never read")));
  const std::size_t open_before = open_descriptors_count();
  outcome noted;

  made.loop.run(made.ours->reset());
  made.loop.run(read_one(*made.theirs, noted));

  CHECK(noted.error == std::errc::connection_reset);
  CHECK(open_descriptors_count() == open_before - 1);
}

TEST_CASE("a reset after shutdown_write(), and after the peer's, is one as well") {
  for (const bool ours_first : {true, false}) {
    CAPTURE(ours_first);
    connection made;
    (ours_first ? made.ours : made.theirs)->shutdown_write();
    outcome noted;

    made.loop.run(made.ours->reset());
    std::array<std::byte, 1> byte{};
    const auto failed = made.loop.run(failure_of(made.theirs->write_all(byte)));

    CHECK((failed.why == std::errc::connection_reset || failed.why == std::errc::broken_pipe));
  }
}

TEST_CASE("reset() ends what other tasks have in flight on the connection") {
  connection made;
  made.make_narrow();
  const auto bytes = telling_bytes(big_bytes);
  outcome read_noted;
  auto reading = made.loop.start(read_one(*made.ours, read_noted));
  auto writing = made.loop.start(failure_of(made.ours->write_all(bytes)));
  made.loop.run_ready();

  made.loop.run(made.ours->reset());
  turn_until_done(made.loop, reading);
  turn_until_done(made.loop, writing);

  CHECK((read_noted.error == std::errc::connection_reset || read_noted.error == std::errc::operation_canceled));
  const auto failed = writing.get();
  CHECK((failed.why == std::errc::connection_reset || failed.why == std::errc::broken_pipe));
  CHECK(failed.bytes > 0);
  CHECK(failed.bytes < bytes.size());
}

TEST_CASE("a reset that is stopped is one at once, also where a read is in flight, and closes") {
  for (int turns_before = 0; turns_before < 5; ++turns_before) {
    CAPTURE(turns_before);
    connection made;
    const std::size_t open_before = open_descriptors_count();
    outcome read_noted;
    outcome peer_noted;
    auto reading = made.loop.start(read_one(*made.ours, read_noted));
    made.loop.run_ready();

    auto resetting = made.loop.start(made.ours->reset());
    for (int i = 0; i < turns_before; ++i) made.loop.turn(/*may_park=*/false);
    resetting.cancel();
    turn_until_done(made.loop, resetting);
    made.loop.run(read_one(*made.theirs, peer_noted));
    turn_until_done(made.loop, reading);

    CHECK(peer_noted.error == std::errc::connection_reset);
    CHECK(read_noted.how == ended::with_error);
    CHECK(open_descriptors_count() == open_before - 1);
  }
}

TEST_CASE("bytes that are read one at a time are the same bytes") {
  const auto sent = telling_bytes(10'000);
  connection made;
  made.loop.run(write_in_full(*made.ours, sent));
  made.ours.reset();

  const auto received = made.loop.run([&]() -> task<std::vector<std::byte>> {
    std::vector<std::byte> all;
    std::array<std::byte, 1> byte{};
    while (co_await made.theirs->read(byte)) all.push_back(byte[0]);
    co_return all;
  });

  CHECK((received == sent));
}

TEST_CASE("out-of-band data is passed over by a read, which gives what lies around it") {
  connection made;
  REQUIRE(::send(made.ours->fd().get(), "ab", 2, MSG_OOB) == 2);  // the last byte is the urgent one
  made.loop.run(write_in_full(*made.ours, bytes_of("cd")));
  made.ours.reset();

  const auto received = made.loop.run(read_to_end(*made.theirs));

  CHECK(text_of(received) == "acd");
}

TEST_CASE("a peer that never reads holds up a write, which a deadline ends, and no read") {
  const auto bytes = telling_bytes(big_bytes);
  connection made;
  made.make_narrow();
  std::array<std::byte, 1> byte{};

  const auto late = made.loop.run([&]() -> task<result<void>> {
    co_return co_await as_result(with_timeout(1ms, write_in_full(*made.ours, bytes)));
  });
  made.loop.run(write_in_full(*made.theirs, bytes_of("x")));
  made.loop.run(read_in_full(*made.ours, byte));

  CHECK(late.error() == std::errc::timed_out);
  CHECK(text_of(byte) == "x");
}

TEST_CASE("text is written as it is") {
  connection made;
  const std::string name = "world";

  made.loop.run([&]() -> task<> {
    co_await made.ours->write_all("hello, ");
    co_await made.ours->write_all(name);
    made.ours.reset();
  });

  CHECK(text_of(made.loop.run(read_to_end(*made.theirs))) == "hello, world");
}

}  // namespace gyre::net
