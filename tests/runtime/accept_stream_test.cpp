// SPDX-License-Identifier: MIT
// A multishot accept as a stream: what is in store, in flight and on its way when readers stop, streams go, and the
// kernel ends the request by itself.
#include <gyre/runtime/as_result.hpp>
#include <gyre/runtime/ops/accept_stream.hpp>
#include <gyre/runtime/timer.hpp>

#include "../support/outcome.hpp"
#include "../support/scripted.hpp"

#include <doctest/doctest.h>
#include <liburing.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <optional>
#include <utility>
#include <vector>

namespace gyre {
namespace {

using namespace std::chrono_literals;
using namespace test;
using detail::scripted_ring;

constexpr int some_listener = 1'000'123;

int new_descriptor() { return ::dup(STDERR_FILENO); }

// Takes connections one after another, notes how each next() ended, and closes what it got.
task<> take(int how_many, std::vector<outcome>& noted, std::chrono::nanoseconds pause = 0ns) {
  ops::accept_stream incoming(some_listener);
  for (int i = 0; i < how_many; ++i) {
    noted.emplace_back();
    const stop_watch watch{noted.back()};
    const auto got = co_await as_result(incoming.next());
    noted.back().how = got ? ended::with_value : ended::with_error;
    noted.back().error = got.error();
    if (pause > 0ns) co_await sleep_for(pause);
  }
}

// A stream that waits for its first connection.
struct waiting_stream {
  explicit waiting_stream(int how_many, std::chrono::nanoseconds pause = 0ns)
      : open_before{open_descriptors_count()}, root{on.loop.start(take(how_many, noted, pause))} {
    noted.reserve(static_cast<std::size_t>(how_many));
    on.loop.run_ready();
  }

  scripted_ring::request accepting() const { return on.script.only(IORING_OP_ACCEPT); }
  void connect(std::uint32_t cqe_flags = IORING_CQE_F_MORE) {
    on.script.complete(accepting(), new_descriptor(), cqe_flags);
    on.loop.run_ready();
  }
  void end(int res) {
    on.script.complete(accepting(), res);
    on.loop.run_ready();
  }
  void answer_cancels() {
    for (const auto& each : on.script.in_flight(IORING_OP_ASYNC_CANCEL)) on.script.complete(each, 0);
  }

