// SPDX-License-Identifier: MIT
// A stop that is requested from anywhere, in every order against the region that it is to stop.
#include <gyre/runtime/as_result.hpp>
#include <gyre/runtime/diagnosis.hpp>
#include <gyre/runtime/executor.hpp>
#include <gyre/runtime/ops/misc.hpp>
#include <gyre/runtime/ops/socket.hpp>
#include <gyre/runtime/stop_token.hpp>
#include <gyre/runtime/task_group.hpp>
#include <gyre/runtime/this_task.hpp>
#include <gyre/runtime/timer.hpp>

#include "../support/foreign_task.hpp"
#include "../support/outcome.hpp"
#include "../support/scripted.hpp"

#include <doctest/doctest.h>
#include <liburing.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <optional>
#include <stdexcept>
#include <stop_token>
#include <string>
#include <thread>
#include <vector>

namespace gyre {
namespace {

using namespace std::chrono_literals;
using namespace test;
using detail::scripted_ring;

constexpr int some_socket = 1'000'123;

task<int> receive() {
  std::vector<std::byte> buffer(4);
  co_return static_cast<int>(co_await ops::recv(some_socket, buffer));
}

// A region around a recv; the script answers cancels.
struct region {
  enum class ended { not_yet, with_value, empty, with_error, stopped };

  region() { on.loop.run_ready(); }

  static task<> run(std::stop_token token, region& noted) {
    struct watch {
      ~watch() {
        if (noted.how == ended::not_yet) noted.how = ended::stopped;
      }
      region& noted;
    } const watch{noted};
    try {
      const auto got = co_await with_stop_token(token, receive());
      noted.how = got ? ended::with_value : ended::empty;
    } catch (const std::system_error&) {
      noted.how = ended::with_error;
    }
  }

  void answer(int res) {
    on.script.complete(on.script.only(IORING_OP_RECV), res);
    on.loop.run_ready();
    CHECK(root.done());
  }

