// SPDX-License-Identifier: MIT
// Deadlines in every order against completions and cancels: on operations, kept by the kernel and by the executor's own
// timers, and on tasks.
#include <gyre/runtime/as_result.hpp>
#include <gyre/runtime/deadline.hpp>
#include <gyre/runtime/ops/file.hpp>
#include <gyre/runtime/ops/misc.hpp>
#include <gyre/runtime/ops/socket.hpp>
#include <gyre/runtime/ops/timeout.hpp>
#include <gyre/runtime/scope.hpp>
#include <gyre/runtime/this_task.hpp>
#include <gyre/runtime/timer.hpp>

#include "../support/foreign_task.hpp"
#include "../support/outcome.hpp"
#include "../support/scripted.hpp"
#include "../support/socket_pair.hpp"

#include <doctest/doctest.h>
#include <liburing.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <optional>
#include <stdexcept>
#include <vector>

namespace gyre {
namespace {

using namespace std::chrono_literals;
using namespace test;
using detail::scripted_ring;

constexpr int some_socket = 1'000'123;

// Both ends of the setting: the meaning has to be the same.
struct keeper {
  const char* name;
  std::chrono::nanoseconds linked_timeout_max;
};
constexpr std::array keepers{keeper{"timer heap", 0ns}, keeper{"linked timeout", std::chrono::nanoseconds::max()}};

task<> recv_within(std::chrono::nanoseconds duration, outcome& noted) {
  std::vector<std::byte> buffer(4);
  co_await observe(with_timeout(duration, ops::recv(some_socket, buffer)), noted);
}

template <class Limit>
task<> recv_until(Limit& until, outcome& noted) {
  std::vector<std::byte> buffer(4);
  co_await observe(with_deadline(until, ops::recv(some_socket, buffer)), noted);
}

task<> do_nothing() { co_return; }

// A recv in flight with 10 ms to go. The script answers cancels.
struct timed_recv {
  explicit timed_recv(const keeper& by, unsigned turn_budget = 256)
      : on{{.on_cancel = scripted_ring::cancels::by_hand},
           {.turn_budget = turn_budget, .linked_timeout_max = by.linked_timeout_max}},
        root{on.loop.start(recv_within(10ms, noted))} {
    on.loop.run_ready();
    CHECK(on.script.only(IORING_OP_RECV).linked == (by.linked_timeout_max > 0ns));
  }

  void reach_deadline() {
    on.script.advance(10ms);
    on.loop.run_ready();
    CHECK(on.script.only(IORING_OP_RECV).stop_asked);
  }

  void cancel_and_reach_deadline(bool deadline_first) {
    if (deadline_first) reach_deadline();
    root.cancel();
    on.loop.run_ready();
    if (!deadline_first) reach_deadline();
  }

  void answer(int res) {
    on.script.complete(on.script.only(IORING_OP_RECV), res);
    on.loop.run_ready();
    CHECK(root.done());
    CHECK(on.loop.timers().empty());
  }

