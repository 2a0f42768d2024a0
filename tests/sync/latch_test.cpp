// SPDX-License-Identifier: MIT
// A count that goes down to zero once, and who waits for that.
#include <gyre/runtime/as_result.hpp>
#include <gyre/runtime/deadline.hpp>
#include <gyre/runtime/diagnosis.hpp>
#include <gyre/runtime/executor.hpp>
#include <gyre/runtime/task.hpp>
#include <gyre/runtime/this_task.hpp>
#include <gyre/sync/latch.hpp>

#include <doctest/doctest.h>
#include "../support/every_order.hpp"
#include "../support/scripted.hpp"

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <memory>
#include <string>
#include <thread>
#include <vector>

namespace gyre {
namespace {

using namespace std::chrono_literals;
using sync::latch;
using sync::local_latch;
using test::scripted_executor;

template <class Latch>
task<> note_when_done(Latch& counted, std::string& told, char name) {
  co_await counted.wait();
  told += name;
}

template <class Latch>
task<> arrive(Latch& counted, std::string& told, char name) {
  co_await counted.arrive_and_wait();
  told += name;
}

TEST_CASE_TEMPLATE("a latch lets all through when it has counted down to zero, and from then on", Latch, latch,
                   local_latch) {
  scripted_executor test;
  Latch counted{3};
  std::string told;
  auto first = test.loop.start(note_when_done(counted, told, 'a'));
  auto second = test.loop.start(note_when_done(counted, told, 'b'));
  test.loop.run_ready();

  counted.count_down();
  test.loop.run_ready();
  CHECK(!counted.try_wait());
  CHECK(told.empty());

  counted.count_down(2);
  CHECK(counted.try_wait());
  CHECK(told.empty());
  test.loop.run_ready();
  CHECK(told == "ab");

  auto late = test.loop.start(note_when_done(counted, told, 'c'));
  test.loop.turn(/*may_park=*/false);
  CHECK(told == "abc");
}

TEST_CASE("a latch that counts nothing makes nobody wait") {
  latch counted{0};

  CHECK(counted.try_wait());
}

TEST_CASE_TEMPLATE("who arrives counts, and waits for the others; the last does not wait", Latch, latch, local_latch) {
  scripted_executor test;
  Latch counted{2};
  std::string told;
  auto first = test.loop.start(arrive(counted, told, 'a'));
  test.loop.run_ready();
  CHECK(told.empty());

  auto last = test.loop.start(arrive(counted, told, 'b'));
  test.loop.run_ready();

  CHECK(told == "ba");
}

TEST_CASE_TEMPLATE("who is stopped waits no longer, and what it has counted stays counted", Latch, latch, local_latch) {
  scripted_executor test;
  Latch counted{2};
  std::string told;
  auto waits = test.loop.start(note_when_done(counted, told, 'a'));
  auto arrives = test.loop.start(arrive(counted, told, 'b'));
  test.loop.run_ready();

  SUBCASE("while they wait") {
    test.stop(waits);
    test.stop(arrives);
    CHECK(waits.stopped());
    CHECK(arrives.stopped());
    counted.count_down();
    CHECK(counted.try_wait());
    CHECK(told.empty());
  }
  SUBCASE("after the last count") {
    counted.count_down();
    test.stop(waits);
    test.stop(arrives);
    CHECK(told == "ab");
  }
}

TEST_CASE("in a scope that is cancelled an arrival counts, and does not wait") {
  scripted_executor test;
  latch counted{2};
  std::string told;
  auto arrives = test.loop.start([](latch& at, std::string& in) -> task<> {
    (co_await this_task::scope()).cancel();
    co_await arrive(at, in, 'a');
  }(counted, told));
  test.loop.run_ready();

  CHECK(arrives.stopped());
  counted.count_down();
  CHECK(counted.try_wait());
}

task<> wait_in_time(latch& counted, std::string& told) {
  const auto ended = co_await as_result(with_timeout(1s, counted.wait()));
  told += ended ? "done" : "not done";
}

TEST_CASE("a deadline ends a wait for a latch") {
  scripted_executor test;
  latch counted{1};
  std::string told;
  auto waits = test.loop.start(wait_in_time(counted, told));
  test.loop.run_ready();
  CHECK(dump_tasks(test.loop).find("latch for 0.0 s") != std::string::npos);

  test.advance(1s);

  CHECK(told == "not done");
}

TEST_CASE("arrivals on two executors and a count from elsewhere, in every order with a cancel") {
  const std::size_t orders_count = test::for_every_order([](test::choices& choose) {
    CAPTURE(choose);
    test::left_and_right on;
    latch counted{3};
    std::string told;
    std::array roots{on.left.loop.start(arrive(counted, told, 'a')), on.right.loop.start(arrive(counted, told, 'b'))};
    bool is_begun = false;

    test::steps next;
    on.add_turns(next);
    next.once("count", [&] { counted.count_down(); });
    next.whenever(
        "cancel a", [&] { return on.left.loop.statistics().turns > 0 && !is_begun; },
        [&] {
          is_begun = true;
          roots[0].cancel();
        });
    next.take_all(choose);

    for (const auto& each : roots) REQUIRE(each.done());
    REQUIRE(counted.try_wait());
    REQUIRE(!roots[1].stopped());
  });

  CHECK(orders_count > 20);
}

TEST_CASE("a latch counts what threads have done, and may go when it has") {
  constexpr int threads_count = 3;
  for (int round = 0; round < 200; ++round) {
    auto counted = std::make_unique<latch>(threads_count);
    std::array<int, threads_count> done{};
    std::vector<std::thread> threads;
    for (int& each : done) {
      threads.emplace_back([&each, at = counted.get()] {
        each = 1;
        at->count_down();
      });
    }

    executor loop;
    loop.run([&]() -> task<> {
      co_await counted->wait();
      counted.reset();
      for (const int each : done) CHECK(each == 1);
    });
    for (std::thread& each : threads) each.join();
  }
}

// What is freed is seen by AddressSanitizer, and the look of who comes too late by ThreadSanitizer in any order.
TEST_CASE("who is let through by the last to arrive may destroy the latch, though that one has not come back") {
  constexpr int times = 300;
  std::atomic<latch*> offered = nullptr;
  int arrivals_count = 0;
  std::thread arriver{[&] {
    executor loop;
    loop.run([&]() -> task<> {
      for (int index = 0; index < times; ++index) {
        offered.wait(nullptr);
        co_await offered.exchange(nullptr)->arrive_and_wait();
        ++arrivals_count;
      }
    });
  }};

  executor loop;
  loop.run([&]() -> task<> {
    for (int index = 0; index < times; ++index) {
      auto counted = std::make_unique<latch>(1);
      offered = counted.get();
      offered.notify_one();
      if (index % 8 != 0) co_await counted->wait();
      while (!counted->try_wait()) std::this_thread::yield();
    }
  });
  arriver.join();

  CHECK(arrivals_count == times);
}

}  // namespace
}  // namespace gyre
