// SPDX-License-Identifier: MIT
// A watch: observers see the latest value, wait for the next, and miss what was replaced before they looked.
#include <gyre/runtime/as_result.hpp>
#include <gyre/runtime/deadline.hpp>
#include <gyre/runtime/executor.hpp>
#include <gyre/runtime/task.hpp>
#include <gyre/sync/watch.hpp>

#include <doctest/doctest.h>
#include "../support/every_order.hpp"
#include "../support/foreign_task.hpp"
#include "../support/outcome.hpp"
#include "../support/scripted.hpp"

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <memory>
#include <optional>
#include <stdexcept>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

namespace gyre::sync {
namespace {

using namespace std::chrono_literals;
using test::scripted_executor;
using numbers = std::vector<int>;

task<> follow(watch<int>& value, numbers& into) {
  observer<int> seen{value};
  while (const auto changed = co_await seen.changed()) into.push_back(*changed);
}

TEST_CASE("an observer waits for the next value, and takes it in a turn of its executor") {
  scripted_executor on;
  watch<int> value{1};
  numbers got;
  auto root = on.loop.start(follow(value, got));
  on.loop.run_ready();
  CHECK(got.empty());  // what was there before is seen

  value.set(2);
  CHECK(got.empty());
  on.loop.run_ready();
  CHECK(got == numbers{2});

  value.set(3);
  value.set(4);
  on.loop.run_ready();
  CHECK(got == numbers{2, 4});

  value.close();
  on.loop.run_ready();
  CHECK(root.done());
}

TEST_CASE("a value that is set while nobody looks is there at once, and so is the last one before the end") {
  scripted_executor on;
  watch<int> value{1};
  observer<int> seen{value};
  CHECK(!seen.has_changed());
  value.set(2);
  value.close();
  value.close();
  CHECK(seen.has_changed());

  auto root = on.loop.start([](observer<int>& by) -> task<> {
    CHECK(co_await by.changed() == 2);
    CHECK(co_await by.changed() == std::nullopt);
  }(seen));
  on.loop.turn(/*may_park=*/false);

  CHECK(root.done());
  CHECK(value.closed());
}

TEST_CASE("get() looks without a wait, and what an observer has got counts as seen") {
  watch<int> value{1};
  observer<int> seen{value};
  value.set(2);
  CHECK(value.get() == 2);
  CHECK(seen.has_changed());

  CHECK(seen.get() == 2);

  CHECK(!seen.has_changed());
  value.update([](int& current) { current += 5; });
  observer<int> moved{std::move(seen)};
  CHECK(moved.get() == 7);
}

TEST_CASE("an observer that is stopped while it waits has seen nothing new") {
  scripted_executor on;
  watch<int> value{1};
  observer<int> seen{value};
  auto root = on.loop.start([](observer<int>& by) -> task<> { static_cast<void>(co_await by.changed()); }(seen));
  on.loop.run_ready();

  on.stop(root);
  value.set(2);

  CHECK(root.stopped());
  CHECK(seen.has_changed());
}

TEST_CASE("a change that crosses a stop is delivered, also from another executor") {
  scripted_executor left, right;
  watch<int> value{1};
  numbers got;
  auto root = right.loop.start(follow(value, got));
  right.loop.run_ready();
  auto sets = left.loop.start([](watch<int>& changed) -> task<> {
    changed.set(2);
    co_return;
  }(value));
  left.loop.run_ready();

  root.cancel();
  right.loop.run_ready();

  CHECK(got == numbers{2});
  CHECK(root.stopped());
}

TEST_CASE("a deadline ends a changed() as timed out; a foreign coroutine can await it") {
  scripted_executor on;
  watch<int> value{1};
  observer<int> seen{value};
  int got = 0;
  auto foreign = [](observer<int>& by) -> test::foreign_task { co_return *co_await by.changed(); };
  auto root = on.loop.start([](auto make, observer<int>& by, int& into) -> task<> {
    const auto first = co_await as_result(with_timeout(10ms, by.changed()));
    CHECK(first.error() == std::errc::timed_out);
    const auto second = co_await as_result(by.changed());
    into = **second;
    into += co_await make(by);
  }(foreign, seen, got));
  on.loop.run_ready();
  on.advance(10ms);
  value.set(2);
  on.loop.run_ready();
  value.set(3);
  on.loop.run_ready();

  CHECK(root.done());
  CHECK(got == 5);
}

// Copies only when it may.
struct shy {
  shy() = default;
  shy(const shy& other) : number{other.number} {
    if (refuses) throw std::runtime_error{"a copy"};
  }
  shy& operator=(const shy&) = default;
  static inline bool refuses = false;
  int number = 0;
};

TEST_CASE("a value whose copy throws counts as not seen; a change that throws wakes nobody") {
  watch<shy> value{shy{}};
  observer<shy> seen{value};
  value.update([](shy& current) { current.number = 1; });
  shy::refuses = true;
  CHECK_THROWS_AS(static_cast<void>(seen.get()), std::runtime_error);
  shy::refuses = false;
  CHECK(seen.has_changed());
  CHECK(seen.get().number == 1);

  CHECK_THROWS_AS(value.update([](shy&) { throw std::runtime_error{"a change"}; }), std::runtime_error);
  CHECK(!seen.has_changed());
}

// Has no move, and throws at the copy that is asked for.
struct copied {
  copied() = default;
  copied(const copied& other) : number{other.number} {
    if (copies_left == 0) throw std::runtime_error{"a copy"};
    if (copies_left > 0) --copies_left;
  }
  copied& operator=(const copied&) = default;
  static inline int copies_left = -1;  // less than none: no copy throws
  int number = 0;
};

TEST_CASE("a value that is waited for is copied once, and counts as not seen when that throws") {
  test::scripted_executor on;
  watch<copied> value{copied{}};
  observer<copied> seen{value};
  for (const bool as_a_result : {false, true}) {
    CAPTURE(as_a_result);
    value.update([](copied& current) { ++current.number; });
    const int expected = value.get().number;
    for (const int copies_count : {0, 1}) {
      CAPTURE(copies_count);
      bool threw = false;
      copied::copies_left = copies_count;
      on.loop.run([&]() -> task<> {
        try {
          if (as_a_result) {
            const auto changed = co_await as_result(seen.changed());
            CHECK((*changed)->number == expected);
          } else {
            const auto changed = co_await seen.changed();
            CHECK(changed->number == expected);
          }
        } catch (const std::runtime_error&) {
          threw = true;
        }
      });
      copied::copies_left = -1;
      CHECK(threw == (copies_count == 0));
      CHECK(seen.has_changed() == threw);
    }
  }
}

// Its last owner looks at where it was.
struct looks_back {
  ~looks_back() { saw_open = !from->closed(); }
  watch<std::shared_ptr<looks_back>>* from;
  bool& saw_open;
};

TEST_CASE("a value that is replaced is destroyed outside the lock") {
  watch<std::shared_ptr<looks_back>> value{nullptr};
  bool saw_open = false;
  value.set(std::make_shared<looks_back>(&value, saw_open));
  value.set(nullptr);
  CHECK(saw_open);
}

TEST_CASE("two observers, two changes and a stop, in every order: who is not stopped sees the last value") {
  const std::size_t count = test::for_every_order([&](test::choices& choose) {
    CAPTURE(choose);
    test::left_and_right on;
    watch<int> value{0};
    numbers one, other;
    std::array roots{on.left.loop.start(follow(value, one)), on.right.loop.start(follow(value, other))};
    on.run_ready();
    test::steps next;
    on.add_turns(next);
    next.once("change", [&] { value.update([](int& current) { ++current; }); });
    next.once("another change", [&] { value.update([](int& current) { ++current; }); });
    next.perhaps("stop the left one", [&] { roots[0].cancel(); });
    next.take_all(choose);
    value.close();
    on.run_ready();

    for (const auto& each : roots) CHECK(each.done());
    CHECK(other.back() == 2);
    for (const numbers& seen : {one, other})
      for (std::size_t index = 1; index < seen.size(); ++index) CHECK(seen[index - 1] < seen[index]);
  });
  CHECK(count > 50);
}

TEST_CASE("threads that change a value, and executors that follow it: all see the last one") {
  watch<int> value{0};
  constexpr int changes_count = 5000;
  std::atomic<int> ready = 0;
  std::vector<std::thread> all;
  std::array<int, 2> last{};
  for (int& each : last) {
    all.emplace_back([&value, &each, &ready] {
      executor{}.run([](watch<int>& observed, int& latest, std::atomic<int>& count) -> task<> {
        observer<int> seen{observed};
        ++count;
        while (const auto changed = co_await seen.changed()) {
          CHECK(*changed > latest);
          latest = *changed;
        }
      }(value, each, ready));
    });
  }
  while (ready < 2) std::this_thread::yield();
  std::thread other{[&value] {
    for (int change = 0; change < changes_count; ++change) value.update([](int& current) { ++current; });
  }};
  for (int change = 0; change < changes_count; ++change) value.update([](int& current) { ++current; });
  other.join();
  value.close();
  for (auto& each : all) each.join();

  for (const int each : last) CHECK(each == 2 * changes_count);
}

}  // namespace
}  // namespace gyre::sync
