// SPDX-License-Identifier: MIT
// Datagrams of Unix sockets: whole, in order, with their senders, their descriptors, and what did not fit.
#include <gyre/net/unix_address.hpp>
#include <gyre/net/unix_credentials.hpp>
#include <gyre/net/unix_datagram.hpp>
#include <gyre/runtime/executor.hpp>
#include <gyre/runtime/unique_fd.hpp>

#include "../support/outcome.hpp"
#include "../support/scarce_descriptors.hpp"
#include "../support/temp_folder.hpp"
#include "../support/turning.hpp"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <filesystem>
#include <memory>
#include <ostream>
#include <span>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

namespace gyre::net {
namespace {

using namespace test;

std::span<const std::byte> bytes_of(const std::string& text) { return std::as_bytes(std::span{text}); }

// A socket on a path, and one on a name that the kernel chose.
struct on_path {
  on_path() : bound{loop.run(unix_datagram::bind({.at = at}))}, client{loop.run(unix_datagram::bind({}))} {}

  temp_folder folder;
  unix_address at = unix_address::path(folder.file("a.sock")).value();
  executor loop;
  unix_datagram bound;
  unix_datagram client;
  std::array<std::byte, 16> buffer{};

  std::string text(const received_unix_datagram& received) const {
    return {reinterpret_cast<const char*>(buffer.data()), received.bytes};
  }
};

task<> send_and_note(unix_datagram& from, std::span<const std::byte> bytes, outcome& noted) {
  co_await observe(from.send(bytes), noted);
}

task<> send_to_and_note(unix_datagram& from, unix_address to, outcome& noted) {
  co_await observe(from.send_to({}, to), noted);
}

task<> connect_and_note(unix_datagram& from, unix_address to, outcome& noted) {
  co_await observe(from.connect(to), noted);
}

task<> close_and_note(unix_datagram& closed, outcome& noted) { co_await observe(closed.close(), noted); }

task<> receive_and_note(unix_datagram& by, std::span<std::byte> buffer, outcome& noted) {
  co_await observe(by.receive_from(buffer, 1), noted);
}

// Sends until nobody takes any more.
std::size_t fill(unix_datagram& from, const unix_address& to) {
  std::size_t count = 0;
  while (::sendto(from.fd().get(), "x", 1, MSG_DONTWAIT, to.data(), to.size()) == 1) ++count;
  return count;
}

}  // namespace

TEST_CASE("a datagram comes with its sender's address, and can be answered") {
  on_path subject;

  subject.loop.run([&]() -> task<> {
    co_await subject.client.send_to(bytes_of("question"), subject.at);
    const auto question = co_await subject.bound.receive_from(subject.buffer);
    CHECK(subject.text(question) == "question");
    CHECK(question.source == subject.client.local_address());
    co_await subject.bound.send_to(bytes_of("answer"), question.source);
    const auto answer = co_await subject.client.receive_from(subject.buffer);
    CHECK(subject.text(answer) == "answer");
    CHECK(answer.source == subject.at);
  });
}

TEST_CASE("who is bound to nothing can send, and has no address") {
  on_path subject;
  auto sender = unix_datagram::unbound();

  const auto received = subject.loop.run([&]() -> task<received_unix_datagram> {
    co_await sender.send_to(bytes_of("x"), subject.at);
    co_return co_await subject.bound.receive_from(subject.buffer);
  });

  CHECK(received.source.is_unnamed());
  CHECK(sender.local_address().is_unnamed());
}

TEST_CASE("a pair sends both ways, each datagram for itself, empty ones too") {
  executor loop;
  auto ends = unix_datagram::pair();
  std::array<std::byte, 16> buffer{};
  std::vector<std::size_t> sizes;

  loop.run([&]() -> task<> {
    for (const auto* each : {"abc", "", "d"}) co_await ends.first.send(bytes_of(each));
    for (int i = 0; i < 3; ++i) sizes.push_back((co_await ends.second.receive_from(buffer)).bytes);
    co_await ends.second.send(bytes_of("back"));
    sizes.push_back((co_await ends.first.receive_from(buffer)).bytes);
  });

  CHECK(sizes == std::vector<std::size_t>{3, 0, 1, 4});
}

TEST_CASE("a datagram that does not fit is cut, and says how long it was") {
  on_path subject;

  const auto received = subject.loop.run([&]() -> task<received_unix_datagram> {
    co_await subject.client.send_to(bytes_of(std::string(100, 'x')), subject.at);
    co_return co_await subject.bound.receive_from(subject.buffer);
  });

  CHECK(received.is_truncated());
  CHECK(received.bytes == subject.buffer.size());
  CHECK(received.datagram_bytes == 100);
}

TEST_CASE("a connected socket sends to its peer, and hears it alone") {
  on_path subject;
  auto stranger = unix_datagram::unbound();
  outcome noted;

  subject.loop.run([&]() -> task<> {
    co_await subject.bound.connect(subject.client.local_address());
    co_await subject.bound.send(bytes_of("x"));
    CHECK((co_await subject.client.receive_from(subject.buffer)).source == subject.at);
  });
  subject.loop.run(send_to_and_note(stranger, subject.at, noted));

  CHECK(subject.bound.peer_address() == subject.client.local_address());
  CHECK(noted.error == std::errc::operation_not_permitted);
}

TEST_CASE("what cannot be sent is an error that says why") {
  on_path subject;
  const auto gone = unix_address::path(subject.folder.file("gone")).value();
  {
    const auto was_there = subject.loop.run(unix_datagram::bind({.at = gone}));
  }
  const auto none = unix_address::path(subject.folder.file("none")).value();
  const auto error_of = [&](const unix_address& to) {
    outcome noted;
    subject.loop.run(send_to_and_note(subject.client, to, noted));
    return noted.error;
  };
  outcome not_connected;
  outcome of_connect;
  subject.loop.run(send_and_note(subject.client, {}, not_connected));
  subject.loop.run(connect_and_note(subject.client, gone, of_connect));

  CHECK(error_of(gone) == std::errc::connection_refused);
  CHECK(error_of(none) == std::errc::no_such_file_or_directory);
  CHECK(not_connected.error == std::errc::not_connected);
  CHECK(of_connect.error == std::errc::connection_refused);
  outcome too_long;
  subject.loop.run(connect_and_note(subject.client, subject.at, of_connect));
  const std::vector<std::byte> much(10'000'000);
  subject.loop.run(send_and_note(subject.client, much, too_long));
  CHECK(too_long.error == std::errc::message_size);
}

TEST_CASE("a sender waits while the receiver's queue is full, and can be stopped") {
  on_path subject;
  outcome waits;
  outcome is_stopped;
  subject.loop.run(subject.client.connect(subject.at));
  REQUIRE(fill(subject.client, subject.at) > 0);
  auto waiting = subject.loop.start(send_and_note(subject.client, {}, waits));
  auto stopping = subject.loop.start(send_and_note(subject.client, {}, is_stopped));
  for (int i = 0; i < 5; ++i) subject.loop.turn(/*may_park=*/false);
  CHECK(waits.how == ended::not_yet);

  stopping.cancel();
  turn_until_done(subject.loop, stopping);
  static_cast<void>(subject.loop.run(subject.bound.receive_from(subject.buffer)));
  turn_until_done(subject.loop, waiting);

  CHECK(is_stopped.how == ended::stopped);
  CHECK(waits.how == ended::with_value);
}

TEST_CASE("who is not connected waits for a full queue too, and can be stopped") {
  on_path subject;
  outcome waits;
  outcome is_stopped;
  REQUIRE(fill(subject.client, subject.at) > 0);
  auto waiting = subject.loop.start(send_to_and_note(subject.client, subject.at, waits));
  auto stopping = subject.loop.start(send_to_and_note(subject.client, subject.at, is_stopped));
  while (subject.loop.timers().size() < 2) subject.loop.turn(/*may_park=*/true);
  CHECK(waits.how == ended::not_yet);

  stopping.cancel();
  turn_until_done(subject.loop, stopping);
  static_cast<void>(subject.loop.run(subject.bound.receive_from(subject.buffer)));
  turn_until_done(subject.loop, waiting);

  CHECK(is_stopped.how == ended::stopped);
  CHECK(waits.how == ended::with_value);
}

// -------------------------------------------------------------------------------------------------------- descriptors

TEST_CASE("descriptors come with a datagram, also with one of no bytes") {
  on_path subject;

  for (const auto* text : {"x", ""}) {
    const auto received = subject.loop.run([&]() -> task<received_unix_datagram> {
      const std::array<fd_ref, 2> both{subject.client.fd(), subject.bound.fd()};
      co_await subject.client.send_with_descriptors(bytes_of(text), both, subject.at);
      co_return co_await subject.bound.receive_from(subject.buffer, 2);
    });

    REQUIRE(received.descriptors.size() == 2);
    CHECK(!received.descriptors_were_lost);
    CHECK((::fcntl(received.descriptors[0].get(), F_GETFD) & FD_CLOEXEC) != 0);
    CHECK(unix_datagram{unique_fd{::dup(received.descriptors[1].get())}}.local_address() == subject.at);
  }
}

TEST_CASE("more descriptors than were asked for are closed, and that is told") {
  executor loop;
  auto ends = unix_datagram::pair();
  std::array<std::byte, 16> buffer{};
  const std::vector<fd_ref> many(20, ends.first.fd());

  for (std::size_t most : {0U, 1U, 7U, 19U, 20U, 1000U}) {
    const std::size_t open_before = open_descriptors_count();
    loop.run([&]() -> task<> {
      co_await ends.first.send_with_descriptors(bytes_of("x"), many);
      const auto received = co_await ends.second.receive_from(buffer, most);
      CHECK(received.descriptors.size() == std::min<std::size_t>(most, 20));
      CHECK(received.descriptors_were_lost == (most < 20));
      CHECK(open_descriptors_count() == open_before + received.descriptors.size());
    });
    CHECK(open_descriptors_count() == open_before);
  }
}

TEST_CASE("a process that may open no more files hears that descriptors were lost") {
  executor loop;
  auto ends = unix_datagram::pair();
  std::array<std::byte, 16> buffer{};

  const auto received = loop.run([&]() -> task<received_unix_datagram> {
    const std::array<fd_ref, 1> one{ends.first.fd()};
    co_await ends.first.send_with_descriptors(bytes_of("x"), one);
    const no_descriptor_left meanwhile;
    co_return co_await ends.second.receive_from(buffer, 1);
  });

  CHECK(received.bytes == 1);
  CHECK(received.descriptors.empty());
  CHECK(received.descriptors_were_lost);
}

TEST_CASE("a stop that meets a datagram with descriptors delivers it or leaves it, and leaks none") {
  constexpr int rounds_count = 100;
  executor loop;
  auto ends = unix_datagram::pair();
  std::array<std::byte, 16> buffer{};
  const std::array<fd_ref, 1> one{ends.first.fd()};
  const std::size_t open_before = open_descriptors_count();

  for (int i = 0; i < rounds_count; ++i) {
    for (const bool waits_first : {false, true}) {
      outcome noted;
      auto receiving = loop.start(receive_and_note(ends.second, buffer, noted));
      if (waits_first) loop.turn(/*may_park=*/false);
      loop.run(ends.first.send_with_descriptors(bytes_of("x"), one));
      receiving.cancel();
      turn_until_done(loop, receiving);

      if (noted.how == ended::stopped) CHECK(loop.run(ends.second.receive_from(buffer, 1)).descriptors.size() == 1);
      else CHECK(noted.how == ended::with_value);
    }
  }

  CHECK(open_descriptors_count() == open_before);
}

TEST_CASE("the kernel vouches for who has sent a datagram, where it was asked to") {
  on_path subject;
  const auto receive_one = [&] {
    return subject.loop.run([&]() -> task<received_unix_datagram> {
      const std::array<fd_ref, 1> one{subject.client.fd()};
      co_await subject.client.send_with_descriptors(bytes_of("x"), one, subject.at);
      co_return co_await subject.bound.receive_from(subject.buffer, 1);
    });
  };

  const auto unasked = receive_one();
  subject.bound.pass_credentials(true);
  const auto asked = receive_one();

  CHECK(!unasked.credentials);
  CHECK(asked.credentials == unix_credentials{.process = ::getpid(), .user = ::geteuid(), .group = ::getegid()});
  CHECK(asked.descriptors.size() == 1);
  CHECK(!asked.descriptors_were_lost);
}

// ------------------------------------------------------------------------------------------------ binding and closing

TEST_CASE("a file that an earlier socket left is replaced where that was asked for, and only then") {
  on_path subject;
  const auto at = unix_address::path(subject.folder.file("b.sock")).value();
  {
    const auto gone = subject.loop.run(unix_datagram::bind({.at = at}));
  }
  const auto error_of = [&](const unix_datagram_options& options) {
    outcome noted;
    subject.loop.run(observe(unix_datagram::bind(options), noted));
    return noted.error;
  };

  CHECK(error_of({.at = at}) == std::errc::address_in_use);
  CHECK(error_of({.at = subject.at, .replace_stale = true}) == std::errc::address_in_use);
  CHECK(error_of({.at = at, .permissions = 0600, .replace_stale = true}) == std::error_code{});
  struct ::stat found{};
  REQUIRE(::lstat(std::string{at.name()}.c_str(), &found) == 0);
  CHECK((found.st_mode & 0777U) == 0600);
}

TEST_CASE("close() ends who waits, and removes the file") {
  on_path subject;
  outcome noted;
  auto receiving = subject.loop.start(receive_and_note(subject.bound, subject.buffer, noted));
  subject.loop.run_ready();

  subject.loop.run(subject.bound.close());
  turn_until_done(subject.loop, receiving);

  CHECK(noted.error == std::errc::operation_canceled);
  CHECK(!std::filesystem::exists(subject.at.name()));
  CHECK(subject.bound.fd().get() == -1);
}

TEST_CASE("close() ends who waits between two tries to send, at once, though the socket is gone after it") {
  on_path subject;
  outcome noted;
  auto client = std::make_unique<unix_datagram>(std::move(subject.client));
  REQUIRE(fill(*client, subject.at) > 0);
  auto sending = subject.loop.start(send_to_and_note(*client, subject.at, noted));
  while (subject.loop.timers().empty()) subject.loop.turn(/*may_park=*/true);
  CHECK(noted.how == ended::not_yet);

  subject.loop.run(client->close());
  client.reset();
  subject.loop.run_ready();

  CHECK(noted.error == std::errc::operation_canceled);
  CHECK(subject.loop.timers().empty());
  turn_until_done(subject.loop, sending);
}

TEST_CASE("close() ends who waits also where the file cannot be removed") {
  on_path subject;
  const std::filesystem::path folder = subject.folder.file("folder");
  std::filesystem::create_directory(folder);
  auto bound = subject.loop.run(unix_datagram::bind({.at = unix_address::path((folder / "b.sock").string()).value()}));
  outcome noted;
  outcome of_close;
  auto receiving = subject.loop.start(receive_and_note(bound, subject.buffer, noted));
  subject.loop.run_ready();
  std::filesystem::rename(folder, subject.folder.file("elsewhere"));
  subject.folder.file("folder", "no folder");

  subject.loop.run(close_and_note(bound, of_close));
  turn_until_done(subject.loop, receiving);

  CHECK(of_close.error == std::errc::not_a_directory);
  CHECK(noted.error == std::errc::operation_canceled);
}

TEST_CASE("a socket that was told to keeps its file when it is closed") {
  on_path subject;
  const auto at = unix_address::path(subject.folder.file("b.sock")).value();
  auto keeps = subject.loop.run(unix_datagram::bind({.at = at, .remove_on_close = false}));

  subject.loop.run(keeps.close());

  CHECK(std::filesystem::exists(at.name()));
}

TEST_CASE("a socket that is given away is its new owner's") {
  auto ends = unix_datagram::pair();
  const int number = ends.first.fd().get();

  const unique_fd taken = ends.first.release();

  CHECK(taken.get() == number);
  CHECK(ends.first.fd().get() == -1);
}

}  // namespace gyre::net
