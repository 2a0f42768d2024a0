// SPDX-License-Identifier: MIT
// Connecting to the first of several addresses: every order of answers, failures, delays and stops.
#include <gyre/net/happy_eyeballs.hpp>
#include <gyre/net/tcp_listener.hpp>
#include <gyre/runtime/as_result.hpp>
#include <gyre/runtime/task.hpp>

#include "../support/loopback.hpp"
#include "../support/outcome.hpp"
#include "../support/scripted.hpp"
#include "../support/turning.hpp"

#include <doctest/doctest.h>
#include <liburing.h>

#include <cerrno>
#include <chrono>
#include <optional>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

namespace gyre::net {
namespace {

using namespace std::chrono_literals;
using namespace test;

address v4(int last) { return address::parse("192.0.2." + std::to_string(last) + ":80").value(); }
address v6(int last) { return address::parse("[2001:db8::" + std::to_string(last) + "]:80").value(); }

// Attempts on a script that opens sockets at once, and has the test answer what is connected.
struct attempts {
  explicit attempts(std::vector<address> peers) : open_before{open_descriptors_count()}, root{begin(std::move(peers))} {
    on.loop.run_ready();
  }

  root_task<void> begin(std::vector<address> peers) {
    on.script.answer = [](const gyre::detail::scripted_ring::request& asked) -> std::optional<std::int32_t> {
      if (asked.opcode == IORING_OP_SOCKET) return ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
      return std::nullopt;
    };
    return on.loop.start(connect_and_note(std::move(peers)));
  }
  task<> connect_and_note(std::vector<address> peers) {
    const stop_watch watch{noted};
    try {
      connected.emplace(co_await connect_to_first(std::move(peers)));
      noted.how = ended::with_value;
    } catch (const std::system_error& failed) {
      noted.how = ended::with_error;
      noted.error = failed.code();
    }
  }

  std::size_t begun_count() const { return on.script.taken_count(IORING_OP_CONNECT); }
  std::vector<gyre::detail::scripted_ring::request> in_flight() const { return on.script.in_flight(IORING_OP_CONNECT); }
  void answer(std::size_t index, int res) { on.script.complete(in_flight().at(index), res); }
  std::size_t left_open_count() const { return open_descriptors_count() - open_before; }

