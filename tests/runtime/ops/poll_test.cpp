// SPDX-License-Identifier: MIT
// Streams of polls: on the kernel what they tell and when, and on the scripted ring how they are armed, changed, given
// up, and end. Single polls: socket_test.cpp.
#include <gyre/runtime/as_result.hpp>
#include <gyre/runtime/executor.hpp>
#include <gyre/runtime/ops/cancel.hpp>
#include <gyre/runtime/ops/direct.hpp>
#include <gyre/runtime/ops/poll.hpp>

#include "../../support/outcome.hpp"
#include "../../support/scripted.hpp"
#include "../../support/socket_pair.hpp"
#include "../../support/turning.hpp"

#include <doctest/doctest.h>
#include <liburing.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <cstdint>
#include <vector>

namespace gyre {
namespace {

using namespace test;

void write_one(const unique_fd& to) { REQUIRE(::send(to.get(), "x", 1, 0) == 1); }
void read_one(const unique_fd& from) {
  char byte = 0;
  REQUIRE(::recv(from.get(), &byte, 1, MSG_DONTWAIT) == 1);
}

constexpr int some_descriptor = 1'000'123;

// Reads events one after another, and notes them.
task<> note_events(ops::poll_stream& from, int how_many, std::vector<std::uint32_t>& told, outcome& noted) {
  for (int i = 0; i < how_many; ++i) {
    const stop_watch watch{noted};
    const auto events = co_await as_result(from.next());
    noted.how = events ? ended::with_value : ended::with_error;
    noted.error = events.error();
    if (events) told.push_back(*events);
  }
}

// A stream on the scripted ring, with a reader.
struct polled {
  explicit polled(int how_many, ops::poll_trigger trigger = ops::poll_trigger::edge)
      : stream{some_descriptor, POLLIN, trigger}, root{on.loop.start(note_events(stream, how_many, told, noted))} {
    on.loop.run_ready();
  }

  void say(std::int32_t res, std::uint32_t flags) {
    on.script.complete(on.script.only(IORING_OP_POLL_ADD), res, flags);
    on.loop.run_ready();
  }
  void answer_cancel(std::int32_t res) {
    on.script.complete(on.script.only(IORING_OP_ASYNC_CANCEL), res);
    on.loop.run_ready();
  }
  // Starts the change, and answers it.
  template <class Op>
  outcome change(Op op, std::int32_t res) {
    outcome changed;
    auto changing = on.loop.start(observe(std::move(op), changed));
    on.loop.run_ready();
    on.script.complete(on.script.only(IORING_OP_POLL_REMOVE), res);
    on.loop.run_ready();
    return changed;
  }

