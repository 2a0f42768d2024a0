// SPDX-License-Identifier: MIT
// Unix streams: connecting, who is at the other end, and descriptors that go through them.
#include <gyre/net/unix_address.hpp>
#include <gyre/net/unix_credentials.hpp>
#include <gyre/net/unix_listener.hpp>
#include <gyre/net/unix_stream.hpp>
#include <gyre/runtime/error.hpp>
#include <gyre/runtime/executor.hpp>
#include <gyre/runtime/ops/poll.hpp>

#include "../support/child.hpp"
#include "../support/outcome.hpp"
#include "../support/scarce_descriptors.hpp"
#include "../support/skip.hpp"
#include "../support/temp_folder.hpp"
#include "../support/turning.hpp"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <cstddef>
#include <ostream>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

namespace gyre::net {
namespace {

using namespace test;

std::span<const std::byte> bytes_of(const std::string& text) { return std::as_bytes(std::span{text}); }

// A listener on a path of its own.
struct on_path {
  on_path() : listener{loop.run(unix_listener::bind({.at = at}))} {}
  temp_folder folder;
  executor loop;
  unix_address at = unix_address::path(folder.file("a.sock")).value();
  unix_listener listener;
};

// A pipe, one end of which goes elsewhere.
struct pipe_ends {
  pipe_ends() {
    std::array<int, 2> ends{};
    REQUIRE(::pipe2(ends.data(), O_CLOEXEC) == 0);
    read_end.reset(ends[0]);
    write_end.reset(ends[1]);
  }
  unique_fd read_end;
  unique_fd write_end;
};

bool is_same_file(fd_ref left, fd_ref right) {
  struct ::stat of_left{};
  struct ::stat of_right{};
  REQUIRE(::fstat(left.get(), &of_left) == 0);
  REQUIRE(::fstat(right.get(), &of_right) == 0);
  return of_left.st_dev == of_right.st_dev && of_left.st_ino == of_right.st_ino;
}

task<> connect_and_note(unix_address at, outcome& noted) { co_await observe(unix_stream::connect(at), noted); }

task<> receive_and_note(unix_stream& from, std::span<std::byte> buffer, outcome& noted) {
  co_await observe(from.receive_with_descriptors(buffer), noted);
}

task<> send_and_note(unix_stream& to, std::span<const std::byte> bytes, std::span<const fd_ref> descriptors,
                     outcome& noted) {
  co_await observe(to.send_with_descriptors(bytes, descriptors), noted);
}

}  // namespace

// --------------------------------------------------------------------------------------------------------- connecting

TEST_CASE("what is written at one end is read at the other, over a path and over a name") {
  const temp_folder folder;
  for (const auto& at : {unix_address::path(folder.file("a.sock")).value(),
                         unix_address::abstract(folder.path() + std::string(1, '\0') + "x").value()}) {
    executor loop;
    auto listener = loop.run(unix_listener::bind({.at = at}));
    auto client = loop.run(unix_stream::connect(at));
    auto server = loop.run(listener.accept());
    std::array<std::byte, 5> buffer{};

    loop.run([&]() -> task<> {
      co_await client.write_all(bytes_of("hello"));
      co_await server.read_exactly(buffer);
    });

    CHECK(std::string{reinterpret_cast<const char*>(buffer.data()), buffer.size()} == "hello");
    CHECK(client.peer_address() == at);
    CHECK(client.local_address().is_unnamed());
    CHECK(server.local_address() == at);
    CHECK(server.peer_address().is_unnamed());
  }
}

TEST_CASE("connecting where nobody listens is an error that says how far it got, and leaks no descriptor") {
  const temp_folder folder;
  executor loop;
  const std::size_t open_before = open_descriptors_count();
  const auto error_of = [&](unix_address at) {
    outcome noted;
    loop.run(connect_and_note(at, noted));
    return noted.error;
  };
  {
    auto listener = loop.run(unix_listener::bind({.at = unix_address::path(folder.file("gone.sock")).value()}));
  }

  CHECK(error_of(unix_address::path(folder.file("none.sock")).value()) == std::errc::no_such_file_or_directory);
  CHECK(error_of(unix_address::path(folder.file("gone.sock")).value()) == std::errc::connection_refused);
  CHECK(error_of(unix_address::path(folder.file("plain", "a file")).value()) == std::errc::connection_refused);
  CHECK(error_of(unix_address::abstract(folder.path()).value()) == std::errc::connection_refused);
  CHECK(error_of(unix_address{}) == std::errc::invalid_argument);
  loop.run_ready();
  CHECK(open_descriptors_count() == open_before);
}

TEST_CASE("connecting to a full backlog waits until there is room, or is stopped") {
  const temp_folder folder;
  executor loop;
  const auto at = unix_address::path(folder.file("a.sock")).value();
  auto listener = loop.run(unix_listener::bind({.at = at, .backlog = 0}));
  const auto first = loop.run(unix_stream::connect(at));
  outcome waits;
  outcome is_stopped;
  auto waiting = loop.start(connect_and_note(at, waits));
  auto stopping = loop.start(connect_and_note(at, is_stopped));
  while (loop.timers().size() < 2) loop.turn(/*may_park=*/true);
  CHECK(waits.how == ended::not_yet);

  stopping.cancel();
  turn_until_done(loop, stopping);
  static_cast<void>(loop.run(listener.accept()));
  turn_until_done(loop, waiting);

  CHECK(is_stopped.how == ended::stopped);
  CHECK(waits.how == ended::with_value);
}

TEST_CASE("a pair is connected to itself") {
  executor loop;
  auto [here, there] = unix_stream::pair();
  std::array<std::byte, 3> buffer{};

  loop.run([](unix_stream& from, unix_stream& to, std::span<std::byte> into) -> task<> {
    co_await from.write_all(bytes_of("abc"));
    co_await to.read_exactly(into);
  }(here, there, buffer));

  CHECK(buffer[2] == std::byte{'c'});
  CHECK((::fcntl(here.fd().get(), F_GETFD) & FD_CLOEXEC) != 0);
  CHECK(here.peer_address().is_unnamed());
}

// ---------------------------------------------------------------------------------------------------------- the other

TEST_CASE("the kernel says who is at the other end") {
  const auto ends = unix_stream::pair();

  const auto peer = ends.first.peer_credentials();

  CHECK(peer == unix_credentials{.process = ::getpid(), .user = ::geteuid(), .group = ::getegid()});
}

TEST_CASE("who has connected is told as a process, which stays the same one when it has ended") {
  on_path subject;
  executor& loop = subject.loop;
  child client{[&] {
    const unique_fd socket{::socket(AF_UNIX, SOCK_STREAM, 0)};
    if (::connect(socket.get(), subject.at.data(), subject.at.size()) != 0) return 1;
    const ::pid_t self = ::getpid();
    static_cast<void>(::write(socket.get(), &self, sizeof self));
    ::pause();
    return 0;
  }};
  auto server = loop.run(subject.listener.accept());
  ::pid_t its_number = 0;
  loop.run([&]() -> task<> { co_await server.read_exactly(std::as_writable_bytes(std::span{&its_number, 1})); });
  CHECK(server.peer_credentials().process == its_number);

  unique_fd process;
  try {
    process = server.peer_process();
  } catch (const std::system_error& error) {
    REQUIRE(error.code() == std::errc::no_protocol_option);
    SAY_SKIPPED("this kernel has no SO_PEERPIDFD, Linux 6.5 has");
    return;
  }
  ::pollfd has_ended{.fd = process.get(), .events = POLLIN, .revents = 0};
  CHECK(::poll(&has_ended, 1, 0) == 0);
  CHECK((::fcntl(process.get(), F_GETFD) & FD_CLOEXEC) != 0);

  client.signal(SIGKILL);
  const auto events = loop.run([&]() -> task<unsigned> { co_return co_await ops::poll(process, POLLIN); });

  CHECK((events & POLLIN) != 0);
}

TEST_CASE("a socket that is not connected has no process at its other end") {
  const unix_stream unconnected{unique_fd{::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)}};

