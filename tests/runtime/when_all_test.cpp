// SPDX-License-Identifier: MIT
// when_all(): whose values come back in which order, what a failure and a stop do to whom, and what it costs.
#include <gyre/runtime/as_result.hpp>
#include <gyre/runtime/deadline.hpp>
#include <gyre/runtime/executor.hpp>
#include <gyre/runtime/ops/misc.hpp>
#include <gyre/runtime/scope.hpp>
#include <gyre/runtime/timer.hpp>
#include <gyre/runtime/when_all.hpp>

#include "../support/branches.hpp"
#include "../support/captured_log.hpp"
#include "../support/foreign_task.hpp"
#include "../support/outcome.hpp"
#include "../support/scripted.hpp"
#include "../support/small_stack.hpp"

#include <doctest/doctest.h>

#include <chrono>
#include <memory>
#include <stdexcept>
#include <string>
#include <tuple>
#include <utility>
#include <variant>
#include <vector>

namespace gyre {
namespace {

using namespace std::chrono_literals;
using namespace test;

}  // namespace

// ----------------------------------------------------------------------------------------------------- values

TEST_CASE("when_all gives a tuple of what its tasks and operations give, in their order") {
  scripted_executor on;
  std::string text = "referred to";
  auto root = on.loop.start([](std::string& referred) -> task<> {
    const auto values = co_await when_all(value_after(1, 20ms), sleep_for(10ms), moves_only(2), refers_to(referred),
                                          with_timeout(1h, value_after(3, 5ms)));
    using expected = std::tuple<int, std::monostate, std::unique_ptr<int>, std::string&, int>;
    static_assert(std::is_same_v<decltype(values), const expected>);
    CHECK(std::get<0>(values) == 1);
    CHECK(*std::get<2>(values) == 2);
    CHECK(&std::get<3>(values) == &referred);
    CHECK(std::get<4>(values) == 3);
  }(text));

  on.loop.run_ready();
  on.advance(10ms);
  CHECK(!root.done());

  on.advance(10ms);
  root.get();
}

TEST_CASE("when_all of a vector gives a vector of values, in the order of the tasks and not of their ends") {
  scripted_executor on;
  auto root = on.loop.start([]() -> task<> {
    std::vector<task<std::unique_ptr<int>>> tasks;
    for (const int number : {3, 1, 2}) tasks.push_back(moves_only(number, number * 1ms));
    const auto values = co_await when_all(std::move(tasks));
    REQUIRE(values.size() == 3);
    CHECK(*values[0] == 3);
    CHECK(*values[1] == 1);
    CHECK(*values[2] == 2);
  }());

  on.loop.run_ready();
  on.advance(3ms);

  root.get();
}

TEST_CASE("a vector of operations, of tasks without a value, or of tasks with references will do, too") {
  scripted_executor on;
  auto root = on.loop.start([]() -> task<> {
    std::vector<sleep_operation> sleeps;
    sleeps.push_back(sleep_for(1ms));
    sleeps.push_back(sleep_for(2ms));
    static_assert(std::is_void_v<decltype(when_all(std::move(sleeps)).await_resume())>);
    co_await when_all(std::move(sleeps));

    std::vector<std::string> texts{"a", "b"};
    std::vector<task<std::string&>> tasks;
    for (std::string& each : texts) tasks.push_back(refers_to(each));
    const auto values = co_await when_all(std::move(tasks));
    CHECK(&values[1].get() == &texts[1]);
  }());

  on.loop.run_ready();
  on.advance(2ms);

  root.get();
}

TEST_CASE("when_all of an empty vector does not wait") {
  scripted_executor on;
  auto root = on.loop.start([]() -> task<> {
    CHECK((co_await when_all(std::vector<task<int>>{})).empty());
    co_await when_all(std::vector<task<>>{});
  }());

  on.loop.turn(/*may_park=*/false);

  root.get();
}

// ------------------------------------------------------------------------------------------------ begin and end

TEST_CASE("branches begin after who awaits them, in their order, and each runs as far as it can") {
  scripted_executor on{{}, one_at_a_time};
  std::vector<int> order;
  const auto notes = [](std::vector<int>& to, int number) -> task<> {
    to.push_back(number);
    co_await sleep_for(0ns);
    to.push_back(10 + number);
  };
  auto root = on.loop.start([](std::vector<int>& to, auto note) -> task<> {
    to.push_back(0);
    co_await when_all(note(to, 1), note(to, 2));
  }(order, notes));

  on.loop.turn(/*may_park=*/false);
  CHECK(order == std::vector{0});

  on.loop.turn(/*may_park=*/false);
  CHECK(order == std::vector{0, 1, 2});

  on.loop.run_ready();
  CHECK(order == std::vector{0, 1, 2, 11, 12});
  root.get();
}

TEST_CASE("a long list begins in portions: other ready work runs in between") {
  static constexpr int count = 1000;
  scripted_executor on;
  int begun = 0;
  int begun_when_the_other_ran = -1;
  auto root = on.loop.start([](int& counted) -> task<> {
    const auto counts = [](int& to) -> task<int> { co_return ++to; };
    std::vector<task<int>> tasks;
    for (int i = 0; i < count; ++i) tasks.push_back(counts(counted));
    const auto values = co_await when_all(std::move(tasks));
    CHECK(values.back() == count);
  }(begun));
  on.loop.turn(/*may_park=*/false);  // the list is queued
  on.loop.post([&] { begun_when_the_other_ran = begun; });

  on.loop.run_ready();

  CHECK(begun_when_the_other_ran > 0);
  CHECK(begun_when_the_other_ran < count);
  CHECK(begun == count);
  root.get();
}

TEST_CASE("a branch's arguments go when it ends, not when all have") {
  scripted_executor on;
  const auto argument = std::make_shared<int>(1);
  auto root = on.loop.start([](std::shared_ptr<int> held) -> task<> {
    const auto with_argument = [](std::shared_ptr<int>) -> task<> { co_await sleep_for(1ms); };
    co_await when_all(with_argument(std::move(held)), sleep_for(2ms));
  }(argument));
  on.loop.run_ready();
  CHECK(argument.use_count() == 2);

  on.advance(1ms);

  CHECK(argument.use_count() == 1);
  CHECK(!root.done());
  on.advance(1ms);
  root.get();
}

TEST_CASE("a when_all that is never awaited destroys its tasks, and does nothing else") {
  outcome noted;
  const auto argument = std::make_shared<int>(1);
  {
    const auto never_awaited = when_all(notes_its_end(noted, argument), notes_its_end(noted, argument));
    CHECK(argument.use_count() == 3);
  }

  CHECK(argument.use_count() == 1);
  CHECK(noted.how == ended::not_begun);
}

// ---------------------------------------------------------------------------------------------------- failures

TEST_CASE("the first that fails stops the others, and its exception is thrown when they have ended") {
  for (const bool as_list : {false, true}) {
    CAPTURE(as_list);
    scripted_executor on;
    outcome noted;
    auto root = on.loop.start([](bool list, outcome& to) -> task<> {
      if (!list) co_await when_all(notes_its_end(to), fails_after(1, 10ms));
      std::vector<task<>> tasks;
      tasks.push_back(notes_its_end(to));
      tasks.push_back(fails_after(1, 10ms));
      co_await when_all(std::move(tasks));
    }(as_list, noted));
    on.loop.run_ready();
    CHECK(noted.how == ended::not_yet);

    on.advance(10ms);

    CHECK(noted.how == ended::stopped);
    CHECK(failure_of(root) == 1);
  }
}

TEST_CASE("branches behind one that fails at once do not begin, and their arguments are destroyed") {
  scripted_executor on;
  outcome noted;
  const auto argument = std::make_shared<int>(1);
  auto root = on.loop.start([](outcome& to, std::shared_ptr<int> held) -> task<> {
    co_await when_all(fails_at_once(2), notes_its_end(to, std::move(held)));
  }(noted, argument));

  on.loop.run_ready();

  CHECK(noted.how == ended::not_begun);
  CHECK(failure_of(root) == 2);
  CHECK(argument.use_count() == 1);
}

TEST_CASE("a second failure is logged, and does not replace the first") {
  const captured_log logged;
  scripted_executor on;
  auto root = on.loop.start([]() -> task<> { co_await when_all(fails_when_stopped(3), fails_after(1, 10ms)); }());
  on.loop.run_ready();

  on.advance(10ms);

  CHECK(failure_of(root) == 1);
  CHECK(logged.text().find("failure 3") != std::string::npos);
}

TEST_CASE("a value that throws when it is moved is a failure of its branch") {
  struct throws_when_moved {
    throws_when_moved() = default;
    throws_when_moved(throws_when_moved&& other) : moves_left{other.moves_left - 1} {
      if (moves_left < 0) throw failure{7};
    }
    int moves_left = 0;
  };
  for (int moves = 0; moves < 8; ++moves) {
    CAPTURE(moves);
    scripted_executor on;
    outcome noted;
    auto root = on.loop.start([](int count, outcome& to) -> task<> {
      const auto gives = [](int left) -> task<throws_when_moved> {
        throws_when_moved value;
        value.moves_left = left;
        co_return value;
      };
      co_await when_all(gives(count), [](outcome& mine) -> task<> {
        const stop_watch watch{mine};
        co_await sleep_for(1ms);
        mine.how = ended::with_value;
      }(to));
    }(moves, noted));

    on.loop.run_ready();
    on.advance(1ms);

    // The first moves are the branch's own, before the other one has ended; the last is into the tuple.
    REQUIRE(root.done());
    const int failed_with = failure_of(root);
    if (moves == 0) CHECK(failed_with == 7);
    if (moves == 7) CHECK(failed_with == 0);
    CHECK((failed_with == 7 || failed_with == 0));
  }
}

// ------------------------------------------------------------------------------------------------------- stops

TEST_CASE("in a scope that is cancelled already, no branch begins") {
  scripted_executor on;
  outcome noted;
  auto late = on.loop.start([](outcome& to) -> task<> {
    static_cast<void>(co_await as_result(stopped_as_error(sleep_for(1h))));
    co_await when_all(notes_its_end(to), notes_its_end(to));
  }(noted));
  on.loop.run_ready();
  late.cancel();
  on.loop.run_ready();

  CHECK(late.stopped());
  CHECK(noted.how == ended::not_begun);
}

TEST_CASE("a stop that comes between the co_await and the branches' turn: none begins") {
  scripted_executor on{{}, one_at_a_time};
  outcome noted;
  auto root =
      on.loop.start([](outcome& to) -> task<> { co_await when_all(notes_its_end(to), notes_its_end(to)); }(noted));
  on.loop.turn(/*may_park=*/false);

  on.stop(root);

  CHECK(root.stopped());
  CHECK(noted.how == ended::not_begun);
}

TEST_CASE("a stop from outside stops the branches that wait, waits for them, and goes on outwards") {
  scripted_executor on;
  std::vector<outcome> noted(3);
  auto root = on.loop.start([](std::vector<outcome>& to) -> task<> {
    const stop_watch watch{to[2]};
    co_await when_all(notes_its_end(to[0]), notes_its_end(to[1]), value_after(1, 1ms));
    to[2].how = ended::with_value;
  }(noted));
  on.loop.run_ready();
  on.advance(1ms);

  on.stop(root);

  CHECK(root.stopped());
  for (const auto& each : noted) CHECK(each.how == ended::stopped);
}

TEST_CASE("a failure wins over a stop from outside") {
  scripted_executor on;
  outcome noted;
  auto root =
      on.loop.start([](outcome& to) -> task<> { co_await when_all(fails_after(5, 10ms), notes_its_end(to)); }(noted));
  on.loop.run_ready();

  on.script.advance(10ms);
  on.loop.turn(/*may_park=*/false);  // the sleep is over, its coroutine not resumed
  on.stop(root);

  CHECK(noted.how == ended::stopped);
  CHECK(failure_of(root) == 5);
}

TEST_CASE("when all end with a value although a stop has come, the values are delivered and the next wait is stopped") {
  scripted_executor on;
  int sum = 0;
  outcome afterwards;
  auto root = on.loop.start([](int& to, outcome& noted) -> task<> {
    const auto values = co_await when_all(value_after(1, 1ms), value_after(2, 1ms));
    to = std::get<0>(values) + std::get<1>(values);
    co_await notes_its_end(noted);
  }(sum, afterwards));
  on.loop.run_ready();

  on.script.advance(1ms);
  on.loop.turn(/*may_park=*/false);  // both sleeps are over, their coroutines not resumed
  on.stop(root);

  CHECK(sum == 3);
  CHECK(afterwards.how == ended::stopped);
  CHECK(root.stopped());
}

TEST_CASE("a branch that cancels the scope they run in ends the call with operation_canceled, and nobody else") {
  scripted_executor on;
  outcome noted;
  bool went_on = false;
  auto root = on.loop.start([](outcome& to, bool& reached) -> task<> {
    const auto cancels = []() -> task<> {
      co_await sleep_for(1ms);
      (co_await scope_of_awaiter{}).cancel();
    };
    const auto got = co_await as_result(when_all(notes_its_end(to), cancels()));
    CHECK(got.error() == std::errc::operation_canceled);
    co_await sleep_for(1ms);
    reached = true;
  }(noted, went_on));
  for (int i = 0; i < 2; ++i) {
    on.loop.run_ready();
    on.script.advance(1ms);
  }
  on.loop.run_ready();

  root.get();
  CHECK(noted.how == ended::stopped);
  CHECK(went_on);
}

TEST_CASE("a deadline around when_all stops its branches, and a shield keeps a stop from them") {
  scripted_executor on;
  std::vector<outcome> noted(2);
  auto timed = on.loop.start([](outcome& to) -> task<> {
    const auto got = co_await as_result(with_timeout(10ms, when_all(notes_its_end(to), value_after(1, 1ms))));
    CHECK(got.error() == std::errc::timed_out);
  }(noted[0]));
  auto shielded = on.loop.start([](outcome& to) -> task<> {
    const auto values = co_await shield(when_all(value_after(1, 5ms), value_after(2, 5ms)));
    if (std::get<1>(values) == 2) to.how = ended::with_value;
  }(noted[1]));
  on.loop.run_ready();
  shielded.cancel();

  for (int i = 0; i < 2; ++i) on.advance(5ms);

  timed.get();
  CHECK(noted[0].how == ended::stopped);
  CHECK(noted[1].how == ended::with_value);
}

// --------------------------------------------------------------------------------- coroutines of somebody else's

TEST_CASE("a coroutine of another library can await when_all, and hears of a stop as operation_canceled") {
  for (const bool is_stopped : {false, true}) {
    CAPTURE(is_stopped);
    scripted_executor on;
    outcome noted;
    auto root = on.loop.start([](outcome& to) -> task<> {
      const auto awaits = [](outcome& mine) -> foreign_task {
        try {
          const auto values = co_await when_all(value_after(20, 1ms), value_after(22, 1ms));
          mine.how = ended::with_value;
          co_return std::get<0>(values) + std::get<1>(values);
        } catch (const std::system_error& error) {
          mine.how = ended::with_error;
          mine.error = error.code();
          co_return 0;
        }
      };
      auto awaited = awaits(to);
      const int sum = co_await awaited;
      CHECK(sum == (to.how == ended::with_value ? 42 : 0));
    }(noted));
    on.loop.run_ready();

    if (is_stopped) on.stop(root);
    else on.advance(1ms);

    CHECK(root.done());
    CHECK(noted.how == (is_stopped ? ended::with_error : ended::with_value));
    if (is_stopped) CHECK(noted.error == std::errc::operation_canceled);
  }
}

TEST_CASE("branches may await coroutines of another library") {
  scripted_executor on;
  auto root = on.loop.start([]() -> task<> {
    const auto foreign = [](int number) -> foreign_task {
      co_await sleep_for(number * 1ms);
      co_return number;
    };
    const auto branch = [](foreign_task awaited) -> task<int> { co_return co_await awaited; };
    const auto values = co_await when_all(branch(foreign(1)), branch(foreign(2)));
    CHECK(std::get<1>(values) == 2);
  }());
  for (int i = 0; i < 2; ++i) {
    on.loop.run_ready();
    on.script.advance(1ms);
  }
  on.loop.run_ready();

  root.get();
}

// ----------------------------------------------------------------------------------------------- stack and memory

namespace {

task<int> depth_of(int levels) {
  if (levels == 0) co_return 0;
  const auto below = co_await when_all(depth_of(levels - 1), value_after(1));
  co_return std::get<0>(below) + std::get<1>(below);
}

task<> fails_below(int levels) {
  if (levels == 0) throw failure{9};
  co_await when_all(fails_below(levels - 1), sleep_for(1h));
}

}  // namespace

TEST_CASE("a hundred thousand levels of when_all in each other need no more stack than one") {
  constexpr int levels = 100'000;
  int depth = 0;

  on_a_small_stack([&] {
    executor loop;
    depth = loop.run(depth_of(levels));
  });

  CHECK(depth == levels);
}

TEST_CASE("a stop, and a failure, go through a hundred thousand levels of when_all without more stack") {
  constexpr int levels = 100'000;
  bool stopped = false;
  int failed_with = 0;

  on_a_small_stack([&] {
    scripted_executor on;
    auto root = on.loop.start([](int count) -> task<> {
      const auto sleeps_below = [](int left, auto self) -> task<> {
        if (left == 0) co_await sleep_for(1h);
        else co_await when_all(self(left - 1, self), sleep_for(1h));
      };
      co_await sleeps_below(count, sleeps_below);
    }(levels));
    on.loop.run_ready();
    on.stop(root);
    stopped = root.stopped();

    auto failing = on.loop.start(fails_below(levels));
    on.loop.run_ready();
    failed_with = failure_of(failing);
  });

  CHECK(stopped);
  CHECK(failed_with == 9);
}

TEST_CASE("ten thousand operations side by side on the kernel") {
  static constexpr std::size_t count = 10'000;
  executor loop;

  loop.run([]() -> task<> {
    std::vector<ops::nop> nops;
    for (std::size_t i = 0; i < count; ++i) nops.emplace_back();
    co_await when_all(std::move(nops));
  });

  CHECK(loop.statistics().cqes >= count);
}

}  // namespace gyre