  scripted_executor on{by_hand};
  std::vector<std::uint32_t> told;
  outcome noted;
  ops::poll_stream stream;
  root_task<void> root;
};

}  // namespace

// ------------------------------------------------------------------------------------------------- on the kernel

TEST_CASE("an edge-triggered stream tells what holds, and then each event when it comes, by one request") {
  const socket_pair pair;
  executor loop{{.direct_descriptors = 1}};

  loop.run([&]() -> task<> {
    write_one(pair.there);
    const auto direct = co_await ops::to_direct(pair.here);
    ops::poll_stream events(direct, POLLIN);
    CHECK(co_await events.next() == POLLIN);
    write_one(pair.there);
    CHECK(co_await events.next() == POLLIN);
    const auto sqes_before = executor::current().statistics().sqes;
    write_one(pair.there);
    CHECK(co_await events.next() == POLLIN);
    CHECK(executor::current().statistics().sqes == sqes_before);
  });
}

TEST_CASE("a level-triggered stream tells of an event as long as it holds") {
  const socket_pair pair;
  executor loop;
  std::vector<std::uint32_t> told;
  outcome noted;
  write_one(pair.there);
  ops::poll_stream events(pair.here, POLLIN, ops::poll_trigger::level);
  {
    auto root = loop.start(note_events(events, 3, told, noted));
    turn_until_done(loop, root);
    CHECK(told == std::vector<std::uint32_t>(3, POLLIN));
  }

  read_one(pair.here);
  auto root = loop.start(note_events(events, 1, told, noted));
  loop.run_ready();
  CHECK(noted.how == ended::not_yet);
  write_one(pair.there);
  turn_until_done(loop, root);
  CHECK(told.size() == 4);
}

TEST_CASE("a level-triggered stream does not tell of what held when nobody waited") {
  const socket_pair pair;
  executor loop;
  std::vector<std::uint32_t> told;
  outcome noted;
  ops::poll_stream events(pair.here, POLLIN, ops::poll_trigger::level);
  {
    auto stopped = loop.start(note_events(events, 1, told, noted));
    loop.run_ready();
    stopped.cancel();
    turn_until_done(loop, stopped);
  }
  write_one(pair.there);
  loop.run_ready();
  read_one(pair.here);

  auto root = loop.start(note_events(events, 1, told, noted));
  loop.run_ready();

  CHECK(noted.how == ended::not_yet);
  root.cancel();
  turn_until_done(loop, root);
}

TEST_CASE("a peer that closes is an event that nobody has to ask for") {
  socket_pair pair;
  executor loop;

  loop.run([&]() -> task<> {
    ops::poll_stream events(pair.here, POLLIN);
    pair.there.reset();
    CHECK((co_await events.next() & POLLHUP) != 0);
  });
}

TEST_CASE("a stream waits for other events from an update on") {
  const socket_pair pair;
  executor loop;

  loop.run([&]() -> task<> {
    for (const auto trigger : {ops::poll_trigger::edge, ops::poll_trigger::level}) {
      ops::poll_stream events(pair.here, POLLOUT, trigger);
      CHECK(co_await events.next() == POLLOUT);
      co_await ops::poll_update(events, POLLIN);
      write_one(pair.there);
      CHECK(co_await events.next() == POLLIN);
      co_await ops::poll_update(events, POLLOUT | POLLIN);
      CHECK(co_await events.next() == (POLLIN | POLLOUT));
      read_one(pair.here);
    }
  });
}

TEST_CASE("a stream whose request was removed goes on with a new one") {
  const socket_pair pair;
  executor loop;

  loop.run([&]() -> task<> {
    ops::poll_stream events(pair.here, POLLIN);
    CHECK(co_await ops::poll_remove(events) == false);
    write_one(pair.there);
    CHECK(co_await events.next() == POLLIN);
    CHECK(co_await ops::poll_remove(events) == true);
    CHECK(co_await events.next() == POLLIN);
  });
}

TEST_CASE("an eventfd that is polled wakes a sleeping executor each time") {
  const unique_fd counter{::eventfd(0, EFD_CLOEXEC)};
  executor loop;

  loop.run([&]() -> task<> {
    ops::poll_stream events(counter, POLLIN);
    for (std::uint64_t i = 1; i <= 3; ++i) {
      REQUIRE(::eventfd_write(counter.get(), 1) == 0);
      CHECK(co_await events.next() == POLLIN);
    }
  });
}

TEST_CASE("a stream of polls of what is no descriptor fails, each time that it is asked") {
  executor loop;

  loop.run([]() -> task<> {
    for (const auto trigger : {ops::poll_trigger::edge, ops::poll_trigger::level}) {
      ops::poll_stream events(-1, POLLIN, trigger);
      for (int i = 0; i < 2; ++i) CHECK((co_await as_result(events.next())).error() == std::errc::bad_file_descriptor);
    }
  });
}

TEST_CASE("a stream whose request somebody else ends says so, and goes on") {
  const socket_pair pair;
  executor loop;
  std::vector<std::uint32_t> told;
  outcome noted;
  ops::poll_stream events(pair.here, POLLIN);
  auto root = loop.start(note_events(events, 2, told, noted));
  loop.run_ready();

  loop.run([&]() -> task<> { CHECK(co_await ops::cancel_fd(pair.here) == 1); });
  loop.run_ready();
  CHECK(noted.how == ended::not_yet);
  write_one(pair.there);
  turn_until_done(loop, root);

  CHECK(told == std::vector<std::uint32_t>{POLLIN});
}

// --------------------------------------------------------------------------------------------- each order, by script

TEST_CASE("events that nobody takes are told together, once") {
  polled subject{1};
  subject.say(POLLIN, IORING_CQE_F_MORE);
  REQUIRE(subject.root.done());
  subject.say(POLLIN, IORING_CQE_F_MORE);
  subject.say(POLLIN | POLLHUP, IORING_CQE_F_MORE);

  auto root = subject.on.loop.start(note_events(subject.stream, 2, subject.told, subject.noted));
  subject.on.loop.run_ready();

  CHECK(subject.told == std::vector<std::uint32_t>{POLLIN, POLLIN | POLLHUP});
  CHECK(subject.noted.how == ended::not_yet);
  subject.on.stop(root);
  subject.say(-ECANCELED, 0);
}

TEST_CASE("a request that the kernel ended with an event is made again, and the event told") {
  polled subject{2};

  subject.say(POLLIN, 0);
  CHECK(subject.told.size() == 1);
  CHECK(subject.on.script.taken_count(IORING_OP_POLL_ADD) == 2);
  subject.say(POLLIN, IORING_CQE_F_MORE);

  CHECK(subject.told.size() == 2);
  CHECK((subject.on.script.only(IORING_OP_POLL_ADD).len & IORING_POLL_ADD_MULTI) != 0);
  subject.say(-ECANCELED, 0);
}

TEST_CASE("a stream that goes has its request cancelled, and what still comes is nobody's") {
  scripted_executor on{by_hand};
  std::vector<std::uint32_t> told;
  outcome noted;
  {
    ops::poll_stream stream(some_descriptor, POLLIN);
    auto root = on.loop.start(note_events(stream, 1, told, noted));
    on.loop.run_ready();
    on.stop(root);
    CHECK(noted.how == ended::stopped);
  }
  on.loop.run_ready();

  CHECK(on.script.only(IORING_OP_POLL_ADD).stop_asked);
  on.script.complete(on.script.only(IORING_OP_POLL_ADD), POLLIN, IORING_CQE_F_MORE);
  on.loop.run_ready();
  on.script.complete(on.script.only(IORING_OP_POLL_ADD), -ECANCELED);
  on.loop.run_ready();
  CHECK(told.empty());
}

TEST_CASE("an update that the kernel takes, or that finds no request, needs nothing more") {
  for (const std::int32_t answer : {0, -ENOENT}) {
    polled subject{1};

    const auto changed = subject.change(ops::poll_update(subject.stream, POLLOUT), answer);

    CHECK(changed.how == ended::with_value);
    CHECK(subject.on.script.taken_count(IORING_OP_ASYNC_CANCEL) == 0);
    subject.say(POLLIN, IORING_CQE_F_MORE);  // that was under way: nobody wants it now
    CHECK(subject.told.empty());
    subject.say(POLLOUT, IORING_CQE_F_MORE);
    CHECK(subject.told == std::vector<std::uint32_t>{POLLOUT});
    subject.say(-ECANCELED, 0);
  }
}

TEST_CASE("an update that crosses an event has the request replaced by one for the new events") {
  for (const bool event_first : {true, false}) {
    CAPTURE(event_first);
    polled subject{1};

    const auto changed = subject.change(ops::poll_update(subject.stream, POLLOUT), -EALREADY);
    CHECK(changed.how == ended::with_value);
    if (event_first) subject.say(POLLIN, IORING_CQE_F_MORE);
    subject.answer_cancel(0);
    subject.say(-ECANCELED, 0);

    CHECK(subject.told.empty());
    CHECK(subject.noted.how == ended::not_yet);
    CHECK(subject.on.script.taken_count(IORING_OP_POLL_ADD) == 2);
    CHECK(subject.on.script.only(IORING_OP_POLL_ADD).op_flags == POLLOUT);
    subject.say(POLLOUT, IORING_CQE_F_MORE);
    CHECK(subject.told == std::vector<std::uint32_t>{POLLOUT});
    subject.say(-ECANCELED, 0);
  }
}

TEST_CASE("a removal ends the request, whatever is under way; a reader that waits has it made again") {
  for (const std::int32_t answer : {0, -EALREADY}) {
    CAPTURE(answer);
    polled subject{1};

    const auto changed = subject.change(ops::poll_remove(subject.stream), answer);
    CHECK(changed.how == ended::with_value);
    if (answer == -EALREADY) subject.answer_cancel(0);
    subject.say(-ECANCELED, 0);

    CHECK(subject.noted.how == ended::not_yet);
    CHECK(subject.on.script.taken_count(IORING_OP_POLL_ADD) == 2);
    subject.say(POLLIN, IORING_CQE_F_MORE);
    CHECK(subject.noted.how == ended::with_value);
    subject.say(-ECANCELED, 0);
  }
}

TEST_CASE("a level-triggered stream asks anew for each reader, and forgets what came for one that was stopped") {
  for (const bool event_first : {true, false}) {
    CAPTURE(event_first);
    polled subject{1, ops::poll_trigger::level};
    CHECK(subject.on.script.only(IORING_OP_POLL_ADD).len == 0);
    subject.on.stop(subject.root);
    CHECK(subject.noted.how == ended::stopped);

    if (event_first) {
      subject.say(POLLIN, 0);
      subject.answer_cancel(-ENOENT);
    } else {
      subject.answer_cancel(0);
      subject.say(-ECANCELED, 0);
    }
    auto root = subject.on.loop.start(note_events(subject.stream, 1, subject.told, subject.noted));
    subject.on.loop.run_ready();

    CHECK(subject.noted.how == ended::not_yet);
    subject.say(POLLIN, 0);
    CHECK(subject.told == std::vector<std::uint32_t>{POLLIN});
    CHECK(subject.on.script.in_flight().empty());
  }
}

}  // namespace gyre
