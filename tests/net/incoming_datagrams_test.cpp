// SPDX-License-Identifier: MIT
// Datagrams as a stream over a pool: what each tells, what is lost and what is not where buffers run out, and how the
// stream ends. At the end of each test all buffers are where they belong.
#include <gyre/net/datagram.hpp>
#include <gyre/net/incoming_datagrams.hpp>
#include <gyre/net/udp_socket.hpp>
#include <gyre/runtime/as_result.hpp>
#include <gyre/runtime/buffer_pool.hpp>
#include <gyre/runtime/deadline.hpp>
#include <gyre/runtime/executor.hpp>
#include <gyre/runtime/stream_ops.hpp>
#include <gyre/runtime/task_group.hpp>
#include <gyre/runtime/this_task.hpp>

#include "../support/bytes.hpp"
#include "../support/foreign_task.hpp"
#include "../support/outcome.hpp"
#include "../support/turning.hpp"
#include "../support/udp_pair.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

namespace gyre::net {
namespace {

using namespace std::chrono_literals;
using namespace test;

constexpr datagram_details all_details{
    .destination = true, .type_of_service = true, .hop_limit = true, .timestamp = true, .dropped_count = true};

const udp_options on_loopback{.at = address::loopback(0)};

struct receiver_with_pool : udp_pair {
  explicit receiver_with_pool(std::size_t datagram_bytes = 64, unsigned buffers_count = 8,
                              const udp_options& options = on_loopback)
      : udp_pair{options},
        pool{loop, {.buffers_count = buffers_count, .buffer_bytes = here.buffer_bytes_for(datagram_bytes)}} {}

  void send(std::string_view bytes) { send_now(there, bytes, here_address()); }

