// SPDX-License-Identifier: MIT
// A broadcast: every subscriber gets every item in order, and hears how many it has missed.
#include <gyre/runtime/as_result.hpp>
#include <gyre/runtime/deadline.hpp>
#include <gyre/runtime/executor.hpp>
#include <gyre/runtime/task.hpp>
#include <gyre/sync/broadcast.hpp>

#include <doctest/doctest.h>
#include "../support/every_order.hpp"
#include "../support/scripted.hpp"

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

namespace gyre::sync {
namespace {

using namespace std::chrono_literals;
using test::scripted_executor;
using numbers = std::vector<int>;

struct heard {
  numbers items;
  std::uint64_t missed_count = 0;
};

task<> listen(broadcast<int>& source, heard& into) {
  subscriber<int> mine{source};
  while (const auto item = co_await mine.receive()) {
    into.items.push_back(item->value);
    into.missed_count += item->missed_count;
  }
}

TEST_CASE("every subscriber gets every item that is sent while it is there") {
  scripted_executor left, right;
  broadcast<int> source{4};
  heard one, other;
  CHECK(source.send(1) == 0);
  auto first = left.loop.start(listen(source, one));
  left.loop.run_ready();
  CHECK(source.send(2) == 1);
  auto second = right.loop.start(listen(source, other));
  right.loop.run_ready();
  CHECK(source.send(3) == 2);
  CHECK(one.items.empty());  // nobody runs inside the call

  left.loop.run_ready();
  right.loop.run_ready();
  CHECK(one.items == numbers{2, 3});
  CHECK(other.items == numbers{3});

  source.close();
  left.loop.run_ready();
  right.loop.run_ready();
  CHECK(first.done());
  CHECK(second.done());
  CHECK(source.subscribers_count() == 0);
}

TEST_CASE("who falls behind by more than the capacity misses the oldest, and hears how many") {
  broadcast<int> source{2};
  subscriber<int> slow{source};
  for (int item = 1; item <= 5; ++item) CHECK(source.send(int{item}) == 1);

  const auto first = slow.try_receive();
  REQUIRE(first);
  CHECK(first->value == 4);
  CHECK(first->missed_count == 3);
  const auto second = slow.try_receive();
  REQUIRE(second);
  CHECK(second->value == 5);
  CHECK(second->missed_count == 0);
  CHECK(!slow.try_receive());
}

TEST_CASE("a closed broadcast gives what was not received yet, and then nothing; it takes nothing") {
  scripted_executor on;
  broadcast<int> source{2};
  subscriber<int> mine{source};
  source.send(1);
  source.close();
  source.close();
  CHECK(source.send(2) == 0);
  CHECK(source.closed());
  CHECK(source.capacity() == 2);

  subscriber<int> moved{std::move(mine)};
  auto root = on.loop.start([](subscriber<int>& by) -> task<> {
    CHECK((co_await by.receive())->value == 1);
    CHECK(!co_await by.receive());
  }(moved));
  on.loop.run_ready();

  CHECK(root.done());
}

TEST_CASE("a subscriber that is stopped, or whose deadline passes, gets the item with its next receive()") {
  scripted_executor on;
  broadcast<int> source{2};
  subscriber<int> mine{source};
  auto root = on.loop.start([](subscriber<int>& by) -> task<> {
    CHECK((co_await as_result(with_timeout(10ms, by.receive()))).error() == std::errc::timed_out);
    CHECK((co_await as_result(stopped_as_error(by.receive()))).error() == std::errc::operation_canceled);
  }(mine));
  on.loop.run_ready();
  on.advance(10ms);

  on.stop(root);
  source.send(1);

  CHECK(mine.try_receive()->value == 1);
}

TEST_CASE("an item that crosses a stop is delivered") {
  scripted_executor on;
  broadcast<int> source{2};
  heard got;
  auto root = on.loop.start(listen(source, got));
  on.loop.run_ready();

  source.send(1);
  root.cancel();
  on.loop.run_ready();

  CHECK(got.items == numbers{1});
  CHECK(root.stopped());
}

TEST_CASE("a subscriber that never has to wait lets others run, and a stop arrive") {
  scripted_executor on;
  broadcast<int> source{4};
  auto root = on.loop.start([](broadcast<int>& used) -> task<> {
    subscriber<int> mine{used};
    for (int item = 0;; ++item) {
      used.send(int{item});
      CHECK((co_await mine.receive())->value == item);
    }
  }(source));
  on.loop.turn(/*may_park=*/false);
  on.loop.turn(/*may_park=*/false);

  on.stop(root);

  CHECK(root.stopped());
}

// Copies only when it may.
struct shy {
  explicit shy(int its_number) noexcept : number{its_number} {}
  shy(const shy& other) : number{other.number} {
    if (refuses) throw std::runtime_error{"a copy"};
  }
  shy(shy&& other) noexcept : number{other.number} {}
  shy& operator=(shy&&) noexcept = default;
  static inline bool refuses = false;
  int number;
};

TEST_CASE("an item whose copy throws is the next one still") {
  broadcast<shy> source{2};
  subscriber<shy> mine{source};
  source.send(shy{1});
  shy::refuses = true;
  CHECK_THROWS_AS(static_cast<void>(mine.try_receive()), std::runtime_error);
  shy::refuses = false;

  CHECK(mine.try_receive()->value.number == 1);
}

// Has no move, and throws at the copy that is asked for.
struct copied {
  explicit copied(int its_number) noexcept : number{its_number} {}
  copied(const copied& other) : number{other.number} {
    if (copies_left == 0) throw std::runtime_error{"a copy"};
    if (copies_left > 0) --copies_left;
  }
  copied& operator=(const copied&) = default;
  static inline int copies_left = -1;  // less than none: no copy throws
  int number;
};

TEST_CASE("an item is copied once, and is the next one still when that throws") {
  broadcast<copied> source{2};
  subscriber<copied> mine{source};
  source.send(copied{1});
  copied::copies_left = 0;
  CHECK_THROWS_AS(static_cast<void>(mine.try_receive()), std::runtime_error);
  copied::copies_left = 1;
  CHECK_NOTHROW(CHECK(mine.try_receive()->value.number == 1));
  copied::copies_left = -1;
}

TEST_CASE("an item that is awaited as a result is copied once, and is the next one still when that throws") {
  test::scripted_executor on;
  broadcast<copied> source{2};
  subscriber<copied> mine{source};
  source.send(copied{1});
  for (const int copies_count : {0, 1}) {
    CAPTURE(copies_count);
    int number = 0;
    copied::copies_left = copies_count;
    on.loop.run([&]() -> task<> {
      try {
        const auto item = co_await as_result(mine.receive());
        number = (*item)->value.number;
      } catch (const std::runtime_error&) {
        number = -1;
      }
    });
    copied::copies_left = -1;
    CHECK(number == (copies_count == 0 ? -1 : 1));
  }
}

// Its last owner looks at where it was.
struct looks_back {
  ~looks_back() { saw_open = !from->closed(); }
  broadcast<std::shared_ptr<looks_back>>* from;
  bool& saw_open;
};

TEST_CASE("an item that is overwritten is destroyed outside the lock") {
  broadcast<std::shared_ptr<looks_back>> source{1};
  bool saw_open = false;
  source.send(std::make_shared<looks_back>(&source, saw_open));
  source.send(nullptr);
  CHECK(saw_open);
}

TEST_CASE("two subscribers, three items and a stop, in every order: each item is received or told as missed") {
  const std::size_t count = test::for_every_order([&](test::choices& choose) {
    CAPTURE(choose);
    test::left_and_right on;
    broadcast<int> source{1};
    heard one, other;
    std::array roots{on.left.loop.start(listen(source, one)), on.right.loop.start(listen(source, other))};
    on.run_ready();
    test::steps next;
    on.add_turns(next);
    for (int item = 1; item <= 3; ++item)
      next.once("item " + std::to_string(item), [&source, item] { source.send(int{item}); });
    next.perhaps("stop the left one", [&] { roots[0].cancel(); });
    next.take_all(choose);
    source.close();
    on.run_ready();

    for (const auto& each : roots) CHECK(each.done());
    CHECK(other.items.size() + other.missed_count == 3);
    CHECK(one.items.size() + one.missed_count <= 3);
    if (!roots[0].stopped()) CHECK(one.items.size() + one.missed_count == 3);
  });
  CHECK(count > 100);
}

TEST_CASE("a thread that sends to executors on other threads: each gets or misses every item") {
  constexpr int items_count = 20'000;
  broadcast<int> source{64};
  std::array<heard, 3> all;
  std::vector<std::thread> threads;
  for (heard& each : all) threads.emplace_back([&source, &each] { executor{}.run(listen(source, each)); });
  while (source.subscribers_count() < all.size()) std::this_thread::yield();

  for (int item = 0; item < items_count; ++item) source.send(int{item});
  source.close();
  for (auto& each : threads) each.join();

  for (const heard& each : all) {
    CHECK(each.items.size() + each.missed_count == items_count);
    for (std::size_t index = 1; index < each.items.size(); ++index) REQUIRE(each.items[index - 1] < each.items[index]);
  }
}

}  // namespace
}  // namespace gyre::sync
