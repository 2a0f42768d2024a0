// SPDX-License-Identifier: MIT
// Permits: who gets them, in which order, and what becomes of them when somebody is stopped.
#include <gyre/runtime/as_result.hpp>
#include <gyre/runtime/deadline.hpp>
#include <gyre/runtime/diagnosis.hpp>
#include <gyre/runtime/executor.hpp>
#include <gyre/runtime/task.hpp>
#include <gyre/runtime/task_group.hpp>
#include <gyre/runtime/this_task.hpp>
#include <gyre/runtime/timer.hpp>
#include <gyre/sync/semaphore.hpp>

#include <doctest/doctest.h>
#include "../support/every_order.hpp"
#include "../support/foreign_task.hpp"
#include "../support/scripted.hpp"

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

namespace gyre {
namespace {

using namespace std::chrono_literals;
using sync::local_semaphore;
using sync::semaphore;
using test::scripted_executor;

template <class Semaphore>
struct journal {
  explicit journal(std::uint64_t permits_count) noexcept : permits{permits_count} {}

  Semaphore permits;
  std::string told;
};

// Says when it has its permits, and keeps them until it is stopped.
template <class Semaphore>
task<> hold(journal<Semaphore>& in, char name, std::uint64_t count = 1) {
  const auto held = co_await in.permits.acquire(count);
  in.told += name;
  co_await sleep_for(10'000h);
}

// The same, and gives them back at once.
template <class Semaphore>
task<> pass(journal<Semaphore>& in, char name, std::uint64_t count = 1) {
  const auto held = co_await in.permits.acquire(count);
  in.told += name;
}

TEST_CASE_TEMPLATE("permits that are there are taken without a wait, and given back at the end", Semaphore, semaphore,
                   local_semaphore) {
  scripted_executor test;
  journal<Semaphore> in{3};

  auto holds = test.loop.start(hold(in, 'a', 2));
  test.loop.turn(/*may_park=*/false);
  CHECK(in.told == "a");
  CHECK(in.permits.available() == 1);

  test.stop(holds);
  CHECK(in.permits.available() == 3);
}

TEST_CASE_TEMPLATE("permits go to those who wait in the order in which they came, and never inside the call", Semaphore,
                   semaphore, local_semaphore) {
  scripted_executor test;
  journal<Semaphore> in{0};
  auto first = test.loop.start(hold(in, 'a'));
  auto second = test.loop.start(hold(in, 'b'));
  auto third = test.loop.start(hold(in, 'c'));
  test.loop.run_ready();

  in.permits.release(2);
  CHECK(in.told.empty());
  test.loop.run_ready();
  CHECK(in.told == "ab");

  test.stop(first);
  CHECK(in.told == "abc");
  test.stop(second);
  test.stop(third);
  CHECK(in.permits.available() == 2);
}

TEST_CASE_TEMPLATE("who wants many is not overtaken by those who want few", Semaphore, semaphore, local_semaphore) {
  scripted_executor test;
  journal<Semaphore> in{2};
  auto wants_many = test.loop.start(pass(in, 'm', 3));
  auto wants_one = test.loop.start(pass(in, 'o', 1));
  test.loop.run_ready();

  CHECK(in.told.empty());
  CHECK(in.permits.available() == 2);
  CHECK(!in.permits.try_acquire());

  in.permits.release();
  test.loop.run_ready();
  CHECK(in.told == "mo");
  CHECK(in.permits.available() == 3);
}

TEST_CASE_TEMPLATE("who leaves lets those go on whom it was in the way of", Semaphore, semaphore, local_semaphore) {
  scripted_executor test;
  journal<Semaphore> in{2};
  auto wants_many = test.loop.start(hold(in, 'm', 3));
  auto wants_one = test.loop.start(hold(in, 'o', 1));
  auto wants_two = test.loop.start(hold(in, 't', 2));
  auto wants_one_more = test.loop.start(hold(in, 'p', 1));
  test.loop.run_ready();

  test.stop(wants_many);
  CHECK(in.told == "o");
  CHECK(wants_many.stopped());

  test.stop(wants_two);
  CHECK(in.told == "op");
  test.stop(wants_one);
  test.stop(wants_one_more);
  CHECK(in.permits.available() == 2);
}

TEST_CASE_TEMPLATE("a stop takes nothing while it waits, and permits that were granted are delivered", Semaphore,
                   semaphore, local_semaphore) {
  scripted_executor test;
  journal<Semaphore> in{0};

  SUBCASE("before it waits") {
    auto waits = test.loop.start(pass(in, 'a'));
    test.stop(waits);
    in.permits.release();
    CHECK(in.told.empty());
  }
  SUBCASE("in a scope that was cancelled before") {
    auto waits = test.loop.start([](journal<Semaphore>& at) -> task<> {
      cancel_scope& mine = co_await this_task::scope();
      mine.cancel();
      co_await pass(at, 'a');
    }(in));
    test.loop.run_ready();
    in.permits.release();
    CHECK(waits.stopped());
    CHECK(in.told.empty());
  }
  SUBCASE("while it waits") {
    auto waits = test.loop.start(pass(in, 'a'));
    test.loop.run_ready();
    test.stop(waits);
    in.permits.release();
    CHECK(waits.stopped());
    CHECK(in.told.empty());
  }
  SUBCASE("granted, and not resumed yet") {
    auto waits = test.loop.start(pass(in, 'a'));
    test.loop.run_ready();
    in.permits.release();
    test.stop(waits);
    CHECK(in.told == "a");
  }

  test.loop.run_ready();
  CHECK(in.permits.available() == 1);
}

template <class Semaphore>
task<> release_one(Semaphore& permits) {
  permits.release();
  co_return;
}

TEST_CASE("permits released on another executor arrive, also where a stop crosses them") {
  scripted_executor waiters;
  scripted_executor givers;
  journal<semaphore> in{0};
  auto waits = waiters.loop.start(pass(in, 'a'));
  waiters.loop.run_ready();
  auto releases = givers.loop.start(release_one(in.permits));
  givers.loop.run_ready();
  CHECK(in.permits.available() == 0);

  SUBCASE("no stop") { waiters.loop.run_ready(); }
  SUBCASE("a stop") { waiters.stop(waits); }

  CHECK(in.told == "a");
  CHECK(in.permits.available() == 1);
}

template <class Semaphore>
task<> acquire_in_time(journal<Semaphore>& in) {
  try {
    const auto held = co_await with_timeout(1s, in.permits.acquire());
    in.told += "acquired";
  } catch (const std::system_error& error) {
    if (error.code() == std::errc::timed_out) in.told += "timed out";
  }
}

TEST_CASE_TEMPLATE("a deadline ends the wait, unless the permits came before", Semaphore, semaphore, local_semaphore) {
  scripted_executor test;
  journal<Semaphore> in{0};
  auto waits = test.loop.start(acquire_in_time(in));
  test.loop.run_ready();

  SUBCASE("in time") {
    in.permits.release();
    test.advance(1s);
    CHECK(in.told == "acquired");
  }
  SUBCASE("too late") {
    test.advance(1s);
    in.permits.release();
    CHECK(in.told == "timed out");
  }

  CHECK(in.permits.available() == 1);
}

TEST_CASE("try_acquire() takes what is there, and does not wait") {
  semaphore permits{2};

  const auto both = permits.try_acquire(2);
  CHECK(both.has_value());
  CHECK(both->count() == 2);
  CHECK(!permits.try_acquire());
}

TEST_CASE("permits can be given back early, forgotten, moved, and replaced") {
  semaphore one{3};
  auto held = one.try_acquire();
  REQUIRE(held);

  SUBCASE("early") {
    held->release();
    CHECK(!*held);
    CHECK(one.available() == 3);
  }
  SUBCASE("forgotten") {
    held->forget();
    held.reset();
    CHECK(one.available() == 2);
    one.release();
  }
  SUBCASE("moved") {
    semaphore::permits elsewhere{std::move(*held)};
    held.reset();
    CHECK(one.available() == 2);
  }
  SUBCASE("replaced") {
    auto two = one.try_acquire(2);
    *held = std::move(*two);
    CHECK(one.available() == 1);
  }

  held.reset();
  CHECK(one.available() == 3);
}

task<> acquire_as_result(semaphore& permits, std::string& told) {
  const auto held = co_await as_result(stopped_as_error(permits.acquire()));
  told += held ? "acquired" : held.error().message();
}

task<> acquire_or_throw(semaphore& permits, std::string& told) {
  try {
    const auto held = co_await stopped_as_error(permits.acquire());
    told += "acquired";
  } catch (const std::system_error& error) {
    told += error.what();
  }
}

TEST_CASE("a stop can be heard of as an error") {
  scripted_executor test;
  semaphore permits{1};
  std::string returned;
  std::string thrown;
  auto succeeds = test.loop.start(acquire_as_result(permits, returned));
  test.loop.run_ready();
  CHECK(returned == "acquired");
  auto taken = permits.try_acquire();

  auto returns = test.loop.start(acquire_as_result(permits, returned));
  auto throws = test.loop.start(acquire_or_throw(permits, thrown));
  test.loop.run_ready();
  test.stop(returns);
  test.stop(throws);

  CHECK(returned == "acquired" + std::make_error_code(std::errc::operation_canceled).message());
  CHECK(thrown.starts_with("semaphore"));
}

test::foreign_task acquire_as_another_library(semaphore& permits) {
  const auto held = co_await permits.acquire();
  co_return static_cast<int>(held.count());
}

task<> await_another_library(semaphore& permits, int& got) { got = co_await acquire_as_another_library(permits); }

TEST_CASE("a coroutine of another library can wait for permits") {
  scripted_executor test;
  semaphore permits{0};
  int got = 0;
  auto waits = test.loop.start(await_another_library(permits, got));
  test.loop.run_ready();

  permits.release();
  test.loop.run_ready();

  CHECK(got == 1);
  CHECK(permits.available() == 1);
}

TEST_CASE("diagnosis says who waits for a semaphore") {
  scripted_executor test;
  journal<semaphore> in{0};
  auto waits = test.loop.start(pass(in, 'a'));
  test.loop.run_ready();

  CHECK(dump_tasks(test.loop).find(": semaphore for 0.0 s") != std::string::npos);

  in.permits.release();
  test.loop.run_ready();
}

TEST_CASE("a hundred thousand who wait are stopped, each in constant time") {
  scripted_executor test;
  journal<semaphore> in{0};
  auto all = test.loop.start([](journal<semaphore>& at) -> task<> {
    co_await with_task_group([&](task_group& group) -> task<> {
      for (int index = 0; index < 100'000; ++index) group.start(pass(at, 'a'));
      co_return;
    });
  }(in));
  test.loop.run_ready();

  test.stop(all);

  CHECK(all.stopped());
  in.permits.release();
  CHECK(in.permits.available() == 1);
}

// -------------------------------------------------------------------------------------------------------- every order

struct world {
  explicit world(std::uint64_t permits_count) noexcept : permits{permits_count} {}

  semaphore permits;
  std::uint64_t held_count = 0;
  std::vector<int> came;  // who asked, in the order in which they did
  std::vector<int> got;   // who had its permits, in the order in which they were resumed
};

class counted_as_held {
 public:
  counted_as_held(world& in, std::uint64_t count) noexcept : in_{in}, count_{count} { in_.held_count += count_; }
  counted_as_held(const counted_as_held&) = delete;
  counted_as_held& operator=(const counted_as_held&) = delete;
  ~counted_as_held() { in_.held_count -= count_; }

 private:
  world& in_;
  std::uint64_t count_;
};

task<> take_part(world& in, int name, std::uint64_t count) {
  in.came.push_back(name);
  const auto held = co_await in.permits.acquire(count);
  in.got.push_back(name);
  const counted_as_held counted{in, count};
  co_await this_task::yield();
}

// Where several can be resumed at a time this is not so: one is posted to its executor, another queued behind it there.
bool is_first_in_first_out(const world& in) {
  std::vector<int> expected = in.came;
  std::erase_if(expected, [&](int name) { return std::ranges::find(in.got, name) == in.got.end(); });
  return expected == in.got;
}

TEST_CASE("one permit among three on two executors, in every order with every cancel") {
  const std::size_t orders_count = test::for_every_order([](test::choices& choose) {
    CAPTURE(choose);
    test::left_and_right on;
    world in{1};
    std::array roots{on.left.loop.start(take_part(in, 0, 1)), on.right.loop.start(take_part(in, 1, 1)),
                     on.left.loop.start(take_part(in, 2, 1))};

    test::steps next;
    on.add_turns(next);
    next.perhaps("cancel 0", [&] { roots[0].cancel(); });
    next.perhaps("cancel 1", [&] { roots[1].cancel(); });
    next.perhaps("cancel 2", [&] { roots[2].cancel(); });
    next.take_all(choose, [&] { REQUIRE(in.held_count <= 1); });

    for (const auto& each : roots) REQUIRE(each.done());
    REQUIRE(in.permits.available() == 1);
    REQUIRE(is_first_in_first_out(in));
  });

  CHECK(orders_count > 1000);
}

TEST_CASE("two permits among four who want one or both, in every order with cancels") {
  const std::size_t orders_count = test::for_every_order([](test::choices& choose) {
    CAPTURE(choose);
    test::left_and_right on;
    world in{2};
    std::array roots{on.left.loop.start(take_part(in, 0, 1)), on.right.loop.start(take_part(in, 1, 2)),
                     on.left.loop.start(take_part(in, 2, 1)), on.right.loop.start(take_part(in, 3, 1))};

    test::steps next;
    on.add_turns(next);
    next.perhaps("cancel 1", [&] { roots[1].cancel(); });
    next.perhaps("cancel 2", [&] { roots[2].cancel(); });
    next.perhaps("cancel 3", [&] { roots[3].cancel(); });
    next.take_all(choose, [&] { REQUIRE(in.held_count + in.permits.available() <= 2); });

    for (const auto& each : roots) REQUIRE(each.done());
    REQUIRE(in.permits.available() == 2);
  });

  CHECK(orders_count > 1000);
}

TEST_CASE("permits released from outside any turn, in every order with every cancel") {
  const std::size_t orders_count = test::for_every_order([](test::choices& choose) {
    CAPTURE(choose);
    test::left_and_right on;
    world in{0};
    std::array roots{on.left.loop.start(take_part(in, 0, 1)), on.right.loop.start(take_part(in, 1, 1))};

    test::steps next;
    on.add_turns(next);
    next.once("release one", [&] { in.permits.release(); });
    next.once("release another", [&] { in.permits.release(); });
    next.perhaps("cancel 0", [&] { roots[0].cancel(); });
    next.perhaps("cancel 1", [&] { roots[1].cancel(); });
    next.take_all(choose, [&] { REQUIRE(in.held_count + in.permits.available() <= 2); });

    for (const auto& each : roots) REQUIRE(each.done());
    REQUIRE(in.permits.available() == 2);
  });

  CHECK(orders_count > 1000);
}

// ------------------------------------------------------------------------------------------------------------- threads

struct shared_count {
  semaphore permits{1};
  int value = 0;  // guarded by the only permit
};

task<> count_up(shared_count& in, int times) {
  for (int index = 0; index < times; ++index) {
    const auto held = co_await in.permits.acquire();
    ++in.value;
    if (index % 16 == 0) co_await this_task::yield();
  }
}

// The wait that loses against its deadline, or crosses it, is as good as any other.
task<> count_up_in_a_hurry(shared_count& in, int times, int& counted) {
  for (int index = 0; index < times; ++index) {
    const auto held = co_await as_result(with_timeout(std::chrono::microseconds{index % 50}, in.permits.acquire()));
    if (!held) continue;
    ++in.value;
    ++counted;
  }
}

TEST_CASE("a permit guards what coroutines on several threads do") {
  constexpr int times = 500;
  shared_count in;
  std::array<int, 3> counted{};
  std::vector<std::thread> threads;
  for (int& its_count : counted) {
    threads.emplace_back([&] {
      executor loop;
      loop.run([&]() -> task<> {
        co_await with_task_group([&](task_group& group) -> task<> {
          for (int index = 0; index < 3; ++index) group.start(count_up(in, times));
          group.start(count_up_in_a_hurry(in, times, its_count));
          co_return;
        });
      });
    });
  }
  for (std::thread& each : threads) each.join();

  CHECK(in.value == 3 * 3 * times + counted[0] + counted[1] + counted[2]);
  CHECK(in.permits.available() == 1);
}

TEST_CASE("plain threads take and release permits beside coroutines that wait for them") {
  constexpr int times = 2000;
  shared_count in;
  int counted = 0;
  std::thread beside{[&] {
    for (int index = 0; index < times; ++index) {
      if (auto held = in.permits.try_acquire()) {
        ++in.value;
        ++counted;
      } else {
        std::this_thread::yield();
      }
    }
  }};
  executor loop;
  loop.run(count_up(in, times));
  beside.join();

  CHECK(in.value == times + counted);
}

}  // namespace
}  // namespace gyre
