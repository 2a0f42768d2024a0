// SPDX-License-Identifier: MIT
// when_any(), race() and first_success(): who wins, what becomes of the losers, and who is told of which failure.
#include <gyre/runtime/as_result.hpp>
#include <gyre/runtime/deadline.hpp>
#include <gyre/runtime/executor.hpp>
#include <gyre/runtime/ops/socket.hpp>
#include <gyre/runtime/scope.hpp>
#include <gyre/runtime/timer.hpp>
#include <gyre/runtime/when_any.hpp>

#include "../support/branches.hpp"
#include "../support/captured_log.hpp"
#include "../support/foreign_task.hpp"
#include "../support/outcome.hpp"
#include "../support/scripted.hpp"

#include <doctest/doctest.h>
#include <liburing.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <memory>
#include <string>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

namespace gyre {
namespace {

using namespace std::chrono_literals;
using namespace test;
using detail::scripted_ring;

scripted_ring::request of_descriptor(const scripted_executor& on, int fd) {
  for (const auto& each : on.script.in_flight())
    if (each.fd == fd) return each;
  throw std::logic_error{"nothing is in flight for this descriptor"};
}

template <class T>
std::vector<task<T>> pair_of(task<T> a, task<T> b) {
  std::vector<task<T>> both;
  both.push_back(std::move(a));
  both.push_back(std::move(b));
  return both;
}

}  // namespace

// ----------------------------------------------------------------------------------------------------- who wins

TEST_CASE("when_any gives the index and the value of the first to end; the others are stopped") {
  scripted_executor on;
  outcome noted;
  auto root = on.loop.start([](outcome& to) -> task<> {
    auto first = co_await when_any(notes_its_end(to), moves_only(7, 2ms), sleep_for(1h));
    using expected = any_result<void, std::unique_ptr<int>, void>;
    static_assert(std::is_same_v<decltype(first), expected>);
    CHECK(first.index == 1);
    CHECK(first.value.index() == 1);
    CHECK(*std::get<1>(first.value) == 7);
  }(noted));

  on.run_for(2ms);

  root.get();
  CHECK(noted.how == ended::stopped);
}

TEST_CASE("any of them can be the first: the value's place tells equal types apart") {
  for (std::size_t fastest = 0; fastest < 3; ++fastest) {
    CAPTURE(fastest);
    scripted_executor on;
    auto root = on.loop.start([](std::size_t expected) -> task<> {
      const auto delay = [expected](std::size_t index) { return index == expected ? 1ms : 5ms; };
      const auto first =
          co_await when_any(value_after(10, delay(0)), value_after(11, delay(1)), value_after(12, delay(2)));
      CHECK(first.index == expected);
      CHECK(first.value.index() == expected);
      std::visit([&](int value) { CHECK(value == 10 + static_cast<int>(expected)); }, first.value);
    }(fastest));

    on.run_for(1ms);

    root.get();
  }
}

TEST_CASE("when_any of a vector gives an index and a value; tasks without one will do, and references") {
  scripted_executor on;
  auto root = on.loop.start([]() -> task<> {
    std::vector<task<std::unique_ptr<int>>> tasks;
    for (const int number : {3, 1, 2}) tasks.push_back(moves_only(number, number * 1ms));
    const auto first = co_await when_any(std::move(tasks));
    CHECK(first.index == 1);
    CHECK(*first.value == 1);

    std::vector<sleep_operation> sleeps;
    sleeps.push_back(sleep_for(1h));
    sleeps.push_back(sleep_for(0ns));
    CHECK((co_await when_any(std::move(sleeps))).index == 1);

    std::string text;
    const auto referred = co_await when_any(pair_of<std::string&>(refers_to(text), refers_to(text)));
    CHECK(referred.index == 0);
    CHECK(&referred.value.get() == &text);
  }());

  on.run_for(1ms);

  root.get();
}

TEST_CASE("when_any goes on only when the losers have ended") {
  scripted_executor on{by_hand};
  std::array<std::byte, 4> buffer;
  auto root = on.loop.start([](std::span<std::byte> to) -> task<> {
    const auto first = co_await when_any(ops::recv(1'000'001, to), value_after(1, 1ms));
    CHECK(first.index == 1);
  }(buffer));
  on.run_for(1ms);

  CHECK(!root.done());  // the kernel may still write into the buffer
  CHECK(of_descriptor(on, 1'000'001).stop_asked);
  on.script.complete(of_descriptor(on, 1'000'001), -ECANCELED);
  on.loop.run_ready();

  root.get();
}

TEST_CASE("branches behind one that ends at once do not begin") {
  scripted_executor on;
  outcome noted;
  auto root = on.loop.start([](outcome& to) -> task<> {
    const auto first = co_await when_any(value_after(1), notes_its_end(to));
    CHECK(first.index == 0);
  }(noted));

  on.loop.run_ready();

  root.get();
  CHECK(noted.how == ended::not_begun);
}

// ----------------------------------------------------------------------------- losers that ended with a value

TEST_CASE("of two that complete in one turn the first wins; race hands the other's value over as well") {
  for (const bool second_first : {false, true}) {
    CAPTURE(second_first);
    scripted_executor on;
    auto root = on.loop.start([](bool swapped) -> task<> {
      std::array<std::array<std::byte, 4>, 2> buffers;
      const auto ended =
          co_await race(ops::recv(1'000'000, buffers[0]), ops::recv(1'000'001, buffers[1]), sleep_for(1h));
      static_assert(std::is_same_v<decltype(ended), const race_result<std::size_t, std::size_t, void>>);
      CHECK(ended.index == (swapped ? 1 : 0));
      CHECK(std::get<0>(ended.values) == 3);
      CHECK(std::get<1>(ended.values) == 4);
      CHECK(!std::get<2>(ended.values));
      CHECK(buffers[0][0] == std::byte{'a'});
      CHECK(buffers[1][0] == std::byte{'b'});
    }(second_first));
    on.loop.run_ready();

    if (!second_first) on.script.deliver(of_descriptor(on, 1'000'000), "aaa");
    on.script.deliver(of_descriptor(on, 1'000'001), "bbbb");
    if (second_first) on.script.deliver(of_descriptor(on, 1'000'000), "aaa");
    on.loop.run_ready();

    root.get();
  }
}

TEST_CASE("a loser whose result won the race against its cancel delivers it to race, and when_any destroys it") {
  const std::size_t open_before = open_descriptors_count();
  for (const bool with_race : {false, true}) {
    CAPTURE(with_race);
    scripted_executor on{by_hand};
    auto root = on.loop.start([](bool races) -> task<> {
      if (races) {
        const auto ended = co_await race(ops::accept(1'000'000), sleep_for(1ms));
        CHECK(ended.index == 1);
        REQUIRE(std::get<0>(ended.values).has_value());
        CHECK(std::get<0>(ended.values)->get() >= 0);
      } else {
        const auto first = co_await when_any(ops::accept(1'000'000), sleep_for(1ms));
        CHECK(first.index == 1);
      }
    }(with_race));
    on.run_for(1ms);
    REQUIRE(!root.done());

    on.script.complete(on.script.only(IORING_OP_ACCEPT), ::dup(STDERR_FILENO));
    on.loop.run_ready();

    root.get();
  }
  CHECK(open_descriptors_count() == open_before);
}

TEST_CASE("a loser that has ended its wait, and begins another, is stopped there") {
  scripted_executor on;
  outcome noted;
  auto root = on.loop.start([](outcome& to) -> task<> {
    const auto two_waits = [](outcome& mine) -> task<int> {
      const stop_watch watch{mine};
      co_await sleep_for(1ms);
      co_await sleep_for(1ms);
      co_return 1;
    };
    const auto ended = co_await race(value_after(0, 1ms), two_waits(to));
    CHECK(ended.index == 0);
    CHECK(!std::get<1>(ended.values));
  }(noted));

  on.run_for(1ms);

  root.get();
  CHECK(noted.how == ended::stopped);
}

TEST_CASE("race of a vector gives who was first and every value that there is") {
  scripted_executor on;
  auto root = on.loop.start([]() -> task<> {
    std::vector<task<int>> tasks;
    for (const int milliseconds : {5, 1, 1}) tasks.push_back(value_after(milliseconds, milliseconds * 1ms));
    const auto ended = co_await race(std::move(tasks));
    static_assert(std::is_same_v<decltype(ended), const race_result_of<int>>);
    CHECK(ended.index == 1);
    CHECK(!ended.values[0]);
    CHECK(ended.values[1] == 1);
    CHECK(ended.values[2] == 1);
  }());

  on.run_for(1ms);

  root.get();
}

// ---------------------------------------------------------------------------------------------------- failures

TEST_CASE("an exception of the first to end is thrown, and a loser's is logged") {
  const captured_log logged;
  scripted_executor on;
  auto root = on.loop.start([]() -> task<> {
    const auto first = co_await when_any(value_after(1, 1ms), fails_when_stopped(3));
    CHECK(first.index == 0);
    co_await when_any(fails_after(4, 1ms), fails_when_stopped(5));
  }());

  on.run_for(2ms);

  CHECK(failure_of(root) == 4);
  CHECK(logged.text().find("failure 3") != std::string::npos);
  CHECK(logged.text().find("failure 5") != std::string::npos);
}

TEST_CASE("first_success passes failures by: the first value wins, and nothing is logged") {
  const captured_log logged;
  scripted_executor on;
  outcome noted;
  auto root = on.loop.start([](outcome& to) -> task<> {
    const auto first =
        co_await first_success(fails_after(1, 1ms), value_after(2, 2ms), notes_its_end(to), fails_when_stopped(3));
    CHECK(first.index == 1);
    CHECK(std::get<1>(first.value) == 2);
  }(noted));

  on.run_for(2ms);

  root.get();
  CHECK(noted.how == ended::stopped);
  CHECK(logged.text().empty());
}

TEST_CASE("when all fail, first_success throws what the first in the list threw, and logs the others'") {
  for (const bool as_list : {false, true}) {
    CAPTURE(as_list);
    const captured_log logged;
    scripted_executor on;
    auto root = on.loop.start([](bool list) -> task<> {
      if (list) static_cast<void>(co_await first_success(pair_of<void>(fails_after(1, 2ms), fails_after(2, 1ms))));
      else static_cast<void>(co_await first_success(fails_after(1, 2ms), fails_after(2, 1ms)));
    }(as_list));

    on.run_for(2ms);

    CHECK(failure_of(root) == 1);
    CHECK(logged.text().find("failure 2") != std::string::npos);
    CHECK(logged.text().find("failure 1") == std::string::npos);
  }
}

TEST_CASE("first_success of a vector gives the first value") {
  scripted_executor on;
  auto root = on.loop.start([]() -> task<> {
    const auto fails = []() -> task<int> {
      throw failure{1};
      co_return 0;
    };
    const auto first = co_await first_success(pair_of<int>(fails(), value_after(6, 1ms)));
    CHECK(first.index == 1);
    CHECK(first.value == 6);
  }());

  on.run_for(1ms);

  root.get();
}

// ------------------------------------------------------------------------------------------------------- stops

namespace {

enum class first_of { when_any, race, first_success };

// What is awaited, with two branches that sleep, the first for 1 ms and the other for an hour. Notes the winner.
task<> wait_for_first(first_of how, outcome& noted, std::size_t& winner) {
  const stop_watch watch{noted};
  if (how == first_of::when_any) winner = (co_await when_any(sleep_for(1ms), sleep_for(1h))).index;
  if (how == first_of::race) winner = (co_await race(sleep_for(1ms), sleep_for(1h))).index;
  if (how == first_of::first_success) winner = (co_await first_success(sleep_for(1ms), sleep_for(1h))).index;
  noted.how = ended::with_value;
}

constexpr std::array all_three{first_of::when_any, first_of::race, first_of::first_success};
constexpr std::size_t nobody = 99;

}  // namespace

TEST_CASE("a stop from outside, before the co_await, before they begin or while they wait, stops all and goes on") {
  for (const auto how : all_three) {
    for (const int turns : {0, 1, 2}) {
      CAPTURE(static_cast<int>(how));
      CAPTURE(turns);
      scripted_executor on{{}, one_at_a_time};
      outcome noted;
      std::size_t winner = nobody;
      auto root = on.loop.start(wait_for_first(how, noted, winner));
      for (int i = 0; i < turns; ++i) on.loop.turn(/*may_park=*/false);

      on.stop(root);

      CHECK(root.stopped());
      CHECK(noted.how == ended::stopped);
      CHECK(winner == nobody);
    }
  }
}

TEST_CASE("a winner that crosses a stop from outside is delivered, in either order") {
  for (const auto how : all_three) {
    for (const bool stop_first : {false, true}) {
      CAPTURE(static_cast<int>(how));
      CAPTURE(stop_first);
      scripted_executor on;
      outcome noted;
      std::size_t winner = nobody;
      auto root = on.loop.start(wait_for_first(how, noted, winner));
      on.loop.run_ready();

      on.script.advance(1ms);
      if (stop_first) root.cancel();                         // finds the sleep in the timers: it ends stopped
      else on.loop.turn(/*may_park=*/false), root.cancel();  // it is over already, its coroutine not resumed
      on.loop.run_ready();

      CHECK(noted.how == (stop_first ? ended::stopped : ended::with_value));
      CHECK(winner == (stop_first ? nobody : 0));
    }
  }
}

TEST_CASE("first_success that is stopped before anybody succeeded is stopped, whoever had failed by then") {
  scripted_executor on;
  outcome noted;
  auto root = on.loop.start(
      [](outcome& to) -> task<> { co_await first_success(fails_after(1, 1ms), notes_its_end(to)); }(noted));
  on.run_for(1ms);

  on.stop(root);

  CHECK(root.stopped());
  CHECK(noted.how == ended::stopped);
}

namespace {

task<> cancels_its_scope() {
  (co_await scope_of_awaiter{}).cancel();
  co_await sleep_for(1h);
}

// What operation_canceled says of who was cancelled, up to the colon.
template <class Awaitable>
task<std::string> cancelled_name(Awaitable side_by_side) {
  try {
    static_cast<void>(co_await std::move(side_by_side));
  } catch (const std::system_error& stopped) {
    const std::string text = stopped.what();
    co_return text.substr(0, text.find(':'));
  }
  co_return "nobody";
}

std::vector<task<>> list_of_one_that_cancels() {
  std::vector<task<>> list;
  list.push_back(cancels_its_scope());
  return list;
}

}  // namespace

TEST_CASE("operation_canceled is told under the name of what was awaited") {
  scripted_executor on;
  auto root = on.loop.start([]() -> task<> {
    CHECK((co_await cancelled_name(when_any(sleep_for(1h), cancels_its_scope()))) == "when_any");
    CHECK((co_await cancelled_name(race(sleep_for(1h), cancels_its_scope()))) == "race");
    CHECK((co_await cancelled_name(first_success(sleep_for(1h), cancels_its_scope()))) == "first_success");
    CHECK((co_await cancelled_name(when_any(list_of_one_that_cancels()))) == "when_any");
    CHECK((co_await cancelled_name(race(list_of_one_that_cancels()))) == "race");
    CHECK((co_await cancelled_name(first_success(list_of_one_that_cancels()))) == "first_success");
  }());

  on.loop.run_ready();

  root.get();
}

TEST_CASE("a branch that cancels the scope they run in: operation_canceled, and only who awaits it hears of it") {
  scripted_executor on;
  auto root = on.loop.start([]() -> task<> {
    CHECK((co_await as_result(when_any(sleep_for(1h), cancels_its_scope()))).error() == std::errc::operation_canceled);
    CHECK((co_await as_result(race(sleep_for(1h), cancels_its_scope()))).error() == std::errc::operation_canceled);
    CHECK((co_await as_result(first_success(sleep_for(1h), cancels_its_scope()))).error() ==
          std::errc::operation_canceled);
    co_await sleep_for(0ns);
  }());

  on.loop.run_ready();

  root.get();
}

TEST_CASE("a deadline around when_any, and when_any as a branch of another") {
  scripted_executor on;
  auto root = on.loop.start([]() -> task<> {
    const auto late = co_await as_result(with_timeout(1ms, when_any(sleep_for(1h), sleep_for(2h))));
    CHECK(late.error() == std::errc::timed_out);

    const auto outer = co_await when_any(when_any(value_after(1, 3ms), value_after(2, 2ms)), value_after(3, 4ms));
    CHECK(outer.index == 0);
    CHECK(std::get<0>(outer.value).index == 1);
  }());

  on.run_for(3ms);

  root.get();
}

TEST_CASE("a coroutine of another library can await when_any") {
  scripted_executor on;
  auto root = on.loop.start([]() -> task<> {
    auto awaits = []() -> foreign_task {
      const auto first = co_await when_any(value_after(41, 2ms), value_after(42, 1ms));
      co_return std::get<1>(first.value);
    }();
    CHECK(co_await awaits == 42);
  }());

  on.run_for(1ms);

  root.get();
}

}  // namespace gyre
