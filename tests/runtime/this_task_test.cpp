// SPDX-License-Identifier: MIT
// What a coroutine learns about itself, and how it gives way.
#include <gyre/runtime/as_result.hpp>
#include <gyre/runtime/deadline.hpp>
#include <gyre/runtime/ops/misc.hpp>
#include <gyre/runtime/scope.hpp>
#include <gyre/runtime/task_group.hpp>
#include <gyre/runtime/this_task.hpp>
#include <gyre/runtime/timer.hpp>

#include "../support/foreign_task.hpp"
#include "../support/outcome.hpp"
#include "../support/scripted.hpp"

#include <doctest/doctest.h>
#include <liburing.h>

#include <chrono>
#include <optional>
#include <vector>

namespace gyre {
namespace {

using namespace std::chrono_literals;
using namespace test;
using time_point = std::chrono::steady_clock::time_point;

time_point in(scripted_executor& on, std::chrono::nanoseconds duration) {
  return time_point{std::chrono::nanoseconds{on.script.now()} + duration};
}

task<> note_deadline(std::optional<time_point>& noted) { noted = co_await this_task::deadline(); }

task<> note_turns(int name, int count, std::vector<int>& noted) {
  for (int i = 0; i < count; ++i) {
    noted.push_back(name);
    co_await this_task::yield();
  }
}

task<> yield_for_ever(outcome& noted, int& rounds_count) {
  const stop_watch watch{noted};
  for (;;) {
    ++rounds_count;
    co_await this_task::yield();
  }
}

foreign_task yield_elsewhere(int& rounds_count) {
  for (; rounds_count < 3; ++rounds_count) co_await this_task::yield();
  co_return rounds_count;
}

foreign_task checkpoint_elsewhere() {
  co_await this_task::checkpoint();
  co_return 1;
}

}  // namespace

// ------------------------------------------------------------------------------------------------- what it is told

TEST_CASE("a coroutine finds the innermost scope that it is in") {
  scripted_executor on;
  auto root = on.loop.start([]() -> task<> {
    cancel_scope& outer = co_await this_task::scope();
    co_await with_cancel_scope([&](cancel_scope& inner) -> task<> {
      CHECK(&co_await this_task::scope() == &inner);
      CHECK(inner.parent() == &outer);
    });
    co_await with_task_group(
        [](task_group& group) -> task<> { CHECK(&co_await this_task::scope() == &group.scope()); });
    CHECK(&co_await this_task::scope() == &outer);
  }());

  on.loop.run_ready();
  root.get();
}

TEST_CASE("asking for the scope suspends nobody and stops nobody") {
  scripted_executor on;
  bool went_on = false;
  auto root = on.loop.start([](bool& noted) -> task<> {
    cancel_scope& mine = co_await this_task::scope();
    CHECK(!co_await this_task::stop_requested());
    mine.cancel();
    CHECK(co_await this_task::stop_requested());
    CHECK(&co_await this_task::scope() == &mine);
    CHECK(!(co_await this_task::deadline()).has_value());
    noted = true;
    co_await sleep_for(1h);
    noted = false;
  }(went_on));

  on.loop.turn(/*may_park=*/false);
  CHECK(went_on);
  on.loop.run_ready();
  CHECK(root.stopped());
  CHECK(went_on);
}

TEST_CASE("a coroutine of another type finds the scope of the task that awaits it") {
  scripted_executor on;
  cancel_scope* found = nullptr;
  auto root = on.loop.start([](cancel_scope*& noted) -> task<> {
    const auto asks = [&]() -> foreign_task {
      noted = &co_await this_task::scope();
      co_return 0;
    };
    co_await asks();
  }(found));

  on.loop.run_ready();

  CHECK(found == &root.scope());
}

// ---------------------------------------------------------------------------------------------------- its deadline

TEST_CASE("without a deadline around it there is none") {
  scripted_executor on;
  std::optional<time_point> noted = time_point{};
  auto root = on.loop.start(note_deadline(noted));

  on.loop.run_ready();

  CHECK(!noted);
}

TEST_CASE("the nearest deadline is told, whether it is the outer one or the inner one") {
  scripted_executor on;
  std::optional<time_point> noted;
  const time_point soon = in(on, 1s);

  SUBCASE("inner") {
    auto root = on.loop.start(
        [](auto& to) -> task<> { co_await with_timeout(1h, with_timeout(1s, note_deadline(to))); }(noted));
    on.loop.run_ready();
  }
  SUBCASE("outer") {
    auto root = on.loop.start(
        [](auto& to) -> task<> { co_await with_timeout(1s, with_timeout(1h, note_deadline(to))); }(noted));
    on.loop.run_ready();
  }

  CHECK(noted == soon);
}

TEST_CASE("a shield hides the deadlines outside it, and not its own") {
  scripted_executor on;
  std::optional<time_point> hidden = time_point{};
  std::optional<time_point> own;
  const time_point later = in(on, 10s);
  auto root = on.loop.start([](auto& bare, auto& with_its_own) -> task<> {
    const auto both = [&]() -> task<> {
      co_await shield(note_deadline(bare));
      co_await shield(with_timeout(10s, note_deadline(with_its_own)));
    };
    co_await with_timeout(1s, both());
  }(hidden, own));

  on.loop.run_ready();

  CHECK(!hidden);
  CHECK(own == later);
}

TEST_CASE("a deadline that has passed is told as long as its scope is open") {
  scripted_executor on;
  std::optional<time_point> noted;
  const time_point when = in(on, 1s);
  auto root = on.loop.start([](auto& to) -> task<> {
    const auto works_on = [&]() -> task<> {
      (void)co_await as_result(stopped_as_error(sleep_for(1h)));
      to = co_await this_task::deadline();
    };
    (void)co_await as_result(with_timeout(1s, works_on()));
  }(noted));
  on.loop.run_ready();

  on.script.advance(2s);
  on.loop.run_ready();

  CHECK(root.done());
  CHECK(noted == when);
}

// ------------------------------------------------------------------------------------------------------------ yield

TEST_CASE("who yields goes behind everything that is ready") {
  scripted_executor on;
  std::vector<int> noted;
  auto first = on.loop.start(note_turns(1, 3, noted));
  auto second = on.loop.start(note_turns(2, 3, noted));

  on.loop.run_ready();

  CHECK(noted == std::vector{1, 2, 1, 2, 1, 2});
}

TEST_CASE("a yield waits for one turn and asks the kernel for nothing") {
  scripted_executor on;
  std::vector<int> noted;
  auto root = on.loop.start(note_turns(1, 2, noted));

  on.loop.turn(/*may_park=*/true);
  CHECK(noted.size() == 1);
  CHECK(!root.done());
  on.loop.turn(/*may_park=*/true);
  CHECK(noted.size() == 2);
  on.loop.run_ready();

  CHECK(root.done());
  CHECK(on.script.enters_count() == 0);
  CHECK(on.loop.statistics().parks == 0);
}

TEST_CASE("who yields for ever starves neither the kernel's answers nor the timers") {
  scripted_executor on;
  outcome yielding;
  outcome answered;
  outcome slept;
  int rounds_count = 0;
  auto busy = on.loop.start(yield_for_ever(yielding, rounds_count));
  auto asks = on.loop.start(observe(ops::nop{}, answered));
  auto sleeps = on.loop.start(observe(sleep_until(in(on, 1ms)), slept));
  for (int i = 0; i < 3; ++i) on.loop.turn(/*may_park=*/false);

  on.script.complete(on.script.only(IORING_OP_NOP), 0);
  on.script.advance(1ms);
  for (int i = 0; i < 3; ++i) on.loop.turn(/*may_park=*/false);

  CHECK(answered.how == ended::with_value);
  CHECK(slept.how == ended::with_value);
  CHECK(yielding.how == ended::not_yet);
  busy.cancel();
  on.loop.run_ready();
  CHECK(busy.stopped());
}

TEST_CASE("a yield in a cancelled scope is stopped, and does not come back") {
  scripted_executor on;
  outcome noted;
  int rounds_count = 0;
  auto root = on.loop.start(yield_for_ever(noted, rounds_count));
  root.cancel();

  on.loop.run_ready();

  CHECK(noted.how == ended::stopped);
  CHECK(rounds_count == 1);
}

TEST_CASE("a cancel that comes while a yield is in the ready queue takes effect at the next wait") {
  scripted_executor on{{}, one_at_a_time};
  outcome noted;
  int rounds_count = 0;
  auto root = on.loop.start(yield_for_ever(noted, rounds_count));
  on.loop.turn(/*may_park=*/false);
  CHECK(rounds_count == 1);

  root.cancel();
  on.loop.turn(/*may_park=*/false);
  CHECK(rounds_count == 2);
  CHECK(noted.how == ended::not_yet);

  on.loop.run_ready();
  CHECK(noted.how == ended::stopped);
  CHECK(rounds_count == 2);
}

TEST_CASE("a yield whose stop is asked for as an error comes back with it") {
  scripted_executor on;
  outcome noted;
  auto root = on.loop.start(observe(stopped_as_error(this_task::yield()), noted));
  root.cancel();

  on.loop.run_ready();

  CHECK(noted.how == ended::with_error);
  CHECK(noted.error == std::errc::operation_canceled);
}

TEST_CASE("a coroutine of another type yields, and hears of a stop as an error") {
  scripted_executor on;
  int rounds_count = 0;
  std::error_code error;
  auto root = on.loop.start([](int& rounds, std::error_code& noted) -> task<> {
    CHECK(co_await yield_elsewhere(rounds) == 3);
    rounds = 0;
    (co_await this_task::scope()).cancel();
    try {
      co_await yield_elsewhere(rounds);
    } catch (const std::system_error& stopped) {
      noted = stopped.code();
    }
  }(rounds_count, error));

  on.loop.run_ready();

  CHECK(root.done());
  CHECK(rounds_count == 0);
  CHECK(error == std::errc::operation_canceled);
}

// ------------------------------------------------------------------------------------------------------- checkpoint

TEST_CASE("a checkpoint goes on in the same turn as long as nobody has cancelled") {
  scripted_executor on;
  auto root = on.loop.start([]() -> task<> {
    for (int i = 0; i < 1000; ++i) co_await this_task::checkpoint();
  }());

  on.loop.turn(/*may_park=*/false);

  CHECK(root.done());
  CHECK(on.loop.statistics().resumes == 1);
}

TEST_CASE("a checkpoint in a cancelled scope is where the stop arrives") {
  scripted_executor on;
  outcome noted;
  auto root = on.loop.start([](outcome& to) -> task<> {
    const stop_watch watch{to};
    co_await this_task::checkpoint();
    (co_await this_task::scope()).cancel();
    co_await this_task::checkpoint();
    to.how = ended::with_value;
  }(noted));

  on.loop.run_ready();

  CHECK(noted.how == ended::stopped);
}

TEST_CASE("a shield lets a checkpoint pass in a cancelled scope") {
  scripted_executor on;
  bool passed = false;
  auto root = on.loop.start([](bool& noted) -> task<> {
    (co_await this_task::scope()).cancel();
    co_await shield(this_task::checkpoint());
    noted = true;
  }(passed));

  on.loop.run_ready();

  CHECK(passed);
}

TEST_CASE("a checkpoint in a coroutine of another type throws when the scope is cancelled") {
  scripted_executor on;
  std::error_code error;
  auto root = on.loop.start([](std::error_code& noted) -> task<> {
    CHECK(co_await checkpoint_elsewhere() == 1);
    (co_await this_task::scope()).cancel();
    try {
      co_await checkpoint_elsewhere();
    } catch (const std::system_error& stopped) {
      noted = stopped.code();
    }
  }(error));

  on.loop.run_ready();

  CHECK(error == std::errc::operation_canceled);
}

}  // namespace gyre