  buffer_pool pool;
};

// Takes what comes until the stream ends.
task<> take_all(incoming_datagrams& incoming, std::vector<std::string>& texts, outcome& noted) {
  const stop_watch watch{noted};
  for (;;) {
    const auto each = co_await as_result(incoming.next());
    noted.how = each ? ended::with_value : ended::with_error;
    noted.error = each.error();
    if (!each || !*each) co_return;
    texts.emplace_back(text_of((*each)->payload()));
    noted.how = ended::not_yet;
  }
}

}  // namespace

// ------------------------------------------------------------------------------------------------------------ segments

TEST_CASE("a piece is cut into segments of one size, and what is left") {
  const auto sizes_of = [](std::string_view text, std::size_t segment_bytes) {
    std::vector<std::size_t> sizes;
    const segmented cut{bytes_of(text), segment_bytes};
    for (const auto each : cut) sizes.push_back(each.size());
    CHECK(sizes.size() == cut.size());
    return sizes;
  };

  CHECK(sizes_of("aabbc", 2) == std::vector<std::size_t>{2, 2, 1});
  CHECK(sizes_of("aabb", 2) == std::vector<std::size_t>{2, 2});
  CHECK(sizes_of("aabb", 9) == std::vector<std::size_t>{4});
  CHECK(sizes_of("aabb", 0) == std::vector<std::size_t>{4});
  CHECK(sizes_of("", 2) == std::vector<std::size_t>{0});
  CHECK(sizes_of("", 0) == std::vector<std::size_t>{0});
}

// ------------------------------------------------------------------------------------------------------- what it tells

TEST_CASE("a stream gives each datagram with its source and all that was asked for, also those without bytes") {
  for (const auto& at : loopbacks()) {
    CAPTURE(at.to_string());
    receiver_with_pool subject{64, 8, {.at = at, .details = all_details}};
    const send_options how{.type_of_service = std::uint8_t{0x2b}, .hop_limit = std::uint8_t{9}};

    subject.loop.run([&]() -> task<> {
      auto incoming = subject.here.datagrams(subject.pool);
      for (const std::string_view text : {"first", "", "third"}) {
        co_await subject.there.send_to(bytes_of(text), subject.here_address(), how);
        const auto came = co_await incoming.next();
        REQUIRE(came.has_value());
        CHECK(text_of(came->payload()) == text);
        CHECK(came->source() == subject.there_address());
        CHECK(came->datagram_bytes() == text.size());
        CHECK(!came->is_truncated());
        CHECK(!came->is_facts_truncated());
        CHECK(came->segments().size() == 1);
        const auto facts = came->facts();
        CHECK(facts.destination == at);
        CHECK(facts.interface_index == network_interface::named("lo").index);
        CHECK(facts.ecn() == 3U);
        CHECK(facts.hop_limit == 9);
        CHECK(facts.timestamp.has_value());
      }
    });
    CHECK(subject.pool.statistics().on_loan == 0);
  }
}

TEST_CASE("what does not fit into a buffer is lost, and how long the datagram was is told") {
  receiver_with_pool subject{4};
  subject.send("too long");
  subject.send("fits");

  subject.loop.run([&]() -> task<> {
    auto incoming = subject.here.datagrams(subject.pool);
    const auto cut_off = co_await incoming.next();
    CHECK(cut_off->is_truncated());
    CHECK(cut_off->datagram_bytes() == 8);
    CHECK(text_of(cut_off->payload()) == "too ");
    const auto whole = co_await incoming.next();
    CHECK(!whole->is_truncated());
    CHECK(text_of(whole->payload()) == "fits");
  });
}

TEST_CASE("facts that were asked for after the stream was made have no room, and that is told") {
  receiver_with_pool subject;
  auto incoming = subject.here.datagrams(subject.pool);
  subject.here.set(datagram_details{.destination = true});
  subject.send("x");

  subject.loop.run([&]() -> task<> {
    const auto came = co_await incoming.next();
    CHECK(came->is_facts_truncated());
    CHECK(!came->facts().destination);
    CHECK(text_of(came->payload()) == "x");
  });
}

TEST_CASE("an answer goes to the source, from the address that was asked, over either family") {
  executor loop;
  auto server = udp_socket::bind({.at = address::any(0), .details = {.destination = true}});
  auto client = udp_socket::connect(address::parse("127.0.0.5")->with_port(server.local_address().port()));
  const buffer_pool pool{loop, {.buffers_count = 2, .buffer_bytes = server.buffer_bytes_for(64)}};
  std::array<std::byte, 16> buffer{};

  loop.run([&]() -> task<> {
    auto incoming = server.datagrams(pool);
    co_await client.send(bytes_of("question"));
    const auto question = co_await incoming.next();
    co_await server.answer(*question, question->payload());
    CHECK((co_await client.receive(buffer)).bytes == 8);  // it hears 127.0.0.5 alone
  });
}

TEST_CASE("what comes in one piece with receive_offload is each of its datagrams") {
  for (const auto& at : loopbacks()) {
    receiver_with_pool subject{65'535, 2, {.at = at}};
    subject.here.set(receive_offload{});
    const std::string bytes = "aaaabbbbccccdd";

    subject.loop.run([&]() -> task<> {
      auto incoming = subject.here.datagrams(subject.pool);
      co_await subject.there.send_segmented(bytes_of(bytes), 4, subject.here_address());
      co_await subject.there.send_to(bytes_of("alone"), subject.here_address());
      const auto came = co_await incoming.next();
      std::vector<std::string> texts;
      for (const auto segment : came->segments()) texts.emplace_back(text_of(segment));
      CHECK(texts == std::vector<std::string>{"aaaa", "bbbb", "cccc", "dd"});
      CHECK(came->facts().segment_bytes == 4);
      const auto alone = co_await incoming.next();
      CHECK(alone->segments().size() == 1);
      CHECK(text_of(*alone->segments().begin()) == "alone");
    });
  }
}

TEST_CASE("a datagram outlives its stream, its socket and its pool") {
  std::optional<datagram> kept;
  {
    receiver_with_pool subject;
    subject.send("kept");
    subject.loop.run([&]() -> task<> {
      auto incoming = subject.here.datagrams(subject.pool);
      kept = co_await incoming.next();
    });
  }
  CHECK(text_of(kept->payload()) == "kept");
  CHECK(kept->source().is_v4());
}

TEST_CASE("pools that no datagram fits into are refused, and buffer_bytes_for() says what does") {
  udp_pair pair{udp_options{.at = address::loopback(0), .details = all_details}};
  const auto refusal_of = [&](std::size_t buffer_bytes) {
    const buffer_pool pool{pair.loop, {.buffers_count = 1, .buffer_bytes = buffer_bytes}};
    try {
      static_cast<void>(pair.here.datagrams(pool));
    } catch (const std::system_error& error) {
      return error.code();
    }
    return std::error_code{};
  };

  CHECK(refusal_of(pair.here.buffer_bytes_for(0)) == std::errc::message_size);
  CHECK(!refusal_of(pair.here.buffer_bytes_for(1)));
  CHECK(pair.here.buffer_bytes_for(100) > pair.there.buffer_bytes_for(100));
}

// -------------------------------------------------------------------------------------------------- many, and too many

TEST_CASE("ten thousand datagrams come as a stream in their order, and none is torn") {
  constexpr std::uint32_t datagrams_count = 10'000;
  receiver_with_pool subject{64, 32};
  const auto send_all = [&]() -> task<> {
    std::array<std::uint32_t, 16> words;
    for (std::uint32_t i = 0; i < datagrams_count; ++i) {
      words.fill(i);
      co_await subject.there.send_to(std::as_bytes(std::span{words}).first(4 + i % 61), subject.here_address());
      while (i % 64 == 63 && has_something(subject.here)) co_await this_task::yield();
    }
  };
  const auto check_all = [&]() -> task<> {
    auto incoming = subject.here.datagrams(subject.pool);
    for (std::uint32_t i = 0; i < datagrams_count; ++i) {
      const auto came = co_await incoming.next();
      REQUIRE(came->payload().size() == 4 + i % 61);
      REQUIRE(!came->is_truncated());
      for (std::size_t at = 0; at + 4 <= came->payload().size(); at += 4) {
        std::uint32_t word = 0;
        std::memcpy(&word, came->payload().data() + at, sizeof word);
        REQUIRE(word == i);
      }
    }
  };

  subject.loop.run([&]() -> task<> {
    co_await with_task_group([&](task_group& both) -> task<> {
      both.start(send_all());
      both.start(check_all());
      co_return;
    });
  });

  CHECK(subject.pool.statistics().on_loan == 0);
}

TEST_CASE("a pool without a buffer loses no datagram that the socket has room for") {
  receiver_with_pool subject{16, 2};
  for (int i = 0; i < 20; ++i) subject.send(std::to_string(i));
  std::vector<std::string> texts;

  subject.loop.run([&]() -> task<> {
    auto incoming = subject.here.datagrams(subject.pool);
    std::vector<datagram> kept;
    while (texts.size() + kept.size() < 20) {
      auto came = co_await incoming.next();
      kept.push_back(std::move(*came));
      if (kept.size() < 2 && texts.size() + kept.size() < 20) continue;  // both buffers are on loan
      for (const auto& each : kept) texts.emplace_back(text_of(each.payload()));
      kept.clear();
    }
  });

  REQUIRE(texts.size() == 20);
  for (int i = 0; i < 20; ++i) CHECK(texts[static_cast<std::size_t>(i)] == std::to_string(i));
  CHECK(subject.pool.statistics().shortages > 0);
  CHECK(subject.pool.statistics().on_loan == 0);
}

TEST_CASE("a reader that is slow has few in store, and the rest waits in the socket") {
  receiver_with_pool subject{16, 64};
  outcome noted;
  std::vector<std::string> texts;
  auto incoming = subject.here.datagrams(subject.pool, /*pause_at=*/4);
  auto taking = subject.loop.start(take_all(incoming, texts, noted));
  subject.loop.run_ready();
  taking.cancel();
  turn_until_done(subject.loop, taking);

  for (int i = 0; i < 40; ++i) subject.send(std::to_string(i));
  for (int i = 0; i < 4; ++i) subject.loop.run_ready();
  CHECK(subject.pool.statistics().on_loan < 40);
  subject.loop.run([&]() -> task<> {
    for (int i = 0; i < 40; ++i) CHECK(text_of((co_await incoming.next())->payload()) == std::to_string(i));
  });
}

// --------------------------------------------------------------------------------------------------------- how it ends

TEST_CASE("an error of something that was sent is told once, and the stream goes on") {
  receiver_with_pool subject;
  subject.here.set(report_errors{});
  const auto nobody = udp_socket::bind({.at = address::loopback(0)}).local_address();

  subject.loop.run([&]() -> task<> {
    auto incoming = subject.here.datagrams(subject.pool);
    for (int round = 0; round < 3; ++round) {
      co_await subject.here.send_to(bytes_of("lost"), nobody);
      CHECK((co_await as_result(incoming.next())).error() == std::errc::connection_refused);
      subject.send("still here");
      CHECK(text_of((co_await incoming.next())->payload()) == "still here");
      if (round == 0) continue;  // a report that nobody reads does not disturb the stream
      CHECK(subject.here.try_receive_error().has_value());
      while (subject.here.try_receive_error()) continue;
    }
  });
}

TEST_CASE("a stream ends when its socket is closed, after what has come before, and stays so") {
  for (const bool reader_waits : {true, false}) {
    receiver_with_pool subject;
    outcome noted;
    std::vector<std::string> texts;
    auto incoming = subject.here.datagrams(subject.pool);
    auto taking = subject.loop.start(take_all(incoming, texts, noted));
    subject.loop.run_ready();
    subject.send("first");
    while (texts.empty()) subject.loop.turn(/*may_park=*/false);
    if (!reader_waits) {
      taking.cancel();
      turn_until_done(subject.loop, taking);
      subject.send("second");
      while (subject.pool.statistics().on_loan == 0) subject.loop.turn(/*may_park=*/false);
    }

    subject.loop.run(subject.here.close());
    if (reader_waits) turn_until_done(subject.loop, taking);
    else subject.loop.run(take_all(incoming, texts, noted));

    CHECK(noted.how == ended::with_value);
    CHECK(texts.size() == (reader_waits ? 1 : 2));
    subject.loop.run([&]() -> task<> { CHECK(!(co_await incoming.next()).has_value()); });
    CHECK(subject.pool.statistics().on_loan == 0);
  }
}

TEST_CASE("a stream that nobody has read when its socket was closed asks the kernel for nothing") {
  receiver_with_pool subject;
  auto incoming = subject.here.datagrams(subject.pool);

  subject.loop.run([&]() -> task<> {
    co_await subject.here.close();
    const auto another = udp_socket::bind({.at = address::loopback(0)});  // with the same number
    send_now(subject.there, "for another", another.local_address());
    CHECK(!(co_await incoming.next()).has_value());
    CHECK(has_something(another));
  });
}

TEST_CASE("a stream that waits for a buffer ends when its socket is closed, and asks for nothing when there is one") {
  receiver_with_pool subject{64, 1};
  outcome noted;
  std::vector<std::string> texts;
  auto incoming = subject.here.datagrams(subject.pool);
  subject.send("first");
  subject.send("left in the socket");
  auto held = subject.loop.run([&]() -> task<std::optional<datagram>> { co_return co_await incoming.next(); });
  auto taking = subject.loop.start(take_all(incoming, texts, noted));
  for (int i = 0; i < 3; ++i) subject.loop.turn(/*may_park=*/false);
  CHECK(subject.pool.statistics().shortages == 1);
  CHECK(noted.how == ended::not_yet);

  subject.loop.run(subject.here.close());
  turn_until_done(subject.loop, taking);
  CHECK(noted.how == ended::with_value);
  CHECK(texts.empty());

  const auto another = udp_socket::bind({.at = address::loopback(0)});  // with the same number
  send_now(subject.there, "for another", another.local_address());
  held.reset();
  subject.loop.run([&]() -> task<> { CHECK(!(co_await incoming.next()).has_value()); });
  for (int i = 0; i < 3; ++i) subject.loop.turn(/*may_park=*/false);
  CHECK(has_something(another));
  CHECK(subject.pool.statistics().on_loan == 0);
}

TEST_CASE("a wait for the next datagram that is stopped loses none, wherever it was") {
  for (int turns_before = 0; turns_before < 4; ++turns_before) {
    for (const bool sends_before : {true, false}) {
      receiver_with_pool subject;
      outcome noted;
      std::vector<std::string> texts;
      auto incoming = subject.here.datagrams(subject.pool);
      auto taking = subject.loop.start(take_all(incoming, texts, noted));

      for (int i = 0; i < turns_before; ++i) subject.loop.turn(/*may_park=*/false);
      if (sends_before) subject.send("crossing");
      taking.cancel();
      turn_until_done(subject.loop, taking);
      CHECK(noted.how == ended::stopped);
      subject.send("later");

      subject.loop.run([&]() -> task<> {
        while (texts.empty() || texts.back() != "later") {
          const auto came = co_await incoming.next();
          texts.emplace_back(text_of(came->payload()));
        }
      });
      CHECK(texts.size() == (sends_before ? 2 : 1));
    }
  }
}

namespace {

foreign_task wait_abroad(incoming_datagrams& incoming) {
  try {
    co_return (co_await incoming.next()).has_value() ? 1 : 2;
  } catch (const std::system_error& error) {
    co_return error.code().value();
  }
}

task<> await_abroad(incoming_datagrams& incoming, int& told) { told = co_await wait_abroad(incoming); }

}  // namespace

TEST_CASE("a coroutine of somebody else's type hears of a stop as of an error, and the stream has not ended") {
  receiver_with_pool subject;
  auto incoming = subject.here.datagrams(subject.pool);
  int told = 0;
  auto waiting = subject.loop.start(await_abroad(incoming, told));
  subject.loop.run_ready();

  waiting.cancel();
  turn_until_done(subject.loop, waiting);
  subject.send("later");

  CHECK(told == ECANCELED);
  subject.loop.run([&]() -> task<> { CHECK(text_of((co_await incoming.next())->payload()) == "later"); });
}

TEST_CASE("a wait for the next datagram can have a deadline, and the stream is as good as before") {
  receiver_with_pool subject;

  subject.loop.run([&]() -> task<> {
    auto incoming = subject.here.datagrams(subject.pool);
    const auto late = co_await as_result(with_timeout(1ms, incoming.next()));
    CHECK(late.error() == std::errc::timed_out);
    subject.send("later");
    CHECK(text_of((co_await with_timeout(1min, incoming.next()))->payload()) == "later");
  });
}

TEST_CASE("a stream that goes with its request in flight leaves nothing, and the next one takes over") {
  receiver_with_pool subject;
  outcome noted;
  std::vector<std::string> texts;
  {
    auto incoming = subject.here.datagrams(subject.pool);
    auto taking = subject.loop.start(take_all(incoming, texts, noted));
    subject.loop.run_ready();
    taking.cancel();
    turn_until_done(subject.loop, taking);
  }
  for (int i = 0; i < 3; ++i) subject.loop.run_ready();
  subject.send("for the next");

  subject.loop.run([&]() -> task<> {
    auto incoming = subject.here.datagrams(subject.pool);
    CHECK(text_of((co_await incoming.next())->payload()) == "for the next");
  });
  CHECK(subject.pool.statistics().on_loan == 0);
}

}  // namespace gyre::net
