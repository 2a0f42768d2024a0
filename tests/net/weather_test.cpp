// SPDX-License-Identifier: MIT
// TCP in bad weather: peers that reset at the worst moment, close one half, send a byte at a time, send out of band,
// never read, never answer. Each over IPv4 and IPv6; every byte is accounted for, and no descriptor is left.
#include <gyre/net/address.hpp>
#include <gyre/net/tcp_listener.hpp>
#include <gyre/net/tcp_stream.hpp>
#include <gyre/runtime/as_result.hpp>
#include <gyre/runtime/buffer_pool.hpp>
#include <gyre/runtime/deadline.hpp>
#include <gyre/runtime/error.hpp>
#include <gyre/runtime/executor.hpp>
#include <gyre/runtime/ops/pool_streams.hpp>
#include <gyre/runtime/scope.hpp>
#include <gyre/runtime/task_group.hpp>

#include "../support/bytes.hpp"
#include "../support/full_socket.hpp"
#include "../support/loopback.hpp"
#include "../support/outcome.hpp"
#include "../support/plain_peer.hpp"
#include "../support/transfers.hpp"
#include "../support/turning.hpp"

#include <doctest/doctest.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <optional>
#include <span>
#include <system_error>
#include <utility>
#include <vector>

namespace gyre::net {
namespace {

using namespace std::chrono_literals;
using namespace test;

// More than the two ends of a connection keep between them, once they were made narrow.
constexpr std::size_t big_bytes = std::size_t{4} << 20;

// Runs a test over IPv4 and over IPv6, and counts descriptors: none may be left.
template <class Test>
void over_both_families(Test test) {
  std::vector families{address::loopback(0)};
  if (has_ipv6_loopback(without_it::goes_on)) families.push_back(address::parse("[::1]:0").value());
  for (const auto& at : families) {
    CAPTURE(at.to_string());
    executor loop;
    const std::size_t open_before = open_descriptors_count();
    test(loop, at);
    loop.run_ready();
    CHECK(open_descriptors_count() == open_before);
  }
}

void set_buffer(fd_ref socket, int option, int bytes) {
  REQUIRE(::setsockopt(socket.get(), SOL_SOCKET, option, &bytes, sizeof bytes) == 0);
}

// A connection whose other end is a plain peer. The listener is gone.
struct connection {
  connection(executor& loop, const address& at) : connection{loop, tcp_listener::bind({.at = at})} {}

  // So that few bytes fill it.
  void make_narrow() {
    set_buffer(ours.fd(), SO_SNDBUF, 1 << 15);
    set_buffer(peer.fd(), SO_RCVBUF, 1 << 15);
  }

  plain_peer peer;
  tcp_stream ours;

 private:
  connection(executor& loop, tcp_listener listener)
      : peer{listener.local_address()}, ours{loop.run(listener.accept())} {}
};

task<> read_one(tcp_stream& stream, outcome& noted) {
  std::array<std::byte, 1> buffer{};
  co_await observe(stream.read(buffer), noted);
}

task<> write_one(tcp_stream& stream, outcome& noted) { co_await observe(stream.write(bytes_of("x")), noted); }

task<> write_and_shut_down(tcp_stream& stream, std::span<const std::byte> bytes) {
  co_await stream.write_all(bytes);
  stream.shutdown_write();
}

task<> write_one_by_one(tcp_stream& stream, std::span<const std::byte> bytes) {
  for (const auto& each : bytes) CHECK(co_await stream.write(std::span{&each, 1}) == 1);
  stream.shutdown_write();
}

task<> connect_and_note(address peer, outcome& noted) { co_await observe(tcp_stream::connect(peer), noted); }

task<> accept_into(tcp_listener& listener, std::vector<tcp_stream>& taken, std::size_t count) {
  while (taken.size() < count) taken.push_back(co_await listener.accept());
}

task<> take_into(incoming_connections& incoming, std::vector<tcp_stream>& taken, std::size_t count) {
  while (taken.size() < count) taken.push_back((co_await incoming.next()).value());
}

// What of a connection's fate a reader sees: the bytes, and how they ended.
struct last_words {
  std::vector<std::byte> bytes;
  std::error_code why;  // none: the end
};

task<last_words> hear_out(tcp_stream& stream) {
  last_words heard;
  std::array<std::byte, 100> piece;
  for (;;) {
    const auto count = co_await as_result(stream.read(piece));
    if (!count) heard.why = count.error();
    if (!count || *count == 0) co_return heard;
    heard.bytes.insert(heard.bytes.end(), piece.begin(), piece.begin() + static_cast<std::ptrdiff_t>(*count));
  }
}

bool is_prefix(std::span<const std::byte> part, std::span<const std::byte> whole) {
  return part.size() <= whole.size() && std::ranges::equal(part, whole.first(part.size()));
}

bool peer_is_gone(std::error_code error) {
  return error == std::errc::connection_reset || error == std::errc::broken_pipe;
}

bool has_no_peer(const tcp_stream& stream) {
  try {
    static_cast<void>(stream.peer_address());
  } catch (const std::system_error& error) {
    return error.code() == std::errc::not_connected;
  }
  return false;
}

// A listener that answers nobody: its backlog is full.
struct deaf_listener {
  explicit deaf_listener(const address& at) : listener{tcp_listener::bind({.at = at, .backlog = 0})} {
    for (int i = 0; i < 4; ++i) waiting.push_back(connect_to(where));
  }