  CHECK_THROWS_AS(static_cast<void>(unconnected.peer_process()), std::system_error);
  CHECK_THROWS_AS(static_cast<void>(unconnected.peer_address()), std::system_error);
}

// -------------------------------------------------------------------------------------------------------- descriptors

TEST_CASE("descriptors come with the bytes that they were sent with, in their order") {
  executor loop;
  auto ends = unix_stream::pair();
  pipe_ends sent;
  std::array<std::byte, 16> buffer{};

  const auto received = loop.run([&]() -> task<received_descriptors> {
    const std::array<fd_ref, 2> both{sent.read_end, sent.write_end};
    co_await ends.first.send_with_descriptors(bytes_of("a pipe"), both);
    co_return co_await ends.second.receive_with_descriptors(buffer, 2);
  });

  CHECK(received.bytes == 6);
  CHECK(!received.descriptors_were_lost);
  REQUIRE(received.descriptors.size() == 2);
  CHECK(is_same_file(received.descriptors[0], sent.read_end));
  CHECK((::fcntl(received.descriptors[0].get(), F_GETFL) & O_ACCMODE) == O_RDONLY);
  CHECK((::fcntl(received.descriptors[1].get(), F_GETFL) & O_ACCMODE) == O_WRONLY);
  CHECK((::fcntl(received.descriptors[0].get(), F_GETFD) & FD_CLOEXEC) != 0);
}

