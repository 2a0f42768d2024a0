// SPDX-License-Identifier: MIT
// Coroutines that wait for each other at the end of each phase.
#include <gyre/runtime/as_result.hpp>
#include <gyre/runtime/deadline.hpp>
#include <gyre/runtime/diagnosis.hpp>
#include <gyre/runtime/executor.hpp>
#include <gyre/runtime/task.hpp>
#include <gyre/runtime/this_task.hpp>
#include <gyre/sync/barrier.hpp>

#include <doctest/doctest.h>
#include "../support/every_order.hpp"
#include "../support/scripted.hpp"

#include <array>
#include <chrono>
#include <cstddef>
#include <string>
#include <thread>
#include <vector>

namespace gyre {
namespace {

using namespace std::chrono_literals;
using sync::barrier;
using test::scripted_executor;

template <class Barrier>
task<> work(Barrier& together, std::string& told, char name, int phases_count) {
  for (int phase = 0; phase < phases_count; ++phase) {
    co_await together.arrive_and_wait();
    told += name;
  }
}

TEST_CASE("nobody begins a phase before all have ended the last one") {
  scripted_executor test;
  barrier together{3};
  std::string told;
  auto first = test.loop.start(work(together, told, 'a', 2));
  auto second = test.loop.start(work(together, told, 'b', 2));
  test.loop.run_ready();
  CHECK(told.empty());

  auto third = test.loop.start(work(together, told, 'c', 2));
  test.loop.run_ready();

  CHECK(told == "cabbca");
}

TEST_CASE("the completion function runs once a phase, after the last arrival and before anybody goes on") {
  scripted_executor test;
  std::string told;
  barrier together{2, [&]() noexcept { told += '|'; }};
  auto first = test.loop.start(work(together, told, 'a', 2));
  test.loop.run_ready();
  CHECK(told.empty());

  auto second = test.loop.start(work(together, told, 'b', 2));
  test.loop.run_ready();

  CHECK(told == "|ba|ab");
}

TEST_CASE("who is stopped has not arrived, and may arrive again") {
  scripted_executor test;
  barrier together{2};
  std::string told;
  auto stopped = test.loop.start(work(together, told, 'a', 1));

  SUBCASE("before it waits") {
    test.stop(stopped);
    CHECK(stopped.stopped());
  }
  SUBCASE("while it waits") {
    test.loop.run_ready();
    test.stop(stopped);
    CHECK(stopped.stopped());
  }
  auto other = test.loop.start(work(together, told, 'b', 1));
  test.loop.run_ready();
  CHECK(told.empty());

  auto again = test.loop.start(work(together, told, 'c', 1));
  test.loop.run_ready();
  CHECK(told == "cb");
}

TEST_CASE("a phase that was complete before a stop came is over for all") {
  scripted_executor test;
  barrier together{2};
  std::string told;
  auto first = test.loop.start(work(together, told, 'a', 1));
  test.loop.run_ready();
  auto second = test.loop.start(work(together, told, 'b', 1));
  test.loop.turn(/*may_park=*/false);

  test.stop(first);

  CHECK(told == "ba");
}

TEST_CASE("who drops has arrived for the last time, and completes the phase if it is the last") {
  scripted_executor test;
  std::string told;
  barrier together{3, [&]() noexcept { told += '|'; }};
  auto first = test.loop.start(work(together, told, 'a', 2));
  auto second = test.loop.start(work(together, told, 'b', 2));
  test.loop.run_ready();

  together.arrive_and_drop();
  CHECK(told == "|");
  test.loop.run_ready();

  CHECK(told == "|ab|ba");
}

TEST_CASE("all may drop") {
  int completed_count = 0;
  barrier together{2, [&]() noexcept { ++completed_count; }};

  together.arrive_and_drop();
  together.arrive_and_drop();

  CHECK(completed_count == 1);
}

task<> arrive_in_time(barrier<>& together, std::string& told) {
  const auto ended = co_await as_result(with_timeout(1s, together.arrive_and_wait()));
  told += ended ? "all there" : "not all there";
}

TEST_CASE("a deadline ends a wait at a barrier") {
  scripted_executor test;
  barrier together{2};
  std::string told;
  auto waits = test.loop.start(arrive_in_time(together, told));
  test.loop.run_ready();
  CHECK(dump_tasks(test.loop).find("barrier for 0.0 s") != std::string::npos);

  test.advance(1s);

  CHECK(told == "not all there");
}

task<> work_and_drop(barrier<>& together, int phases_count, int& passed_count) {
  class leaves {
   public:
    explicit leaves(barrier<>& from) noexcept : from_{from} {}
    leaves(const leaves&) = delete;
    leaves& operator=(const leaves&) = delete;
    ~leaves() { from_.arrive_and_drop(); }

   private:
    barrier<>& from_;
  } at_the_end{together};
  for (int phase = 0; phase < phases_count; ++phase) {
    co_await together.arrive_and_wait();
    ++passed_count;
  }
}

TEST_CASE("whoever is stopped and drops, the others go on: in every order with every cancel") {
  const std::size_t orders_count = test::for_every_order([](test::choices& choose) {
    CAPTURE(choose);
    test::left_and_right on;
    barrier together{3};
    std::array<int, 3> passed{};
    std::array roots{on.left.loop.start(work_and_drop(together, 1, passed[0])),
                     on.right.loop.start(work_and_drop(together, 1, passed[1])),
                     on.left.loop.start(work_and_drop(together, 1, passed[2]))};
    std::array<bool, 3> begun{};

    test::steps next;
    on.add_turns(next);
    // A task that is stopped before it begins makes nothing that could drop.
    const auto cancel = [&](std::size_t index, scripted_executor& where) {
      next.whenever(
          "cancel", [&, index] { return where.loop.statistics().turns > 0 && !begun[index] && !roots[index].done(); },
          [&, index] {
            begun[index] = true;
            if (choose.flip()) roots[index].cancel();
          });
    };
    cancel(0, on.left);
    cancel(1, on.right);
    next.take_all(choose);

    for (std::size_t index = 0; index < roots.size(); ++index) {
      REQUIRE(roots[index].done());
      REQUIRE(passed[index] == (roots[index].stopped() ? 0 : 1));
    }
  });

  CHECK(orders_count > 100);
}

TEST_CASE("threads work in phases, and see what the others did in the last one") {
  constexpr int threads_count = 3;
  constexpr int phases_count = 200;
  std::array<int, threads_count> written{};
  int sum = 0;  // written between phases, read in them
  barrier together{threads_count, [&]() noexcept {
                     sum = 0;
                     for (const int each : written) sum += each;
                   }};
  int failures_count[threads_count] = {};
  std::vector<std::thread> threads;
  for (int index = 0; index < threads_count; ++index) {
    threads.emplace_back([&, index] {
      executor loop;
      loop.run([&]() -> task<> {
        for (int phase = 1; phase <= phases_count; ++phase) {
          written[static_cast<std::size_t>(index)] = phase;
          co_await together.arrive_and_wait();
          if (sum != phase * threads_count) ++failures_count[index];
          co_await together.arrive_and_wait();
        }
      });
    });
  }
  for (std::thread& each : threads) each.join();

  for (const int each : failures_count) CHECK(each == 0);
}

}  // namespace
}  // namespace gyre