  scripted_executor on;
  outcome noted;
  root_task<void> root;
};

constexpr int stop_answers[] = {-ECANCELED, -EINTR, -512, -516};

}  // namespace

// ------------------------------------------------------------------------------------------------- on an operation

TEST_CASE("a completion before the deadline gives its result, and the deadline is forgotten") {
  for (const auto& by : keepers) {
    CAPTURE(by.name);
    timed_recv subject{by};

    subject.answer(4);

    CHECK(subject.noted.how == ended::with_value);
    subject.on.script.advance(1h);
    subject.on.loop.run_ready();
    CHECK(subject.on.script.taken_count(IORING_OP_ASYNC_CANCEL) == 0);
  }
}

TEST_CASE("a completion that was posted, but not reaped, when the deadline came gives its result") {
  for (const auto& by : keepers) {
    CAPTURE(by.name);
    timed_recv subject{by};

    subject.on.script.complete(subject.on.script.only(IORING_OP_RECV), 4);
    subject.on.script.advance(10ms);
    subject.on.loop.run_ready();

    CHECK(subject.noted.how == ended::with_value);
  }
}

TEST_CASE("a completion that was reaped, but not resumed, when the deadline came gives its result") {
  for (const auto& by : keepers) {
    CAPTURE(by.name);
    timed_recv subject{by, /*turn_budget=*/1};
    auto ready_before = subject.on.loop.start(do_nothing());

    subject.on.script.complete(subject.on.script.only(IORING_OP_RECV), 4);
    subject.on.script.advance(10ms);
    subject.on.loop.turn(/*may_park=*/false);  // reaps, resumes the one who was ready before, expires the deadline
    CHECK(ready_before.done());
    CHECK(subject.noted.how == ended::not_yet);
    subject.on.loop.run_ready();

    CHECK(subject.noted.how == ended::with_value);
    CHECK(subject.on.script.taken_count(IORING_OP_ASYNC_CANCEL) == 0);
  }
}

TEST_CASE("an operation that the deadline ended is timed out, which is no stop") {
  for (const auto& by : keepers) {
    for (const int res : stop_answers) {
      CAPTURE(by.name);
      CAPTURE(res);
      timed_recv subject{by};

      subject.reach_deadline();
      CHECK(subject.noted.how == ended::not_yet);
      subject.answer(res);

      CHECK(subject.noted.how == ended::with_error);
      CHECK(subject.noted.error == std::errc::timed_out);
      CHECK(!subject.root.stopped());
    }
  }
}

TEST_CASE("a result that comes after the deadline is delivered") {
  for (const auto& by : keepers) {
    CAPTURE(by.name);
    timed_recv subject{by};

    subject.reach_deadline();
    subject.answer(4);

    CHECK(subject.noted.how == ended::with_value);
  }
}

TEST_CASE("an error that comes after the deadline is that error") {
  for (const auto& by : keepers) {
    CAPTURE(by.name);
    timed_recv subject{by};

    subject.reach_deadline();
    subject.answer(-ECONNRESET);

    CHECK(subject.noted.error == std::errc::connection_reset);
  }
}

TEST_CASE("cancelled and past its deadline, in either order, an operation is stopped") {
  for (const auto& by : keepers) {
    for (const bool deadline_first : {true, false}) {
      CAPTURE(by.name);
      CAPTURE(deadline_first);
      timed_recv subject{by};

      subject.cancel_and_reach_deadline(deadline_first);
      subject.answer(-ECANCELED);

      CHECK(subject.noted.how == ended::stopped);
      CHECK(subject.root.stopped());
      CHECK(subject.on.script.taken_count(IORING_OP_ASYNC_CANCEL) == 1);
    }
  }
}

TEST_CASE("cancelled and past its deadline, a result is still delivered") {
  for (const auto& by : keepers) {
    for (const bool deadline_first : {true, false}) {
      CAPTURE(by.name);
      CAPTURE(deadline_first);
      timed_recv subject{by};

      subject.cancel_and_reach_deadline(deadline_first);
      subject.answer(4);

      CHECK(subject.noted.how == ended::with_value);
    }
  }
}

TEST_CASE("what was ended by somebody else before its deadline is not timed out") {
  for (const auto& by : keepers) {
    CAPTURE(by.name);
    timed_recv subject{by};

    subject.answer(-ECANCELED);

    CHECK(subject.noted.how == ended::with_error);
    CHECK(subject.noted.error == std::errc::operation_canceled);
  }
}

TEST_CASE("with no time at all, what completes at once is delivered, and anything else is timed out") {
  for (const auto& by : keepers) {
    for (const auto duration : {0ns, std::chrono::nanoseconds{-5s}, std::chrono::nanoseconds::min()}) {
      CAPTURE(by.name);
      CAPTURE(duration.count());
      scripted_executor on{{}, {.linked_timeout_max = by.linked_timeout_max}};
      outcome at_once;
      outcome never;

      on.script.answer = [](const scripted_ring::request&) { return 4; };
      auto first = on.loop.start(recv_within(duration, at_once));
      on.loop.run_ready();
      on.script.answer = nullptr;
      auto second = on.loop.start(recv_within(duration, never));
      on.loop.run_ready();

      CHECK(at_once.how == ended::with_value);
      CHECK(never.how == ended::with_error);
      CHECK(never.error == std::errc::timed_out);
    }
  }
}

TEST_CASE("the longest of durations never ends an operation") {
  for (const auto& by : keepers) {
    CAPTURE(by.name);
    scripted_executor on{{}, {.linked_timeout_max = by.linked_timeout_max}};
    outcome noted;
    auto root = on.loop.start(recv_within(std::chrono::nanoseconds::max(), noted));
    on.loop.run_ready();

    on.script.advance(std::chrono::hours{24 * 365 * 100});
    on.loop.run_ready();
    CHECK(noted.how == ended::not_yet);

    on.script.complete(on.script.only(IORING_OP_RECV), 4);
    on.loop.run_ready();
    CHECK(noted.how == ended::with_value);
  }
}

TEST_CASE("the deadline of a task that is started after a pause counts from its start") {
  scripted_executor on;
  auto asleep = on.loop.start([]() -> task<> { co_await sleep_for(1h); }());
  on.loop.run_ready();
  on.script.advance(10s);  // nobody turns the executor

  auto root = on.loop.start([]() -> task<> {
    std::vector<std::byte> buffer(4);
    co_await with_timeout(5s, ops::recv(some_socket, buffer));
  }());
  on.loop.run_ready();

  CHECK(!root.done());
  on.loop.root_scope().cancel();
  on.loop.run_ready();
}

TEST_CASE("an operation whose deadline passes while it waits for a place in the queue is timed out unsubmitted") {
  scripted_executor on{{.sq_entries = 2}, {.linked_timeout_max = 0ns}};
  outcome noted;
  const auto nop = [](outcome& to) -> task<> { co_await observe(ops::nop(), to); };
  std::array<outcome, 2> fillers;
  auto first = on.loop.start(nop(fillers[0]));
  auto second = on.loop.start(nop(fillers[1]));
  auto root = on.loop.start(recv_within(10ms, noted));
  on.script.refuse(EBUSY);
  on.loop.turn(/*may_park=*/false);

  on.script.advance(10ms);
  on.loop.turn(/*may_park=*/false);
  for (const auto& each : on.script.in_flight(IORING_OP_NOP)) on.script.complete(each, 0);
  on.loop.run_ready();

  CHECK(noted.error == std::errc::timed_out);
  CHECK(on.script.taken_count(IORING_OP_RECV) == 0);
}

TEST_CASE("an operation that a kernel worker may run is never linked") {
  scripted_executor on{{}, {.linked_timeout_max = std::chrono::nanoseconds::max()}};
  outcome noted;
  auto root = on.loop.start([](outcome& to) -> task<> {
    std::vector<std::byte> buffer(4);
    co_await observe(with_timeout(10ms, ops::read(some_socket, buffer)), to);
  }(noted));
  on.loop.run_ready();

  CHECK(!on.script.only(IORING_OP_READ).linked);
  on.script.advance(10ms);
  on.loop.run_ready();
  CHECK(noted.error == std::errc::timed_out);
}

TEST_CASE("link_timeout() links whatever the options say") {
  scripted_executor on{{}, {.linked_timeout_max = 0ns}};
  outcome noted;
  auto root = on.loop.start([](outcome& to) -> task<> {
    std::vector<std::byte> buffer(4);
    co_await observe(ops::link_timeout(ops::recv(some_socket, buffer), 10ms), to);
  }(noted));
  on.loop.run_ready();

  CHECK(on.script.only(IORING_OP_RECV).linked);
  on.script.advance(10ms);
  on.loop.run_ready();
  CHECK(noted.error == std::errc::timed_out);
}

TEST_CASE("each of many linked operations has its own time, however small the queue") {
  scripted_executor on{{.sq_entries = 4}, {.linked_timeout_max = std::chrono::nanoseconds::max()}};
  constexpr int count = 50;
  std::vector<outcome> noted(count);
  std::vector<std::unique_ptr<root_task<void>>> roots;
  const auto began = on.script.now();
  for (int i = 0; i < count; ++i)
    roots.push_back(std::make_unique<root_task<void>>(on.loop, recv_within((i + 1) * 1ms, noted[std::size_t(i)])));
  on.loop.run_ready();

  const auto in_flight = on.script.in_flight(IORING_OP_RECV);
  REQUIRE(in_flight.size() == count);
  for (int i = 0; i < count; ++i) CHECK(in_flight[std::size_t(i)].due == began + (i + 1) * 1'000'000);
  for (int i = 0; i < count; ++i) {
    CHECK(noted[std::size_t(i)].how == ended::not_yet);
    on.script.advance(1ms);
    on.loop.run_ready();
    CHECK(noted[std::size_t(i)].error == std::errc::timed_out);
  }
}

namespace {

task<> recv_all_within(std::chrono::nanoseconds duration, outcome& noted) {
  std::vector<std::byte> buffer(4);
  co_await observe(with_timeout(duration, ops::recv_all(some_socket, buffer)), noted);
}

constexpr executor_options always_linked{.linked_timeout_max = std::chrono::nanoseconds::max()};

}  // namespace

TEST_CASE("in a time namespace a linked timeout ends its operation at its time, and no other") {
  for (const detail::clock_ns shift : {100'000'000'000'000L, -900'000'000L}) {
    CAPTURE(shift);
    scripted_executor on{{.clock_shift = shift}, always_linked};
    outcome noted;
    auto root = on.loop.start(recv_within(10ms, noted));
    on.loop.run_ready();

    on.script.advance(10ms - 1ns);
    on.loop.run_ready();
    CHECK(noted.how == ended::not_yet);

    on.script.advance(1ns);
    on.loop.run_ready();
    CHECK(noted.error == std::errc::timed_out);
  }
}

TEST_CASE("a linked operation that waited for a place has the time that is left") {
  scripted_executor on{{.sq_entries = 2}, always_linked};
  const auto began = on.script.now();
  outcome filler;
  outcome noted;
  auto first = on.loop.start(observe(ops::nop(), filler));
  auto root = on.loop.start(recv_within(10ms, noted));
  on.script.on_enter = [&] {
    on.script.on_enter = nullptr;
    on.script.advance(4ms);  // while the nop goes in
  };

  on.loop.turn(/*may_park=*/false);

  CHECK(on.script.only(IORING_OP_RECV).due == began + 10'000'000);
  on.script.complete(on.script.only(IORING_OP_NOP), 0);
  on.script.advance(6ms);
  on.loop.run_ready();
  CHECK(noted.error == std::errc::timed_out);
}

TEST_CASE("linked operations that the kernel refused at first have the time that is left") {
  scripted_executor on{{}, always_linked};
  const auto began = on.script.now();
  std::array<outcome, 3> noted;
  auto first = on.loop.start(recv_within(10ms, noted[0]));
  auto second = on.loop.start(recv_within(20ms, noted[1]));
  on.script.refuse(EBUSY);
  on.loop.turn(/*may_park=*/false);

  on.script.advance(4ms);
  auto third = on.loop.start(recv_within(30ms, noted[2]));  // goes in with the other two
  on.loop.turn(/*may_park=*/false);

  const auto in_flight = on.script.in_flight(IORING_OP_RECV);
  REQUIRE(in_flight.size() == 3);
  CHECK(in_flight[0].due == began + 10'000'000);
  CHECK(in_flight[1].due == began + 20'000'000);
  CHECK(in_flight[2].due == began + 34'000'000);
  on.script.advance(30ms);
  on.loop.run_ready();
  for (const auto& each : noted) CHECK(each.error == std::errc::timed_out);
}

namespace {

// A recv with 10 ms to go that the kernel has taken without its linked timeout.
struct recv_without_its_timeout {
  explicit recv_without_its_timeout(task<> (*receive)(std::chrono::nanoseconds, outcome&) = recv_within)
      : root{on.loop.start(receive(10ms, noted))} {
    on.script.refuse(EAGAIN, /*taken_count=*/1);
    on.loop.run_ready();
    CHECK(!on.script.only(IORING_OP_RECV).linked);
    CHECK(on.loop.statistics().refusals == 1);
  }

