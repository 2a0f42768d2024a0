// SPDX-License-Identifier: MIT
// What is done once, and who does it when the first one fails.
#include <gyre/runtime/deadline.hpp>
#include <gyre/runtime/diagnosis.hpp>
#include <gyre/runtime/executor.hpp>
#include <gyre/runtime/task.hpp>
#include <gyre/runtime/this_task.hpp>
#include <gyre/runtime/timer.hpp>
#include <gyre/sync/once.hpp>

#include <doctest/doctest.h>
#include "../support/every_order.hpp"
#include "../support/scripted.hpp"

#include <array>
#include <chrono>
#include <cstddef>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

namespace gyre {
namespace {

using namespace std::chrono_literals;
using sync::once;
using test::scripted_executor;

task<> take_a_second(std::string& told, char name) {
  told += name;
  co_await sleep_for(1s);
  told += '.';
}

task<> do_it(once& made, std::string& told, char name) {
  co_await made.call([&] { return take_a_second(told, name); });
  told += name;
}

TEST_CASE("whoever comes first does it, and the others wait until it is done") {
  scripted_executor test;
  once made;
  std::string told;
  auto first = test.loop.start(do_it(made, told, 'a'));
  auto second = test.loop.start(do_it(made, told, 'b'));
  test.loop.run_ready();
  CHECK(told == "a");
  CHECK(!made.done());
  CHECK(dump_tasks(test.loop).find(": once for 0.0 s") != std::string::npos);

  test.advance(1s);

  CHECK(made.done());
  CHECK(told == "a.ab");
}

TEST_CASE("when it is done nobody waits") {
  scripted_executor test;
  once made;
  std::string told;
  auto first = test.loop.start(do_it(made, told, 'a'));
  test.run_for(1s);
  told.clear();

  auto late = test.loop.start(do_it(made, told, 'b'));
  test.loop.turn(/*may_park=*/false);

  CHECK(told == "b");
}

task<> fail(std::string& told) {
  told += 'x';
  co_await sleep_for(1s);
  throw std::runtime_error{"it failed"};
}

task<> fail_at_it(once& made, std::string& told) {
  try {
    co_await made.call([&] { return fail(told); });
  } catch (const std::runtime_error&) {
    told += '!';
  }
}

TEST_CASE("when it fails, who tried hears of it, and the next one tries") {
  scripted_executor test;
  once made;
  std::string told;
  auto first = test.loop.start(fail_at_it(made, told));
  auto second = test.loop.start(do_it(made, told, 'b'));
  auto third = test.loop.start(do_it(made, told, 'c'));
  test.loop.run_ready();

  test.advance(1s);
  CHECK(told == "x!b");
  CHECK(!made.done());

  test.advance(1s);
  CHECK(told == "x!b.bc");
}

TEST_CASE("when nobody waits for what failed, who comes next tries") {
  scripted_executor test;
  once made;
  std::string told;
  auto first = test.loop.start(fail_at_it(made, told));
  test.run_for(1s);

  auto second = test.loop.start(do_it(made, told, 'b'));
  test.run_for(1s);

  CHECK(told == "x!b.b");
  CHECK(made.done());
}

task<> never_begins() { throw std::runtime_error{"there is no task"}; }

task<> fail_before_it(once& made, std::string& told) {
  try {
    co_await made.call([&]() -> task<> {
      told += '-';
      return never_begins();
    });
  } catch (const std::runtime_error&) {
    told += '!';
  }
}

TEST_CASE("a task that fails at once has failed, too") {
  scripted_executor test;
  once made;
  std::string told;
  auto fails = test.loop.start(fail_before_it(made, told));

  test.loop.run_ready();

  CHECK(told == "-!");
  CHECK(!made.done());
}

TEST_CASE("a stop hands on who does it, and lets go who waits") {
  scripted_executor test{{}, gyre::test::one_at_a_time};
  once made;
  std::string told;
  auto first = test.loop.start(do_it(made, told, 'a'));
  auto second = test.loop.start(do_it(made, told, 'b'));
  auto third = test.loop.start(do_it(made, told, 'c'));
  test.loop.run_ready();

  SUBCASE("who does it") {
    test.stop(first);
    CHECK(told == "ab");
    test.advance(1s);
    CHECK(told == "ab.bc");
  }
  SUBCASE("who waits") {
    test.stop(second);
    test.advance(1s);
    CHECK(told == "a.ac");
  }
  SUBCASE("who was handed it and has not begun") {
    first.cancel();
    test.loop.turn(/*may_park=*/false);
    test.stop(second);
    test.stop(first);
    CHECK(told == "abc");
    test.advance(1s);
    CHECK(told == "abc.c");
  }
  SUBCASE("all") {
    test.stop(first);
    test.stop(second);
    test.stop(third);
    CHECK(!made.done());
  }
  test.run_for(1s);
}

task<> do_in_time(once& made, std::string& told) {
  const bool done = co_await move_on_after(1ms, do_it(made, told, 'b'));
  if (!done) told += '?';
}

TEST_CASE("a deadline ends the wait, and not what is waited for") {
  scripted_executor test;
  once made;
  std::string told;
  auto first = test.loop.start(do_it(made, told, 'a'));
  auto second = test.loop.start(do_in_time(made, told));

  test.run_for(1s);

  CHECK(told == "a?.a");
}

// --------------------------------------------------------------------------------------------------------- every order

struct world {
  once made;
  int running_count = 0;
  int done_count = 0;
};

class counted_as_running {
 public:
  explicit counted_as_running(world& in) noexcept : in_{in} { ++in_.running_count; }
  counted_as_running(const counted_as_running&) = delete;
  counted_as_running& operator=(const counted_as_running&) = delete;
  ~counted_as_running() { --in_.running_count; }