  std::optional<tcp_listener> listener;
  address where = listener->local_address();
  std::vector<unique_fd> waiting;
};

}  // namespace

// ---------------------------------------------------------------------------------------------------- it never answers

TEST_CASE("a connect to a port where nobody listens is refused") {
  over_both_families([](executor& loop, const address& at) {
    const auto nobody = tcp_listener::bind({.at = at}).local_address();
    outcome noted;

    loop.run(connect_and_note(nobody, noted));

    CHECK(noted.error == std::errc::connection_refused);
  });
}

TEST_CASE("a connect that nobody answers ends at its deadline") {
  over_both_families([](executor& loop, const address& at) {
    const deaf_listener deaf{at};

    const auto connected = loop.run([&]() -> task<result<tcp_stream>> {
      co_return co_await as_result(with_timeout(5ms, tcp_stream::connect(deaf.where)));
    });

    CHECK(connected.error() == std::errc::timed_out);
  });
}

TEST_CASE("a connect that waits for an answer is refused when the listener goes") {
  // Over one family only: the next SYN, which is answered by a reset, goes out a second after the first.
  executor loop;
  const std::size_t open_before = open_descriptors_count();
  {
    deaf_listener deaf{address::loopback(0)};
    outcome noted;
    auto connecting = loop.start(connect_and_note(deaf.where, noted));
    loop.run_ready();
    CHECK(noted.how == ended::not_yet);

    deaf.listener.reset();
    turn_until_done(loop, connecting);

    CHECK(noted.error == std::errc::connection_refused);
  }
  CHECK(open_descriptors_count() == open_before);
}

// --------------------------------------------------------------------------------------------------------- it resets

TEST_CASE("a peer that reset while nobody waited: what it had written is read, then comes the reset, once") {
  over_both_families([](executor& loop, const address& at) {
    connection made{loop, at};
    CHECK(made.peer.send(bytes_of("last words")) == 10);
    made.peer.reset();

    const auto heard = loop.run(hear_out(made.ours));
    const auto heard_after = loop.run(hear_out(made.ours));

    CHECK(std::ranges::equal(heard.bytes, bytes_of("last words")));
    CHECK(heard.why == std::errc::connection_reset);
    CHECK(heard_after.bytes.empty());
    CHECK(!heard_after.why);  // the kernel tells an error once: from then on the connection is at its end
    CHECK(has_no_peer(made.ours));
  });
}

TEST_CASE("a peer that resets ends a read that waits") {
  over_both_families([](executor& loop, const address& at) {
    connection made{loop, at};
    outcome noted;
    auto reading = loop.start(read_one(made.ours, noted));
    loop.run_ready();

    made.peer.reset();
    turn_until_done(loop, reading);

    CHECK(noted.error == std::errc::connection_reset);
  });
}

TEST_CASE("a peer that resets in the middle of a read_exactly(): the count tells what lies in the buffer") {
  over_both_families([](executor& loop, const address& at) {
    connection made{loop, at};
    std::array<std::byte, 64> buffer{};
    auto reading = loop.start(failure_of(made.ours.read_exactly(buffer)));
    loop.run_ready();
    CHECK(made.peer.send(bytes_of("half")) == 4);
    loop.run_ready();

    made.peer.reset();
    turn_until_done(loop, reading);

    const auto failed = reading.get();
    CHECK(failed.why == std::errc::connection_reset);
    CHECK(failed.bytes == 4);
    CHECK(std::ranges::equal(std::span{buffer}.first(failed.bytes), bytes_of("half")));
  });
}

TEST_CASE("a peer that resets ends a write that waits for room") {
  over_both_families([](executor& loop, const address& at) {
    connection made{loop, at};
    made.make_narrow();
    fill_connection(made.ours.fd(), made.peer.fd());
    outcome noted;
    auto writing = loop.start(write_one(made.ours, noted));
    loop.run_ready();
    CHECK(noted.how == ended::not_yet);

    made.peer.reset();
    turn_until_done(loop, writing);

    CHECK(peer_is_gone(noted.error));
  });
}

TEST_CASE("a peer that reads a part and resets: write_all() tells a count that covers it") {
  over_both_families([](executor& loop, const address& at) {
    const auto bytes = telling_bytes(big_bytes);
    connection made{loop, at};
    made.make_narrow();
    auto writing = loop.start(failure_of(made.ours.write_all(bytes)));
    made.peer.take_while_turning(loop, big_bytes / 4);
    CHECK(!writing.done());

    made.peer.reset();
    turn_until_done(loop, writing);

    const auto failed = writing.get();
    CHECK(peer_is_gone(failed.why));
    CHECK(is_prefix(made.peer.received(), bytes));
    CHECK(failed.bytes >= made.peer.received().size());
    CHECK(failed.bytes < bytes.size());
  });
}

TEST_CASE("a peer that resets ends reader and writer of one connection, each with its own error") {
  over_both_families([](executor& loop, const address& at) {
    connection made{loop, at};
    made.make_narrow();
    outcome read_noted;
    const auto bytes = telling_bytes(big_bytes);
    auto reading = loop.start(read_one(made.ours, read_noted));
    auto writing = loop.start(failure_of(made.ours.write_all(bytes)));
    loop.run_ready();

    made.peer.reset();
    turn_until_done(loop, reading);
    turn_until_done(loop, writing);

    // Whoever comes first is told of the reset. For the other the connection is at its end.
    const auto failed = writing.get();
    CHECK((read_noted.how == ended::with_value || read_noted.error == std::errc::connection_reset));
    CHECK(peer_is_gone(failed.why));
  });
}

TEST_CASE("a peer that resets while close() is under way, at whichever turn: it has closed") {
  over_both_families([](executor& loop, const address& at) {
    for (int turns_before = 0; turns_before < 6; ++turns_before) {
      CAPTURE(turns_before);
      connection made{loop, at};
      outcome noted;
      outcome read_noted;
      auto reading = loop.start(read_one(made.ours, read_noted));
      auto closing = loop.start(observe(made.ours.close(), noted));

      for (int i = 0; i < turns_before; ++i) loop.turn(/*may_park=*/false);
      made.peer.reset();
      turn_until_done(loop, closing);
      turn_until_done(loop, reading);

      CHECK(noted.how == ended::with_value);
      CHECK(read_noted.how == ended::with_error);
      CHECK(made.ours.fd().get() < 0);
    }
  });
}

TEST_CASE("close() of a connection that was reset closes it") {
  over_both_families([](executor& loop, const address& at) {
    connection made{loop, at};
    made.peer.reset();

    loop.run(made.ours.close());

    CHECK(made.ours.fd().get() < 0);
  });
}

TEST_CASE("peers that reset in the backlog keep nobody from being accepted, and nothing of theirs is lost") {
  constexpr std::size_t clients_count = 30;
  over_both_families([](executor& loop, const address& at) {
    for (const bool as_stream : {false, true}) {
      CAPTURE(as_stream);
      auto listener = tcp_listener::bind({.at = at});
      auto incoming = listener.incoming();
      std::vector<plain_peer> clients;
      std::vector<tcp_stream> taken;
      for (std::size_t i = 0; i < clients_count; ++i) {
        clients.emplace_back(listener.local_address());
        CHECK(clients.back().send(bytes_of("hello")) == 5);
        if (i % 3 == 0) clients.back().reset();
      }

      loop.run(as_stream ? take_into(incoming, taken, clients_count) : accept_into(listener, taken, clients_count));

      for (std::size_t i = 0; i < clients_count; ++i) {
        CAPTURE(i);
        if (i % 3 != 0) clients[i].shutdown_write();
        const auto heard = loop.run(hear_out(taken[i]));
        CHECK(std::ranges::equal(heard.bytes, bytes_of("hello")));
        CHECK((heard.why == std::errc::connection_reset) == (i % 3 == 0));
      }
    }
  });
}

TEST_CASE("a listener that goes resets who waits in its backlog") {
  constexpr std::size_t clients_count = 30;
  over_both_families([](executor& loop, const address& at) {
    std::optional listener{tcp_listener::bind({.at = at})};
    std::vector<tcp_stream> clients;
    for (std::size_t i = 0; i < clients_count; ++i)
      clients.push_back(loop.run(tcp_stream::connect(listener->local_address())));

    listener.reset();

    for (auto& each : clients) {
      outcome noted;
      loop.run(read_one(each, noted));
      CHECK(noted.error == std::errc::connection_reset);
    }
  });
}

TEST_CASE("a listener that goes with its stream closes what came, and resets who waits in the backlog") {
  constexpr std::size_t clients_count = 30;
  over_both_families([](executor& loop, const address& at) {
    std::optional listener{tcp_listener::bind({.at = at})};
    std::optional incoming{listener->incoming()};
    std::vector<tcp_stream> taken;
    std::vector<plain_peer> clients;
    const auto where = listener->local_address();
    clients.emplace_back(where);
    loop.run(take_into(*incoming, taken, 1));
    for (std::size_t i = 1; i < clients_count; ++i) clients.emplace_back(where);

    incoming.reset();
    loop.run_ready();  // its request ends, and what that has brought is closed
    listener.reset();

    for (std::size_t i = 1; i < clients_count; ++i) {
      clients[i].take_while_turning(loop);
      CHECK((clients[i].at_end() || clients[i].error() == ECONNRESET));
    }
    clients[0].take();
    CHECK(!clients[0].at_end());  // what was taken lives on
    CHECK(clients[0].error() == 0);
  });
}

// ------------------------------------------------------------------------------------------------------- half a close

TEST_CASE("a peer that has sent all that it will still gets an answer of any size, and its end") {
  over_both_families([](executor& loop, const address& at) {
    const auto answer = telling_bytes(big_bytes);
    connection made{loop, at};
    made.make_narrow();
    CHECK(made.peer.send(bytes_of("question")) == 8);
    made.peer.shutdown_write();

    const auto question = loop.run(read_to_end(made.ours));
    auto answering = loop.start(write_and_shut_down(made.ours, answer));
    made.peer.take_while_turning(loop);

    CHECK(std::ranges::equal(question, bytes_of("question")));
    CHECK(made.peer.at_end());
    CHECK((made.peer.received() == answer));
    CHECK(answering.done());
  });
}

TEST_CASE("who has shut down writing reads all that the peer still sends, and its end") {
  over_both_families([](executor& loop, const address& at) {
    connection made{loop, at};
    loop.run(write_and_shut_down(made.ours, bytes_of("question")));

    auto reading = loop.start(read_to_end(made.ours));
    made.peer.take_while_turning(loop);
    CHECK(made.peer.at_end());
    CHECK(std::ranges::equal(made.peer.received(), bytes_of("question")));
    CHECK(!reading.done());
    CHECK(made.peer.send(bytes_of("an answer")) == 9);
    made.peer.shutdown_write();
    turn_until_done(loop, reading);

    CHECK(std::ranges::equal(reading.get(), bytes_of("an answer")));
  });
}

TEST_CASE("a peer's half-close ends a read that waits, and lets a write go on that waits for room") {
  over_both_families([](executor& loop, const address& at) {
    const auto bytes = telling_bytes(big_bytes);
    connection made{loop, at};
    made.make_narrow();
    auto reading = loop.start(read_to_end(made.ours));
    auto writing = loop.start(write_and_shut_down(made.ours, bytes));
    loop.run_ready();

    made.peer.shutdown_write();
    turn_until_done(loop, reading);
    CHECK(!writing.done());
    made.peer.take_while_turning(loop);

    CHECK(reading.get().empty());
    CHECK((made.peer.received() == bytes));
  });
}

// ---------------------------------------------------------------------------------------------------- byte after byte

TEST_CASE("bytes that are written one by one, and read one by one, are the bytes") {
  const auto bytes = telling_bytes(5'000);
  over_both_families([&](executor& loop, const address& at) {
    auto listener = tcp_listener::bind({.at = at});
    auto client = loop.run(tcp_stream::connect(listener.local_address()));
    auto server = loop.run(listener.accept());
    client.set_no_delay(true);

    auto reading = loop.start(read_to_end(server, /*piece_bytes_max=*/1));
    loop.run(write_one_by_one(client, bytes));
    turn_until_done(loop, reading);

    CHECK((reading.get() == bytes));
  });
}

TEST_CASE("read_exactly() of what comes byte after byte fills its buffer") {
  over_both_families([](executor& loop, const address& at) {
    const auto bytes = telling_bytes(200);
    connection made{loop, at};
    std::vector<std::byte> buffer(bytes.size());
    auto reading = loop.start(failure_of(made.ours.read_exactly(buffer)));

    for (const auto& each : bytes) {
      CHECK(!reading.done());
      CHECK(made.peer.send(std::span{&each, 1}) == 1);
      loop.run_ready();
    }
    turn_until_done(loop, reading);

    CHECK(!reading.get().why);
    CHECK((buffer == bytes));
  });
}

// ------------------------------------------------------------------------------------------------------ it never reads

TEST_CASE("a write_all() to a peer that never reads ends at its deadline, having sent a beginning of the bytes") {
  over_both_families([](executor& loop, const address& at) {
    const auto bytes = telling_bytes(big_bytes);
    connection made{loop, at};
    made.make_narrow();
    outcome noted;

    loop.run(observe(with_timeout(5ms, write_in_full(made.ours, bytes)), noted));
    made.ours.shutdown_write();
    made.peer.take_while_turning(loop);

    CHECK(noted.error == std::errc::timed_out);
    CHECK(made.peer.at_end());
    CHECK(made.peer.received().size() > 0);
    CHECK(made.peer.received().size() < bytes.size());
    CHECK(is_prefix(made.peer.received(), bytes));
  });
}

TEST_CASE("a deadline on write_all() itself tells in its count what the peer can still read") {
  over_both_families([](executor& loop, const address& at) {
    const auto bytes = telling_bytes(big_bytes);
    connection made{loop, at};
    made.make_narrow();

    const auto failed = loop.run(failure_of(with_timeout(5ms, made.ours.write_all(bytes))));
    made.ours.shutdown_write();
    made.peer.take_while_turning(loop);

    CHECK(failed.why == std::errc::timed_out);
    CHECK(failed.bytes > 0);
    CHECK(made.peer.received().size() == failed.bytes);
    CHECK(is_prefix(made.peer.received(), bytes));
  });
}

TEST_CASE("close() ends a write_all() to a peer that never reads, whose count is what the peer can still read") {
  over_both_families([](executor& loop, const address& at) {
    const auto bytes = telling_bytes(big_bytes);
    connection made{loop, at};
    made.make_narrow();
    auto writing = loop.start(failure_of(made.ours.write_all(bytes)));
    loop.run_ready();
    CHECK(!writing.done());

    loop.run(made.ours.close());
    turn_until_done(loop, writing);
    made.peer.take_while_turning(loop);

    const auto failed = writing.get();
    CHECK(failed.why == std::errc::broken_pipe);
    CHECK(made.peer.at_end());
    CHECK(made.peer.received().size() == failed.bytes);
    CHECK(is_prefix(made.peer.received(), bytes));
  });
}

TEST_CASE("a peer that lets its window go to zero and opens it again, many times, gets every byte") {
  over_both_families([](executor& loop, const address& at) {
    const auto bytes = telling_bytes(big_bytes);
    connection made{loop, at};
    made.make_narrow();
    auto writing = loop.start(write_and_shut_down(made.ours, bytes));

    // Nothing is read until nothing more comes; then all that is there.
    int stands_count = 0;
    for (; !made.peer.at_end(); ++stands_count) {
      loop.run_ready();
      const auto before = made.peer.received().size();
      while (made.peer.received().size() == before && !made.peer.at_end()) {
        loop.turn(/*may_park=*/false);
        made.peer.take();
      }
    }

    CHECK((made.peer.received() == bytes));
    CHECK(stands_count > 10);
    CHECK(writing.done());
  });
}

// ------------------------------------------------------------------------------------------------------- out of band

TEST_CASE("a byte out of band is not delivered, and the rest is whole") {
  over_both_families([](executor& loop, const address& at) {
    connection made{loop, at};
    CHECK(made.peer.send(bytes_of("before ")) == 7);
    CHECK(made.peer.send(bytes_of("!"), MSG_OOB) == 1);
    CHECK(made.peer.send(bytes_of("after")) == 5);
    made.peer.shutdown_write();

    const auto read = loop.run(read_to_end(made.ours));

    CHECK(text_of(read) == "before after");
  });
}

TEST_CASE("read_exactly() goes on over a byte out of band") {
  over_both_families([](executor& loop, const address& at) {
    connection made{loop, at};
    std::array<std::byte, 12> buffer{};
    auto reading = loop.start(failure_of(made.ours.read_exactly(buffer)));
    loop.run_ready();

    CHECK(made.peer.send(bytes_of("before ")) == 7);
    loop.run_ready();
    CHECK(made.peer.send(bytes_of("!"), MSG_OOB) == 1);
    loop.run_ready();
    CHECK(!reading.done());
    CHECK(made.peer.send(bytes_of("after")) == 5);
    turn_until_done(loop, reading);

    CHECK(!reading.get().why);
    CHECK(text_of(buffer) == "before after");
  });
}

TEST_CASE("a byte out of band alone ends no read, and keeps nobody busy") {
  over_both_families([](executor& loop, const address& at) {
    connection made{loop, at};
    outcome noted;
    auto reading = loop.start(read_one(made.ours, noted));
    loop.run_ready();
    const auto before = loop.statistics();

    CHECK(made.peer.send(bytes_of("!"), MSG_OOB) == 1);
    for (int i = 0; i < 10; ++i) loop.run_ready();
    CHECK(noted.how == ended::not_yet);
    CHECK(loop.statistics().sqes == before.sqes);
    CHECK(loop.statistics().cqes == before.cqes);
    CHECK(made.peer.send(bytes_of("x")) == 1);
    turn_until_done(loop, reading);

    CHECK(noted.how == ended::with_value);
  });
}

TEST_CASE("a stream of buffers does not deliver a byte out of band, and brings the rest") {
  over_both_families([](executor& loop, const address& at) {
    connection made{loop, at};
    const buffer_pool pool{loop, {.buffers_count = 8, .buffer_bytes = 256}};
    std::vector<std::byte> read;
    const auto read_all = [&]() -> task<> {
      ops::recv_stream chunks{made.ours.fd(), pool};
      while (const auto chunk = co_await chunks.next()) read.insert(read.end(), chunk->begin(), chunk->end());
    };
    auto reading = loop.start(read_all());
    loop.run_ready();

    CHECK(made.peer.send(bytes_of("before ")) == 7);
    CHECK(made.peer.send(bytes_of("!"), MSG_OOB) == 1);
    loop.run_ready();
    CHECK(made.peer.send(bytes_of("after")) == 5);
    made.peer.shutdown_write();
    turn_until_done(loop, reading);

    reading.get();
    CHECK(text_of(read) == "before after");
  });
}

}  // namespace gyre::net