  ended how = ended::not_yet;
  std::stop_source source;
  scripted_executor on{{.on_cancel = scripted_ring::cancels::by_hand}};
  root_task<void> root = on.loop.start(run(source.get_token(), *this));
};

}  // namespace

// -------------------------------------------------------------------------------------------------------- every order

TEST_CASE("without a request, a region gives its value, and a request after its end does nothing") {
  region subject;

  subject.answer(4);
  CHECK(subject.how == region::ended::with_value);
  subject.source.request_stop();
  subject.on.loop.run_ready();

  CHECK(subject.on.loop.statistics().wakes_suppressed == 0);
}

TEST_CASE("a stop that was requested before the co_await stops the region at its first wait") {
  scripted_executor on;
  std::stop_source source;
  source.request_stop();
  std::optional<bool> whole;
  bool begun = false;
  auto root = on.loop.start([](std::stop_token token, std::optional<bool>& to, bool& noted) -> task<> {
    const auto works = [&]() -> task<> {
      noted = true;
      co_await ops::nop();
    };
    to = co_await with_stop_token(token, works());
  }(source.get_token(), whole, begun));

  on.loop.run_ready();

  CHECK(begun);
  CHECK(whole == false);
  CHECK(on.script.taken_count(IORING_OP_NOP) == 0);
}

TEST_CASE("a stop that is requested while the region waits cancels it in the next turn, and not inside the call") {
  region subject;

  subject.source.request_stop();
  CHECK(subject.on.script.in_flight(IORING_OP_ASYNC_CANCEL).empty());
  CHECK(subject.on.script.wakes_count() == 0);  // it does not sleep
  subject.on.loop.run_ready();
  CHECK(subject.on.script.in_flight(IORING_OP_ASYNC_CANCEL).size() == 1);
  CHECK(dump_tasks(subject.on.loop).find("asked to stop: its stop token asked for it") != std::string::npos);

  subject.answer(-ECANCELED);
  CHECK(subject.how == region::ended::empty);
  CHECK(!subject.root.stopped());
}

TEST_CASE("a value that crosses the request is delivered") {
  region subject;

  subject.source.request_stop();
  subject.on.loop.run_ready();
  subject.answer(4);

  CHECK(subject.how == region::ended::with_value);
}

TEST_CASE("a region that ends by itself between the post and its arrival is not reached by it") {
  region subject;
  subject.on.script.complete(subject.on.script.only(IORING_OP_RECV), 4);
  subject.source.request_stop();

  subject.on.loop.turn(/*may_park=*/false);  // resumes, then takes the message
  CHECK(subject.how == region::ended::with_value);
  subject.on.loop.run_ready();

  CHECK(subject.root.done());
}

TEST_CASE("an executor that goes with the message still under way frees it") {
  region subject;
  subject.on.script.complete(subject.on.script.only(IORING_OP_RECV), 4);
  subject.on.loop.turn(/*may_park=*/false);
  subject.source.request_stop();

  while (!subject.root.done()) subject.on.loop.turn(/*may_park=*/false);

  CHECK(subject.how == region::ended::with_value);
}

TEST_CASE("a message that arrives in the turn after the region was cancelled by other means changes nothing") {
  region subject;

  subject.root.cancel();
  subject.source.request_stop();
  subject.on.loop.run_ready();
  subject.answer(-ECANCELED);

  CHECK(subject.how == region::ended::stopped);
  CHECK(subject.root.stopped());
}

TEST_CASE("a stop from outside goes on outwards, whether the token's came before it or not") {
  for (const bool token_first : {true, false}) {
    CAPTURE(token_first);
    region subject;

    if (token_first) subject.source.request_stop();
    subject.on.loop.run_ready();
    subject.root.cancel();
    subject.on.loop.run_ready();
    if (!token_first) subject.source.request_stop();
    subject.on.loop.run_ready();
    subject.answer(-ECANCELED);

    CHECK(subject.how == region::ended::stopped);
    CHECK(subject.root.stopped());
  }
}

TEST_CASE("the error of the operation that the request asked to end is thrown") {
  region subject;

  subject.source.request_stop();
  subject.on.loop.run_ready();
  subject.answer(-ECONNRESET);

  CHECK(subject.how == region::ended::with_error);
}

TEST_CASE("a request from inside the region stops it at its next wait") {
  scripted_executor on;
  std::stop_source source;
  std::optional<bool> whole;
  outcome noted;
  auto root = on.loop.start([](std::stop_source& from, std::optional<bool>& to, outcome& inside) -> task<> {
    const auto works = [&]() -> task<> {
      const stop_watch watch{inside};
      from.request_stop();
      co_await sleep_for(1h);
      inside.how = ended::with_value;
    };
    to = co_await with_stop_token(from.get_token(), works());
  }(source, whole, noted));

  on.loop.run_ready();

  CHECK(noted.how == ended::stopped);
  CHECK(whole == false);
}

// ------------------------------------------------------------------------------------------------- what it takes

TEST_CASE("a token that nobody can stop costs nothing and never stops") {
  scripted_executor on;
  std::optional<bool> whole;
  auto root = on.loop.start(
      [](std::optional<bool>& to) -> task<> { to = co_await with_stop_token(std::stop_token{}, ops::nop{}); }(whole));
  on.loop.run_ready();

  on.script.complete(on.script.only(IORING_OP_NOP), 0);
  on.loop.run_ready();

  CHECK(whole == true);
}

TEST_CASE("one token stops many regions, and regions in regions") {
  scripted_executor on;
  std::stop_source source;
  int stopped_count = 0;
  auto root = on.loop.start([](std::stop_token token, int& count) -> task<> {
    co_await with_task_group([&](task_group& group) -> task<> {
      for (int i = 0; i < 10; ++i)
        group.start([&]() -> task<> {
          const auto inner = [&]() -> task<> {
            if (!co_await with_stop_token(token, sleep_for(1h))) ++count;
          };
          (void)co_await with_stop_token(token, inner());
        });
      co_return;
    });
  }(source.get_token(), stopped_count));
  on.loop.run_ready();

  source.request_stop();
  on.loop.run_ready();

  CHECK(root.done());
  CHECK(stopped_count == 0);  // of each pair the outer scope is cancelled as well: the stop ends there
}

TEST_CASE("an exception leaves the region, and the callback is gone by then") {
  scripted_executor on;
  std::stop_source source;
  auto root = on.loop.start([](std::stop_token token) -> task<> {
    const auto fails = []() -> task<> {
      co_await this_task::yield();
      throw std::runtime_error{"as planned"};
    };
    (void)co_await with_stop_token(token, fails());
  }(source.get_token()));

  on.loop.run_ready();
  source.request_stop();

  CHECK_THROWS_AS(root.get(), std::runtime_error);
  CHECK(on.loop.statistics().wakes_suppressed == 0);
}

TEST_CASE("a coroutine of another type opens a region like any other") {
  scripted_executor on;
  std::stop_source source;
  std::optional<int> got;
  auto root = on.loop.start([](std::stop_token token, std::optional<int>& to) -> task<> {
    const auto elsewhere = [&]() -> foreign_task {
      const bool whole = co_await with_stop_token(token, sleep_for(1h));
      co_return whole ? 1 : 2;
    };
    to = co_await elsewhere();
  }(source.get_token(), got));
  on.loop.run_ready();

  source.request_stop();
  on.loop.run_ready();

  CHECK(got == 2);
}

// ------------------------------------------------------------------------------------------------------ real threads

TEST_CASE("a request from another thread wakes an executor that sleeps") {
  for (const parking how : {parking::eventfd, parking::ring_wait}) {
    executor loop{executor_options{.sq_entries = 8, .cq_entries = 64, .park = how}};
    std::stop_source source;
    std::jthread requests{[&] { source.request_stop(); }};

    const bool whole = loop.run([&]() -> task<bool> {
      co_return co_await with_stop_token(source.get_token(), sleep_for(std::chrono::hours{1}));
    });

    CHECK(!whole);
  }
}

// A region is longer after each that ended whole, and shorter after each that was stopped: so that most requests come
// near its end, and both happen on any machine. A region without a wait is not stopped.
TEST_CASE("requests from another thread cross the begin and the end of regions in any way, and nothing dangles") {
  constexpr std::size_t rounds_count = 3000;
  executor loop{executor_options{.sq_entries = 8, .cq_entries = 64}};
  std::vector<std::stop_source> sources(rounds_count);
  std::atomic<std::size_t> begun_count = 0;
  std::size_t whole_count = 0;
  std::size_t stopped_count = 0;

  {
    std::jthread requests{[&] {
      for (std::size_t round = 0; round < rounds_count; ++round) {
        while (begun_count.load() <= round) std::this_thread::yield();
        for (std::atomic<std::size_t> spin = 0; spin < round % 97 * 20; ++spin) {
        }
        sources[round].request_stop();
      }
    }};
    loop.run([&]() -> task<> {
      const auto yields = [](std::size_t times) -> task<> {
        for (std::size_t i = 0; i < times; ++i) co_await this_task::yield();
      };
      std::size_t length = 0;
      for (std::size_t round = 0; round < rounds_count; ++round) {
        ++begun_count;
        const bool whole = co_await with_stop_token(sources[round].get_token(), yields(length));
        ++(whole ? whole_count : stopped_count);
        length = whole ? length * 2 + round % 31 + 1 : length / 2;
      }
    });
  }

  CHECK(whole_count > 0);
  CHECK(stopped_count > 0);
}

}  // namespace gyre