  scripted_executor on{{}, always_linked};
  outcome noted;
  root_task<void> root;
};

}  // namespace

TEST_CASE("an operation that the kernel took without its linked timeout is timed out at its time all the same") {
  recv_without_its_timeout subject;

  subject.on.script.advance(10ms - 1ns);
  subject.on.loop.run_ready();
  CHECK(subject.noted.how == ended::not_yet);
  subject.on.script.advance(1ns);
  subject.on.loop.run_ready();

  CHECK(subject.noted.error == std::errc::timed_out);
  CHECK(subject.on.script.taken_count(IORING_OP_LINK_TIMEOUT) == 0);
  CHECK(subject.on.loop.timers().empty());
}

TEST_CASE("an executor that sleeps wakes for the operation that the kernel took without its timeout") {
  recv_without_its_timeout subject;
  subject.on.script.on_sleep = [&] { subject.on.script.advance_to_next_timeout(); };

  while (!subject.root.done()) subject.on.loop.turn(/*may_park=*/true);

  CHECK(subject.noted.error == std::errc::timed_out);
}

TEST_CASE("an operation whose deadline is the beginning of time, taken without its timeout, keeps nobody asleep") {
  scripted_executor on{{}, {.park = parking::ring_wait, .linked_timeout_max = 1h}};
  outcome moved;
  outcome late;
  movable_deadline idle{detail::time_point_of(on.script.now()) + 10s};
  auto watched = on.loop.start(recv_until(idle, moved));
  on.loop.run_ready();
  const auto move_and_recv = [&]() -> task<> {
    idle.expires_at(idle.expiry() + 10s);  // is described in the park, behind the operation
    on.script.refuse(EAGAIN, /*taken_count=*/1);
    constexpr auto beginning_of_time = std::chrono::steady_clock::time_point::min();
    co_await recv_until(beginning_of_time, late);
  };
  auto root = on.loop.start(move_and_recv());
  int sleeps_count = 0;
  on.script.on_sleep = [&] {
    ++sleeps_count;
    on.loop.post([] {});
  };

  while (!root.done() && sleeps_count == 0) on.loop.turn(/*may_park=*/true);

  CHECK(sleeps_count == 0);
  CHECK(late.error == std::errc::timed_out);
  CHECK(on.loop.statistics().refusals == 1);
  on.stop(root);
  on.stop(watched);
}

TEST_CASE("a result, an error, or a stop of an operation without its timeout forgets the deadline") {
  SUBCASE("a result") {
    recv_without_its_timeout subject;
    subject.on.script.complete(subject.on.script.only(IORING_OP_RECV), 4);
    subject.on.loop.run_ready();
    CHECK(subject.noted.how == ended::with_value);
    CHECK(subject.on.loop.timers().empty());
  }
  SUBCASE("an error") {
    recv_without_its_timeout subject;
    subject.on.script.complete(subject.on.script.only(IORING_OP_RECV), -ECONNRESET);
    subject.on.loop.run_ready();
    CHECK(subject.noted.error == std::errc::connection_reset);
    CHECK(subject.on.loop.timers().empty());
  }
  SUBCASE("a stop") {
    recv_without_its_timeout subject;
    subject.root.cancel();
    subject.on.loop.run_ready();
    CHECK(subject.noted.how == ended::stopped);
    CHECK(subject.on.loop.timers().empty());
  }
}

TEST_CASE("an operation that ends as it is taken without its timeout gives its result") {
  scripted_executor on{{}, always_linked};
  outcome noted;
  auto root = on.loop.start(recv_within(10ms, noted));
  on.script.answer = [](const scripted_ring::request&) { return 4; };
  on.script.refuse(EAGAIN, /*taken_count=*/1);

  on.loop.run_ready();

  CHECK(noted.how == ended::with_value);
  CHECK(on.loop.timers().empty());
}

TEST_CASE("the rest of an operation that lost its timeout has one again") {
  recv_without_its_timeout subject{recv_all_within};
  const auto taken_at = subject.on.script.now();

  subject.on.script.advance(4ms);
  subject.on.script.deliver(subject.on.script.only(IORING_OP_RECV), "ab");
  subject.on.loop.run_ready();
  CHECK(subject.on.script.only(IORING_OP_RECV).due == taken_at + 10'000'000);
  subject.on.script.advance(6ms);
  subject.on.loop.run_ready();

  CHECK(subject.noted.error == std::errc::timed_out);
  CHECK(subject.on.loop.timers().empty());
}

TEST_CASE("wherever the kernel stops taking entries, each operation ends at its own deadline") {
  constexpr std::size_t count = 3;
  for (unsigned taken_count = 0; taken_count < 2 * count; ++taken_count) {
    for (unsigned taken_then = 0; taken_then < 2 * count - taken_count; ++taken_then) {
      CAPTURE(taken_count);
      CAPTURE(taken_then);
      scripted_executor on{{.sq_entries = 8}, always_linked};
      std::array<outcome, count> noted;
      std::vector<std::unique_ptr<root_task<void>>> roots;
      for (std::size_t i = 0; i < count; ++i)
        roots.push_back(
            std::make_unique<root_task<void>>(on.loop, recv_within(static_cast<int>(i + 1) * 10ms, noted[i])));
      on.script.refuse(EAGAIN, taken_count);
      on.script.refuse(EAGAIN, taken_then);
      on.loop.run_ready();

      for (const auto& each : noted) {
        CHECK(each.how == ended::not_yet);
        on.script.advance(10ms);
        on.loop.run_ready();
        CHECK(each.error == std::errc::timed_out);
      }
    }
  }
}

TEST_CASE("what is left of a linked operation of many parts has the time that is left") {
  scripted_executor on{{}, always_linked};
  const auto began = on.script.now();
  outcome noted;
  auto root = on.loop.start(recv_all_within(10ms, noted));
  on.loop.run_ready();

  on.script.advance(4ms);
  on.script.deliver(on.script.only(IORING_OP_RECV), "ab");
  on.loop.run_ready();

  CHECK(on.script.only(IORING_OP_RECV).due == began + 10'000'000);
  on.script.advance(6ms);
  on.loop.run_ready();
  CHECK(noted.error == std::errc::timed_out);
}

TEST_CASE("on the kernel, an idle connection times out and one with data does not") {
  for (const auto& by : keepers) {
    CAPTURE(by.name);
    executor loop{{.linked_timeout_max = by.linked_timeout_max}};
    const socket_pair pair;

    loop.run([&]() -> task<> {
      std::array<std::byte, 4> buffer;
      const auto idle = co_await as_result(with_timeout(1ms, ops::recv(pair.here, buffer)));
      CHECK(idle.error() == std::errc::timed_out);

      REQUIRE(::send(pair.there.get(), "data", 4, 0) == 4);
      const auto ready = co_await as_result(with_timeout(0ns, ops::recv(pair.here, buffer)));
      CHECK(ready.value() == 4);
    });
  }
}

// ------------------------------------------------------------------------------------------------------ on a task

namespace {

task<int> recv_then(int value) {
  std::vector<std::byte> buffer(4);
  co_await ops::recv(some_socket, buffer);
  co_return value;
}

task<> timed(std::chrono::nanoseconds duration, outcome& noted) {
  co_await observe(with_timeout(duration, recv_then(7)), noted);
}

struct timed_task_in_flight {
  timed_task_in_flight() : root{on.loop.start(timed(10ms, noted))} { on.loop.run_ready(); }