TEST_CASE("bytes without descriptors are received as such, and an end is an end") {
  executor loop;
  auto ends = unix_stream::pair();
  std::array<std::byte, 16> buffer{};

  const auto [plain, at_end] = loop.run([&]() -> task<std::pair<received_descriptors, received_descriptors>> {
    co_await ends.first.send_with_descriptors(bytes_of("abc"), {});
    auto first = co_await ends.second.receive_with_descriptors(buffer);
    ends.first.shutdown_write();
    auto second = co_await ends.second.receive_with_descriptors(buffer);
    co_return std::pair{std::move(first), std::move(second)};
  });

  CHECK(plain.bytes == 3);
  CHECK(plain.descriptors.empty());
  CHECK(at_end.bytes == 0);
  CHECK(!at_end.descriptors_were_lost);
}

TEST_CASE("bytes that were sent with different descriptors are received apart") {
  executor loop;
  auto ends = unix_stream::pair();
  pipe_ends sent;
  std::array<std::byte, 16> buffer{};
  std::vector<int> modes_received;

  loop.run([&]() -> task<> {
    const std::array<fd_ref, 1> first{sent.read_end};
    const std::array<fd_ref, 1> second{sent.write_end};
    co_await ends.first.write_all(bytes_of("none"));
    co_await ends.first.send_with_descriptors(bytes_of("a"), first);
    co_await ends.first.send_with_descriptors(bytes_of("bc"), second);
    for (std::size_t bytes = 0; bytes < 7;) {
      const auto received = co_await ends.second.receive_with_descriptors(buffer, 10);
      bytes += received.bytes;
      CHECK(received.descriptors.size() <= 1);
      for (const auto& each : received.descriptors) modes_received.push_back(::fcntl(each.get(), F_GETFL) & O_ACCMODE);
    }
  });

  CHECK(modes_received == std::vector{O_RDONLY, O_WRONLY});
}

TEST_CASE("more descriptors than were asked for are closed, and that is told") {
  executor loop;
  auto ends = unix_stream::pair();
  pipe_ends sent;
  std::array<std::byte, 16> buffer{};
  const std::vector<fd_ref> three(3, sent.read_end);

  for (std::size_t most = 0; most <= 3; ++most) {
    const std::size_t open_before = open_descriptors_count();
    loop.run([&]() -> task<> {
      co_await ends.first.send_with_descriptors(bytes_of("x"), three);
      const auto received = co_await ends.second.receive_with_descriptors(buffer, most);
      CHECK(received.descriptors.size() == most);
      CHECK(received.descriptors_were_lost == (most < 3));
      CHECK(open_descriptors_count() == open_before + most);
    });
    CHECK(open_descriptors_count() == open_before);
  }
}

TEST_CASE("a process that may open no more files hears that descriptors were lost") {
  executor loop;
  auto ends = unix_stream::pair();
  pipe_ends sent;
  std::array<std::byte, 16> buffer{};

  const auto received = loop.run([&]() -> task<received_descriptors> {
    const std::array<fd_ref, 1> one{sent.read_end};
    co_await ends.first.send_with_descriptors(bytes_of("x"), one);
    const no_descriptor_left meanwhile;
    co_return co_await ends.second.receive_with_descriptors(buffer);
  });

  CHECK(received.bytes == 1);
  CHECK(received.descriptors.empty());
  CHECK(received.descriptors_were_lost);
}

TEST_CASE("descriptors without bytes, too many of them, and one that is none are refused before anything is sent") {
  executor loop;
  auto ends = unix_stream::pair();
  const auto error_of = [&](const std::string& text, std::vector<fd_ref> descriptors) {
    outcome noted;
    loop.run(send_and_note(ends.first, bytes_of(text), descriptors, noted));
    return noted.error;
  };
  const fd_ref good = ends.second.fd();
  const int closed = ::dup(good.get());
  ::close(closed);

  CHECK(error_of("", {good}) == std::errc::invalid_argument);
  CHECK(error_of("x", std::vector<fd_ref>(254, good)) == std::errc::invalid_argument);
  CHECK(error_of("x", {good, fd_ref{-1}}) == std::errc::bad_file_descriptor);
  CHECK(error_of("x", {fd_ref{closed}}) == std::errc::bad_file_descriptor);
  std::byte nothing{};
  CHECK(::recv(good.get(), &nothing, 1, MSG_DONTWAIT) == -1);
  CHECK(error_of("x", std::vector<fd_ref>(253, good)).value() == 0);
}