  std::size_t open_before;
  scripted_executor on{{}, {.timer_slack = 0ns}};
  outcome noted;
  std::optional<tcp_stream> connected;
  root_task<void> root;
};

}  // namespace

TEST_CASE("families take turns, each in its order, and the first stays the first") {
  using addresses = std::vector<address>;
  CHECK(interleaved({}).empty());
  CHECK(interleaved({v4(1)}) == addresses{v4(1)});
  CHECK(interleaved({v6(1), v6(2), v6(3), v4(1), v4(2)}) == addresses{v6(1), v4(1), v6(2), v4(2), v6(3)});
  CHECK(interleaved({v4(1), v4(2), v6(1)}) == addresses{v4(1), v6(1), v4(2)});
  CHECK(interleaved({v4(1), v4(2)}) == addresses{v4(1), v4(2)});
}

TEST_CASE("one that answers in time is the only one that is tried") {
  attempts subject{{v6(1), v4(1)}};
  CHECK(subject.begun_count() == 1);
  subject.on.advance(249ms);
  CHECK(subject.begun_count() == 1);
  subject.answer(0, 0);
  subject.on.loop.run_ready();
  CHECK(subject.noted.how == ended::with_value);
  CHECK(subject.begun_count() == 1);
  CHECK(subject.left_open_count() == 1);
}

TEST_CASE("after a while the next one is tried beside it; the first answer wins, the other is closed") {
  for (const std::size_t winner : {0U, 1U}) {
    CAPTURE(winner);
    attempts subject{{v6(1), v4(1), v4(2)}};
    subject.on.advance(250ms);
    CHECK(subject.begun_count() == 2);
    subject.answer(winner, 0);
    subject.on.loop.run_ready();
    CHECK(subject.noted.how == ended::with_value);
    CHECK(subject.begun_count() == 2);
    CHECK(subject.left_open_count() == 1);
  }
}

TEST_CASE("where one fails the next is tried at once") {
  attempts subject{{v6(1), v4(1), v4(2)}};
  subject.answer(0, -ENETUNREACH);
  subject.on.loop.run_ready();
  CHECK(subject.begun_count() == 2);
  subject.on.advance(250ms);
  CHECK(subject.begun_count() == 3);
  subject.answer(0, -ECONNREFUSED);
  subject.on.loop.run_ready();
  subject.answer(0, 0);
  subject.on.loop.run_ready();
  CHECK(subject.noted.how == ended::with_value);
  CHECK(subject.left_open_count() == 1);
}

TEST_CASE("where all fail the error is that of the first address, in whatever order they fail") {
  attempts subject{{v6(1), v4(1)}};
  subject.on.advance(250ms);
  subject.answer(1, -ECONNREFUSED);
  subject.on.loop.run_ready();
  CHECK(subject.noted.how == ended::not_yet);
  subject.answer(0, -EHOSTUNREACH);
  subject.on.loop.run_ready();
  CHECK(subject.noted.error == std::errc::host_unreachable);
  CHECK(subject.left_open_count() == 0);
}

TEST_CASE("of two that answer in the same turn one is given, and the other closed") {
  attempts subject{{v6(1), v4(1)}};
  subject.on.advance(250ms);
  subject.answer(0, 0);
  subject.answer(0, 0);
  subject.on.loop.run_ready();
  CHECK(subject.noted.how == ended::with_value);
  CHECK(subject.left_open_count() == 1);
}

TEST_CASE("a stop closes all that were tried, and one that answered in the same turn") {
  for (const bool answers : {false, true}) {
    CAPTURE(answers);
    attempts subject{{v6(1), v4(1)}};
    subject.on.advance(250ms);
    subject.root.cancel();
    if (answers) subject.answer(0, 0);
    subject.on.loop.run_ready();
    CHECK(subject.root.done());
    CHECK(subject.left_open_count() == (subject.connected ? 1 : 0));
    CHECK(subject.noted.how != ended::with_error);
  }
}

TEST_CASE("no address is an error, and no hang") {
  CHECK(run_now(as_result(connect_to_first({}))).error() == std::errc::invalid_argument);
}

TEST_CASE("a host is connected to by its name, past an address that refuses") {
  const auto bound = tcp_listener::bind({.at = address::loopback(0)});
  const address good = bound.local_address();
  const address refused = tcp_listener::bind({.at = address::loopback(0)}).local_address();  // closed again
  resolver names{{.look_up = [&](const std::string& host, const std::string&) -> result<std::vector<address>> {
    if (host != "service.example") return make_error_code(resolver_errc::host_not_found);
    return std::vector<address>{refused, good};
  }}};
  run_now([&]() -> task<> {
    const tcp_stream peer = co_await net::connect("service.example", good.port(), names);
    CHECK(peer.peer_address() == good);
    const auto unknown = co_await as_result(net::connect("unknown.example", 80, names));
    CHECK(unknown.error() == resolver_errc::host_not_found);
  }());
}

TEST_CASE("a failure names the host that was asked for, and the address that stands for the rest") {
  const address refused = tcp_listener::bind({.at = address::loopback(0)}).local_address();  // closed again
  resolver names{{.look_up = [&](const std::string&, const std::string&) -> result<std::vector<address>> {
    return std::vector<address>{refused};
  }}};
  const auto text_of_failure = [&](std::string host) -> task<std::string> {
    try {
      static_cast<void>(co_await net::connect(std::move(host), refused.port(), names));
    } catch (const std::system_error& failed) {
      co_return failed.what();
    }
    co_return "connected";
  };

  const std::string port = std::to_string(refused.port());
  CHECK(run_now(text_of_failure("service.example")) ==
        "connect service.example:" + port + " (127.0.0.1:" + port + "): Connection refused");
  CHECK(run_now(text_of_failure("127.0.0.1")) == "connect 127.0.0.1:" + port + ": Connection refused");
}

}  // namespace gyre::net