  std::size_t open_before;
  scripted_executor on{by_hand};
  std::vector<outcome> noted;
  root_task<void> root;
};

}  // namespace

TEST_CASE("one request serves many connections") {
  waiting_stream subject{3};

  for (int i = 0; i < 3; ++i) subject.connect();

  CHECK(subject.root.done());
  CHECK(subject.noted.size() == 3);
  CHECK(subject.on.script.taken_count(IORING_OP_ACCEPT) == 1);
  CHECK(open_descriptors_count() == subject.open_before);
  subject.end(-ECANCELED);  // the stream is gone, its request was cancelled
}

TEST_CASE("a request that the kernel ended is made again, and the connection that came with its end is not lost") {
  waiting_stream subject{2};

  subject.connect(/*cqe_flags=*/0);  // as after an overflow
  CHECK(subject.noted[0].how == ended::with_value);
  CHECK(subject.on.script.taken_count(IORING_OP_ACCEPT) == 2);
  subject.connect();

  CHECK(subject.root.done());
  subject.end(-ECANCELED);
}

TEST_CASE("an error goes to the reader, who can go on") {
  waiting_stream subject{2};

  subject.end(-EMFILE);
  CHECK(subject.noted[0].error == std::errc::too_many_files_open);
  subject.connect();

  CHECK(subject.noted[1].how == ended::with_value);
  subject.end(-ECANCELED);
}

TEST_CASE("a request that somebody else cancelled is an error") {
  waiting_stream subject{1};

  subject.end(-ECANCELED);

  CHECK(subject.noted[0].error == std::errc::operation_canceled);
}

TEST_CASE("a reader that is stopped while it waits leaves at once; the request is cancelled with its stream") {
  waiting_stream subject{1};

  subject.on.stop(subject.root);

  CHECK(subject.noted[0].how == ended::stopped);
  CHECK(subject.root.stopped());
  CHECK(subject.accepting().stop_asked);
  subject.end(-ECANCELED);
}

TEST_CASE("connections that come for a stream that is gone are closed, until the request ends") {
  waiting_stream subject{1};
  subject.on.stop(subject.root);

  for (int i = 0; i < 3; ++i) subject.connect();
  CHECK(open_descriptors_count() == subject.open_before);
  subject.connect(/*cqe_flags=*/0);

  CHECK(open_descriptors_count() == subject.open_before);
  CHECK(subject.on.script.in_flight(IORING_OP_ACCEPT).empty());
}

TEST_CASE("an executor that is destroyed as the kernel is about to try a stream's request again ends it") {
  std::optional<scripted_executor> on{std::in_place,
                                      by_hand};  // so that the cancel of the stream's own is not answered
  std::vector<outcome> noted;
  {
    auto root = on->loop.start(take(1, noted));
    on->loop.run_ready();
    on->stop(root);
  }
  on->script.try_again_on_enter(on->script.only(IORING_OP_ACCEPT));

  on.reset();

  CHECK(noted.size() == 1);
}

TEST_CASE("connections in store when a stream goes are closed") {
  waiting_stream subject{2, /*pause=*/1h};
  for (int i = 0; i < 5; ++i) subject.connect();
  CHECK(open_descriptors_count() > subject.open_before);

  subject.on.stop(subject.root);

  CHECK(open_descriptors_count() == subject.open_before);
  subject.end(-ECANCELED);
}

TEST_CASE("a stream that is ended closes what it has in store and what comes nevertheless, and tells its reader") {
  const std::size_t open_before = open_descriptors_count();
  {
    scripted_executor on{by_hand};
    ops::accept_stream incoming{some_listener};
    outcome noted;
    const auto take_one = [&]() -> task<> { co_await observe(incoming.next(), noted); };
    const auto connect = [&] {
      on.script.complete(on.script.only(IORING_OP_ACCEPT), new_descriptor(), IORING_CQE_F_MORE);
      on.loop.run_ready();
    };
    auto first = on.loop.start(take_one());
    on.loop.run_ready();
    for (int i = 0; i < 3; ++i) connect();
    CHECK(noted.how == ended::with_value);
    const std::size_t open_with_store = open_descriptors_count();

    incoming.end();
    CHECK(open_descriptors_count() == open_with_store - 2);
    auto second = on.loop.start(take_one());
    on.loop.run_ready();
    connect();
    CHECK(open_descriptors_count() == open_with_store - 2);
    CHECK(noted.how == ended::not_yet);
    for (const auto& each : on.script.in_flight(IORING_OP_ASYNC_CANCEL)) on.script.complete(each, 0);
    on.script.complete(on.script.only(IORING_OP_ACCEPT), -ECANCELED);
    on.loop.run_ready();

    CHECK(noted.error == std::errc::operation_canceled);
    CHECK(on.script.taken_count(IORING_OP_ACCEPT) == 1);
  }
  CHECK(open_descriptors_count() == open_before);
}

TEST_CASE("a connection that crosses the stop of its reader is delivered, or closed with the stream") {
  waiting_stream subject{1};

  subject.on.script.complete(subject.accepting(), new_descriptor(), IORING_CQE_F_MORE);
  subject.on.stop(subject.root);

  CHECK(subject.root.done());
  CHECK(open_descriptors_count() == subject.open_before);
  subject.end(-ECANCELED);
}

TEST_CASE("in a cancelled scope what is in store is delivered, and with nothing in store next() is stopped") {
  scripted_executor on;
  int delivered_count = 0;
  auto root = on.loop.start([](int& counted) -> task<> {
    ops::accept_stream incoming(some_listener);
    CHECK(co_await incoming.next());
    const auto slept = co_await as_result(stopped_as_error(sleep_for(1h)));
    CHECK(slept.error() == std::errc::operation_canceled);
    while (co_await incoming.next()) ++counted;
  }(delivered_count));
  on.loop.run_ready();
  const auto accepting = on.script.only(IORING_OP_ACCEPT);
  for (int i = 0; i < 4; ++i) on.script.complete(accepting, new_descriptor(), IORING_CQE_F_MORE);
  on.loop.run_ready();

  on.stop(root);

  CHECK(delivered_count == 3);
  CHECK(root.stopped());
}

TEST_CASE("a reader that is slow pauses the request, and when it has caught up the request is made again") {
  constexpr int in_store = static_cast<int>(ops::accept_stream::pause_at);
  waiting_stream subject{in_store + 3, /*pause=*/1ms};
  for (int i = 0; i < in_store + 1; ++i) subject.connect();

  REQUIRE(subject.accepting().stop_asked);
  subject.connect();  // one that was under way
  subject.answer_cancels();
  subject.end(-ECANCELED);
  CHECK(subject.on.script.in_flight(IORING_OP_ACCEPT).empty());
  for (int i = 0; i < in_store + 2; ++i) subject.on.advance(1ms);
  CHECK(subject.on.script.taken_count(IORING_OP_ACCEPT) == 2);
  subject.connect();
  subject.on.advance(1ms);

  CHECK(subject.root.done());
  for (const auto& each : subject.noted) CHECK(each.how == ended::with_value);
  CHECK(open_descriptors_count() == subject.open_before);
  if (!subject.on.script.in_flight(IORING_OP_ACCEPT).empty()) subject.end(-ECANCELED);
}

TEST_CASE("a stream whose request found no place in the queue can go without the kernel hearing of it") {
  scripted_executor on{{.sq_entries = 2, .on_cancel = scripted_ring::cancels::by_hand}};
  on.script.refuse(EBUSY);
  on.script.refuse(EBUSY);
  std::vector<outcome> noted;
  noted.reserve(1);
  std::vector<outcome> others;
  others.reserve(2);
  auto first = on.loop.start(take(1, others));
  auto second = on.loop.start(take(1, others));
  auto root = on.loop.start(take(1, noted));
  on.loop.turn(/*may_park=*/false);

  root.cancel();
  on.loop.turn(/*may_park=*/false);
  on.loop.run_ready();

  CHECK(noted[0].how == ended::stopped);
  for (const auto& each : on.script.in_flight(IORING_OP_ACCEPT)) on.script.complete(each, new_descriptor());
  on.loop.run_ready();
  CHECK(first.done());
  CHECK(second.done());
  for (const auto& each : on.script.in_flight(IORING_OP_ACCEPT)) on.script.complete(each, -ECANCELED);
}

TEST_CASE("stopped_as_error() tells a reader of the stop") {
  scripted_executor on{by_hand};
  outcome noted;
  auto root = on.loop.start([](outcome& to) -> task<> {
    ops::accept_stream incoming(some_listener);
    co_await observe(stopped_as_error(incoming.next()), to);
  }(noted));
  on.loop.run_ready();

  on.stop(root);

  CHECK(noted.error == std::errc::operation_canceled);
  on.script.complete(on.script.only(IORING_OP_ACCEPT), -ECANCELED);
  on.loop.run_ready();
}

TEST_CASE("a stream that was never read, or was moved from, goes without a trace") {
  ops::accept_stream first{some_listener};
  const ops::accept_stream second{std::move(first)};
}

}  // namespace gyre