TEST_CASE("whatever keeps descriptors from being sent is told with how much was taken: nothing") {
  executor loop;
  auto ends = unix_stream::pair();
  auto closed_one = unix_stream::pair().first;
  const auto bytes_told = [&](unix_stream& from, const std::string& text, const std::vector<fd_ref>& descriptors) {
    try {
      loop.run([&]() -> task<> { co_await from.send_with_descriptors(bytes_of(text), descriptors); });
    } catch (const transfer_error& failed) {
      CHECK(std::string_view{failed.what()}.starts_with("send_with_descriptors: "));
      return static_cast<int>(failed.bytes());
    }
    return -1;
  };
  const fd_ref good = ends.second.fd();

  CHECK(bytes_told(ends.first, "", {good}) == 0);
  CHECK(bytes_told(ends.first, "x", std::vector<fd_ref>(254, good)) == 0);
  CHECK(bytes_told(ends.first, "x", {fd_ref{-1}}) == 0);
  CHECK(bytes_told(closed_one, "x", {good}) == 0);
}

TEST_CASE("a failure to connect names the path") {
  const temp_folder folder;
  executor loop;
  const auto at = unix_address::path(folder.file("none.sock")).value();

  std::string text;
  try {
    static_cast<void>(loop.run(unix_stream::connect(at)));
  } catch (const std::system_error& failed) {
    text = failed.what();
  }

  CHECK(text == "connect " + at.to_string() + ": No such file or directory");
}

TEST_CASE("a long message goes whole, and its descriptors once") {
  constexpr std::size_t bytes_count = 4'000'000;
  executor loop;
  auto ends = unix_stream::pair();
  const std::vector<std::byte> sent(bytes_count, std::byte{7});
  std::vector<std::byte> buffer(100'000);
  outcome noted;
  const std::array<fd_ref, 1> one{ends.first.fd()};
  auto sending = loop.start(send_and_note(ends.first, sent, one, noted));

  std::size_t bytes = 0;
  std::size_t descriptors = 0;
  loop.run([&]() -> task<> {
    while (bytes < bytes_count) {
      const auto received = co_await ends.second.receive_with_descriptors(buffer);
      bytes += received.bytes;
      descriptors += received.descriptors.size();
    }
  });
  turn_until_done(loop, sending);

  CHECK(noted.how == ended::with_value);
  CHECK(bytes == bytes_count);
  CHECK(descriptors == 1);
}

TEST_CASE("a message whose reader goes says how much of it was taken") {
  executor loop;
  auto ends = unix_stream::pair();
  const std::vector<std::byte> sent(4'000'000);
  std::size_t taken = 0;
  std::error_code why;
  const auto send = [&]() -> task<> {
    try {
      co_await ends.first.send_with_descriptors(sent, {});
    } catch (const transfer_error& failed) {
      taken = failed.bytes();
      why = failed.code();
    }
  };
  auto sending = loop.start(send());
  for (int i = 0; i < 10; ++i) loop.turn(/*may_park=*/false);
  CHECK(!sending.done());

  {
    const auto gone = std::move(ends.second);
  }
  turn_until_done(loop, sending);

  CHECK(why == std::errc::broken_pipe);
  CHECK(taken > 0);
  CHECK(taken < sent.size());
}

TEST_CASE("a stop that meets descriptors delivers them or leaves them, and leaks none") {
  constexpr int rounds_count = 100;
  enum class order { sent_first, waits_then_both, cancel_first };
  executor loop;
  auto ends = unix_stream::pair();
  pipe_ends sent;
  const std::size_t open_before = open_descriptors_count();

  for (int i = 0; i < rounds_count; ++i) {
    for (const auto which : {order::sent_first, order::waits_then_both, order::cancel_first}) {
      std::array<std::byte, 1> buffer{};
      outcome noted;
      const std::array<fd_ref, 1> one{sent.read_end};
      auto receiving = loop.start(receive_and_note(ends.second, buffer, noted));
      if (which != order::sent_first) loop.turn(/*may_park=*/false);
      if (which == order::cancel_first) receiving.cancel();
      outcome of_sending;
      auto sending = loop.start(send_and_note(ends.first, bytes_of("x"), one, of_sending));
      if (which != order::sent_first) loop.turn(/*may_park=*/false);
      receiving.cancel();
      turn_until_done(loop, receiving);
      turn_until_done(loop, sending);

      if (noted.how == ended::stopped) {
        CHECK(loop.run(ends.second.receive_with_descriptors(buffer)).descriptors.size() == 1);
      }
      CHECK((noted.how == ended::stopped || noted.how == ended::with_value));
    }
  }

  CHECK(open_descriptors_count() == open_before);
}

TEST_CASE("a send of descriptors that waits for room can be stopped") {
  executor loop;
  auto ends = unix_stream::pair();
  const std::vector<std::byte> sent(4'000'000);
  outcome noted;
  const std::array<fd_ref, 1> one{ends.first.fd()};
  auto sending = loop.start(send_and_note(ends.first, sent, one, noted));
  for (int i = 0; i < 10; ++i) loop.turn(/*may_park=*/false);

  sending.cancel();
  turn_until_done(loop, sending);

  CHECK(sending.stopped());
}

}  // namespace gyre::net