  void answer(int res) {
    on.script.complete(on.script.only(IORING_OP_RECV), res);
    on.loop.run_ready();
    CHECK(on.loop.timers().empty());
  }

  scripted_executor on{{.on_cancel = scripted_ring::cancels::by_hand}};
  outcome noted;
  root_task<void> root;
};

}  // namespace

TEST_CASE("a task that ends before its deadline gives its value") {
  timed_task_in_flight subject;

  subject.answer(4);

  CHECK(subject.noted.how == ended::with_value);
}

TEST_CASE("a task that its deadline ended is timed out, which is no stop outside") {
  timed_task_in_flight subject;

  subject.on.script.advance(10ms);
  subject.on.loop.run_ready();
  CHECK(subject.noted.how == ended::not_yet);
  subject.answer(-ECANCELED);

  CHECK(subject.noted.error == std::errc::timed_out);
  CHECK(!subject.root.stopped());
}

TEST_CASE("a task's value that crossed the deadline is delivered") {
  timed_task_in_flight subject;

  subject.on.script.advance(10ms);
  subject.on.loop.run_ready();
  subject.answer(4);

  CHECK(subject.noted.how == ended::with_value);
}

TEST_CASE("a task's exception that crossed the deadline is rethrown") {
  timed_task_in_flight subject;

  subject.on.script.advance(10ms);
  subject.on.loop.run_ready();
  subject.answer(-ECONNRESET);

  CHECK(subject.noted.error == std::errc::connection_reset);
}

TEST_CASE("a task that is cancelled from outside and past its deadline is stopped, in either order") {
  for (const bool deadline_first : {true, false}) {
    CAPTURE(deadline_first);
    timed_task_in_flight subject;

    if (deadline_first) subject.on.script.advance(10ms);
    subject.on.loop.run_ready();
    subject.root.cancel();
    subject.on.loop.run_ready();
    subject.on.script.advance(10ms);
    subject.on.loop.run_ready();
    subject.answer(-ECANCELED);

    CHECK(subject.noted.how == ended::stopped);
    CHECK(subject.root.stopped());
    CHECK(subject.on.script.taken_count(IORING_OP_ASYNC_CANCEL) == 1);
  }
}

TEST_CASE("of nested deadlines the nearer one wins, and says so where it stands") {
  for (const bool inner_first : {true, false}) {
    CAPTURE(inner_first);
    scripted_executor on;
    outcome inner;
    outcome outer;
    const auto both = [](bool first, outcome& in, outcome& out) -> task<> {
      const auto body = [](std::chrono::nanoseconds duration, outcome& to) -> task<> {
        co_await observe(with_timeout(duration, recv_then(1)), to);
      };
      co_await observe(with_timeout(first ? 20ms : 5ms, body(10ms, in)), out);
    };
    auto root = on.loop.start(both(inner_first, inner, outer));
    on.loop.run_ready();

    on.script.advance(10ms);
    on.loop.run_ready();

    if (inner_first) {
      CHECK(inner.error == std::errc::timed_out);
      CHECK(outer.how == ended::with_value);
    } else {
      CHECK(inner.how == ended::stopped);
      CHECK(outer.error == std::errc::timed_out);
    }
    CHECK(root.done());
  }
}

TEST_CASE("a deadline on a sleep, the shorter of the two decides") {
  for (const bool sleep_first : {true, false}) {
    CAPTURE(sleep_first);
    scripted_executor on;
    outcome noted;
    auto root = on.loop.start([](bool first, outcome& to) -> task<> {
      co_await observe(with_timeout(10ms, sleep_for(first ? 5ms : 20ms)), to);
    }(sleep_first, noted));
    on.loop.run_ready();

    on.script.advance(10ms);
    on.loop.run_ready();

    if (sleep_first) CHECK(noted.how == ended::with_value);
    else CHECK(noted.error == std::errc::timed_out);
  }
}

TEST_CASE("a deadline takes down a hundred thousand frames, and their owner goes on") {
  scripted_executor on;
  outcome noted;
  struct levels {
    static task<> below(int count) {
      if (count == 0) co_await sleep_for(1h);
      else co_await below(count - 1);
    }
  };
  auto root = on.loop.start(
      [](outcome& to) -> task<> { co_await observe(with_timeout(10ms, levels::below(100'000)), to); }(noted));
  on.loop.run_ready();

  on.script.advance(10ms);
  on.loop.run_ready();

  CHECK(noted.error == std::errc::timed_out);
}

TEST_CASE("a shielded task obeys its own deadline in a scope that is cancelled") {
  scripted_executor on;
  outcome noted;
  auto root = on.loop.start(
      [](outcome& to) -> task<> { co_await observe(shield(with_timeout(10ms, recv_then(1))), to); }(noted));
  on.loop.run_ready();

  root.cancel();
  on.loop.run_ready();
  CHECK(noted.how == ended::not_yet);
  on.script.advance(10ms);
  on.loop.run_ready();

  CHECK(noted.error == std::errc::timed_out);
}

namespace {

foreign_task foreign_within(std::chrono::nanoseconds duration) {
  std::vector<std::byte> buffer(4);
  try {
    co_await with_timeout(duration, ops::recv(some_socket, buffer));
  } catch (const std::system_error& error) {
    co_return error.code().value();
  }
  co_return 0;
}

foreign_task foreign_around_task(std::chrono::nanoseconds duration) {
  try {
    co_await with_timeout(duration, recv_then(1));
  } catch (const std::system_error& error) {
    co_return error.code().value();
  }
  co_return 0;
}

}  // namespace

TEST_CASE("a coroutine of another type can set deadlines, and tells a timeout from a stop") {
  for (const auto make : {&foreign_within, &foreign_around_task}) {
    for (const bool cancelled : {true, false}) {
      CAPTURE(cancelled);
      scripted_executor on;
      auto root = on.loop.start([](auto body) -> task<int> { co_return co_await body(10ms); }(make));
      on.loop.run_ready();

      if (cancelled) root.cancel();
      else on.script.advance(10ms);
      on.loop.run_ready();

      REQUIRE(root.done());
      CHECK(root.get() == (cancelled ? ECANCELED : ETIMEDOUT));
    }
  }
}

// ------------------------------------------------------------------------------------------------ a point in time

namespace {

using time_point = std::chrono::steady_clock::time_point;

time_point in(scripted_executor& on, std::chrono::nanoseconds duration) {
  return time_point{std::chrono::nanoseconds{on.script.now()} + duration};
}

task<> recv_until(time_point when, outcome& noted) {
  std::vector<std::byte> buffer(4);
  co_await observe(with_deadline(when, ops::recv(some_socket, buffer)), noted);
}

}  // namespace

TEST_CASE("a deadline at a point in time ends an operation then, whenever it was awaited") {
  for (const auto& by : keepers) {
    CAPTURE(by.name);
    scripted_executor on{{.on_cancel = scripted_ring::cancels::by_hand}, {.linked_timeout_max = by.linked_timeout_max}};
    outcome noted;
    const time_point when = in(on, 10ms);
    on.script.advance(4ms);
    auto root = on.loop.start(recv_until(when, noted));
    on.loop.run_ready();
    CHECK(on.script.only(IORING_OP_RECV).linked == (by.linked_timeout_max > 0ns));

    on.script.advance(6ms - 1ns);
    on.loop.run_ready();
    CHECK(!on.script.only(IORING_OP_RECV).stop_asked);
    on.script.advance(1ns);
    on.loop.run_ready();
    CHECK(on.script.only(IORING_OP_RECV).stop_asked);
    on.script.complete(on.script.only(IORING_OP_RECV), -ECANCELED);
    on.loop.run_ready();

    CHECK(noted.error == std::errc::timed_out);
  }
}

TEST_CASE("a point in time that has passed, however long ago, times out what does not complete at once") {
  for (const auto& by : keepers) {
    for (const time_point when : {time_point::min(), time_point{}, time_point{1s - 1ns}}) {
      CAPTURE(by.name);
      scripted_executor on{{}, {.linked_timeout_max = by.linked_timeout_max}};
      outcome noted;
      auto root = on.loop.start(recv_until(when, noted));

      on.loop.run_ready();
      on.script.advance(0ns);
      on.loop.run_ready();

      CHECK(noted.error == std::errc::timed_out);
    }
  }
}

TEST_CASE("a result that comes after the point in time is delivered, and the end of time never ends anything") {
  for (const auto& by : keepers) {
    CAPTURE(by.name);
    scripted_executor on{{.on_cancel = scripted_ring::cancels::by_hand}, {.linked_timeout_max = by.linked_timeout_max}};
    outcome late;
    auto root = on.loop.start(recv_until(in(on, 10ms), late));
    on.loop.run_ready();
    on.script.advance(10ms);
    on.loop.run_ready();
    on.script.complete(on.script.only(IORING_OP_RECV), 4);
    on.loop.run_ready();
    CHECK(late.how == ended::with_value);

    outcome endless;
    auto other = on.loop.start(recv_until(time_point::max(), endless));
    on.loop.run_ready();
    on.script.advance(std::chrono::hours{24 * 365 * 100});
    on.loop.run_ready();
    CHECK(endless.how == ended::not_yet);
    on.script.complete(on.script.only(IORING_OP_RECV), 4);
    on.loop.run_ready();
    CHECK(endless.how == ended::with_value);
  }
}

TEST_CASE("several steps share one end: a task, a sleep and an operation") {
  scripted_executor on;
  std::vector<outcome> noted(3);
  auto root = on.loop.start([](time_point when, std::vector<outcome>& to) -> task<> {
    std::vector<std::byte> buffer(4);
    co_await observe(with_deadline(when, sleep_for(4ms)), to[0]);
    co_await observe(with_deadline(when, recv_then(7)), to[1]);
    co_await observe(with_deadline(when, ops::recv(some_socket, buffer)), to[2]);
  }(in(on, 10ms), noted));
  on.loop.run_ready();

  on.script.advance(4ms);
  on.loop.run_ready();
  on.script.complete(on.script.only(IORING_OP_RECV), 4);
  on.loop.run_ready();
  on.script.advance(6ms);
  on.loop.run_ready();

  CHECK(noted[0].how == ended::with_value);
  CHECK(noted[1].how == ended::with_value);
  CHECK(noted[2].error == std::errc::timed_out);
}

TEST_CASE("a task past its point in time is timed out at its first wait; one that does not wait gives its value") {
  scripted_executor on;
  outcome waits;
  outcome computes;
  auto root = on.loop.start([](time_point when, outcome& one, outcome& other) -> task<> {
    co_await observe(with_deadline(when, recv_then(7)), one);
    co_await observe(with_deadline(when, []() -> task<int> { co_return 1; }()), other);
  }(in(on, -1s), waits, computes));

  on.loop.run_ready();

  CHECK(waits.error == std::errc::timed_out);
  CHECK(computes.how == ended::with_value);
}

// ------------------------------------------------------------------------------------------------------ moving on

namespace {

// How a wait with move_on_after() or move_on_at() ended: with a value, empty, with an error, or not at all.
struct moved_on {
  outcome how;
  std::optional<std::size_t> got;
};

task<> move_on(std::chrono::nanoseconds after, moved_on& noted) {
  const stop_watch watch{noted.how};
  std::vector<std::byte> buffer(4);
  try {
    noted.got = co_await move_on_after(after, ops::recv(some_socket, buffer));
    noted.how.how = ended::with_value;
  } catch (const std::system_error& error) {
    noted.how = {ended::with_error, error.code()};
  }
}

task<std::size_t> recv_in_task() {
  std::vector<std::byte> buffer(4);
  co_return co_await ops::recv(some_socket, buffer);
}

task<> move_on_from_task(std::chrono::nanoseconds after, moved_on& noted) {
  const stop_watch watch{noted.how};
  try {
    noted.got = co_await move_on_after(after, recv_in_task());
    noted.how.how = ended::with_value;
  } catch (const std::system_error& error) {
    noted.how = {ended::with_error, error.code()};
  }
}

// A recv with 10 ms to go, awaited by itself and in a task, with both keepers.
struct moving_on {
  moving_on(const keeper& by, task<> (*begin)(std::chrono::nanoseconds, moved_on&))
      : on{{.on_cancel = scripted_ring::cancels::by_hand}, {.linked_timeout_max = by.linked_timeout_max}},
        root{on.loop.start(begin(10ms, noted))} {
    on.loop.run_ready();
  }

  void reach_deadline() {
    on.script.advance(10ms);
    on.loop.run_ready();
  }
  void answer(int res) {
    on.script.complete(on.script.only(IORING_OP_RECV), res);
    on.loop.run_ready();
    CHECK(root.done());
    CHECK(on.loop.timers().empty());
  }

  scripted_executor on;
  moved_on noted;
  root_task<void> root;
};

template <class Check>
void for_each_way_to_move_on(Check check) {
  for (const auto& by : keepers) {
    for (auto* const begin : {&move_on, &move_on_from_task}) {
      CAPTURE(by.name);
      CAPTURE((begin == &move_on));
      moving_on subject{by, begin};
      check(subject);
    }
  }
}

}  // namespace

TEST_CASE("move_on_after() gives the value that came in time") {
  for_each_way_to_move_on([](moving_on& subject) {
    subject.answer(4);

    CHECK(subject.noted.how.how == ended::with_value);
    CHECK(subject.noted.got == 4);
  });
}

TEST_CASE("move_on_after() gives nothing, and no error, when the deadline ended it") {
  for_each_way_to_move_on([](moving_on& subject) {
    subject.reach_deadline();
    CHECK(subject.noted.how.how == ended::not_yet);
    subject.answer(-ECANCELED);

    CHECK(subject.noted.how.how == ended::with_value);
    CHECK(!subject.noted.got);
    CHECK(!subject.root.stopped());
  });
}

TEST_CASE("move_on_after() delivers a value that crossed the deadline") {
  for_each_way_to_move_on([](moving_on& subject) {
    subject.reach_deadline();
    subject.answer(3);

    CHECK(subject.noted.got == 3);
  });
}

TEST_CASE("move_on_after() throws the kernel's errors, also one that is called timed_out") {
  for (const int error : {ECONNRESET, ETIMEDOUT}) {
    for (const bool past_the_deadline : {false, true}) {
      CAPTURE(error);
      CAPTURE(past_the_deadline);
      for_each_way_to_move_on([&](moving_on& subject) {
        if (past_the_deadline) subject.reach_deadline();
        subject.answer(-error);

        CHECK(subject.noted.how.how == ended::with_error);
        CHECK(subject.noted.how.error.value() == error);
      });
    }
  }
}

TEST_CASE("move_on_after() in a scope that is cancelled is stopped, whether the deadline came first or not") {
  for (const bool deadline_first : {true, false}) {
    CAPTURE(deadline_first);
    for_each_way_to_move_on([&](moving_on& subject) {
      if (deadline_first) subject.reach_deadline();
      subject.root.cancel();
      subject.on.loop.run_ready();
      if (!deadline_first) subject.reach_deadline();
      subject.answer(-ECANCELED);

      CHECK(subject.noted.how.how == ended::stopped);
      CHECK(subject.root.stopped());
    });
  }
}

TEST_CASE("for what gives no value, move_on_after() and move_on_at() tell whether it ran to its end") {
  scripted_executor on;
  std::vector<bool> whole;
  auto root = on.loop.start([](time_point when, std::vector<bool>& to) -> task<> {
    to.push_back(co_await move_on_after(1ms, sleep_for(2ms)));
    to.push_back(co_await move_on_after(2ms, sleep_for(1ms)));
    to.push_back(co_await move_on_at(when, ops::nop{}));
    to.push_back(co_await move_on_at(when, ops::nop{}));
    to.push_back(co_await move_on_at(when, []() -> task<> { co_await sleep_for(1h); }()));
    to.push_back(co_await move_on_at(when, sleep_for(1h)));
  }(in(on, 10ms), whole));
  on.loop.run_ready();
  on.script.advance(1ms);
  on.loop.run_ready();
  on.script.advance(1ms);
  on.loop.run_ready();

  on.script.complete(on.script.only(IORING_OP_NOP), 0);
  on.loop.run_ready();
  on.script.advance(8ms);
  on.loop.run_ready();

  CHECK(whole == std::vector<bool>{false, true, true, false, false, false});
}

TEST_CASE("a transfer of many parts that the deadline ended half way says how far it got; before it, nothing") {
  for (const auto& by : keepers) {
    for (const int first_part : {0, 3}) {
      CAPTURE(by.name);
      CAPTURE(first_part);
      scripted_executor on{{}, {.linked_timeout_max = by.linked_timeout_max}};
      std::optional<bool> whole;
      std::optional<std::size_t> bytes;
      auto root = on.loop.start([](auto& ended_whole, auto& moved) -> task<> {
        std::vector<std::byte> buffer(8);
        try {
          ended_whole = co_await move_on_after(10ms, ops::recv_all(some_socket, buffer));
        } catch (const transfer_error& error) {
          moved = error.bytes();
          CHECK(error.code() == std::errc::timed_out);
        }
      }(whole, bytes));
      on.loop.run_ready();
      if (first_part > 0) on.script.complete(on.script.only(IORING_OP_RECV), first_part);
      on.loop.run_ready();

      on.script.advance(10ms);
      on.loop.run_ready();

      CHECK(root.done());
      if (first_part == 0) CHECK(whole == false);
      else CHECK(bytes == 3);
    }
  }
}

TEST_CASE("a task that cancels the scope of its move_on_after() by hand leaves nothing, too") {
  scripted_executor on;
  std::optional<bool> whole;
  auto root = on.loop.start([](std::optional<bool>& to) -> task<> {
    const auto gives_up = []() -> task<> {
      (co_await this_task::scope()).cancel();
      co_await sleep_for(1h);
    };
    to = co_await move_on_after(1s, gives_up());
  }(whole));

  on.loop.run_ready();

  CHECK(whole == false);
}

TEST_CASE("a coroutine of another type moves on, too") {
  scripted_executor on;
  std::optional<int> got;
  auto root = on.loop.start([](std::optional<int>& to) -> task<> {
    const auto moves_on = []() -> foreign_task {
      std::vector<std::byte> buffer(4);
      const auto received = co_await move_on_after(10ms, ops::recv(some_socket, buffer));
      const bool slept = co_await move_on_after(10ms, sleep_for(1h));
      co_return (received ? 1 : 0) + (slept ? 2 : 0);
    };
    to = co_await moves_on();
  }(got));
  on.loop.run_ready();

  on.script.advance(10ms);
  on.loop.run_ready();
  on.script.advance(10ms);
  on.loop.run_ready();

  CHECK(got == 0);
}

TEST_CASE("a long deadline counts from the turn in which it begins, also when who drives the executor was elsewhere") {
  scripted_executor on;
  std::array<std::byte, 1> buffer{};
  outcome noted;
  auto sleeper = on.loop.start([]() -> task<> { co_await sleep_for(1h); }());
  auto reader = on.loop.start([](std::span<std::byte> into, outcome& ended) -> task<> {
    co_await ops::recv(1'000'001, into);
    co_await observe(with_timeout(5s, ops::recv(1'000'001, into)), ended);
  }(buffer, noted));
  on.loop.run_ready();

  on.script.advance(10s);
  on.script.complete(on.script.only(IORING_OP_RECV), 1);
  on.loop.run_ready();
  CHECK(noted.how == ended::not_yet);
  on.script.advance(5s);
  on.loop.run_ready();

  CHECK(noted.error == std::errc::timed_out);
  sleeper.cancel();
  on.loop.run_ready();
}

}  // namespace gyre