 private:
  world& in_;
};

task<> make(world& in) {
  const counted_as_running counted{in};
  co_await this_task::yield();
  ++in.done_count;
}

task<> call(world& in, bool& went_on) {
  co_await in.made.call([&] { return make(in); });
  went_on = in.done_count == 1;
}

TEST_CASE("three call on two executors, in every order with every cancel") {
  const std::size_t orders_count = test::for_every_order([](test::choices& choose) {
    CAPTURE(choose);
    test::left_and_right on;
    world in;
    std::array<bool, 3> went_on{};
    std::array roots{on.left.loop.start(call(in, went_on[0])), on.right.loop.start(call(in, went_on[1])),
                     on.left.loop.start(call(in, went_on[2]))};

    test::steps next;
    on.add_turns(next);
    next.perhaps("cancel 0", [&] { roots[0].cancel(); });
    next.perhaps("cancel 1", [&] { roots[1].cancel(); });
    next.perhaps("cancel 2", [&] { roots[2].cancel(); });
    next.take_all(choose, [&] { REQUIRE(in.running_count <= 1); });

    bool anybody_went_on = false;
    for (std::size_t index = 0; index < roots.size(); ++index) {
      REQUIRE(roots[index].done());
      REQUIRE(went_on[index] == !roots[index].stopped());
      anybody_went_on |= went_on[index];
    }
    REQUIRE(in.done_count <= 1);
    REQUIRE(in.made.done() == (in.done_count == 1));
    REQUIRE((!anybody_went_on || in.made.done()));
  });

  CHECK(orders_count > 1000);
}

TEST_CASE("threads that all call see what one of them has done") {
  for (int round = 0; round < 100; ++round) {
    world in;
    std::array<bool, 3> went_on{};
    std::vector<std::thread> threads;
    for (bool& each : went_on) {
      threads.emplace_back([&] {
        executor loop;
        loop.run([&] { return call(in, each); });
      });
    }
    for (std::thread& each : threads) each.join();

    CHECK(in.done_count == 1);
    for (const bool each : went_on) CHECK(each);
  }
}

}  // namespace
}  // namespace gyre
