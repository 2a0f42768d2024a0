// SPDX-License-Identifier: MIT
// An event that stays set, and one that lets one through.
#include <gyre/runtime/as_result.hpp>
#include <gyre/runtime/deadline.hpp>
#include <gyre/runtime/diagnosis.hpp>
#include <gyre/runtime/executor.hpp>
#include <gyre/runtime/task.hpp>
#include <gyre/runtime/task_group.hpp>
#include <gyre/runtime/this_task.hpp>
#include <gyre/sync/auto_event.hpp>
#include <gyre/sync/event.hpp>

#include <doctest/doctest.h>
#include "../support/every_order.hpp"
#include "../support/scripted.hpp"

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <memory>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

namespace gyre {
namespace {

using namespace std::chrono_literals;
using sync::auto_event;
using sync::event;
using sync::local_auto_event;
using sync::local_event;
using test::scripted_executor;

template <class Event>
task<> note_when_through(Event& waited_for, std::string& told, char name) {
  co_await waited_for.wait();
  told += name;
}

template <class Event>
task<> wait_in_time(Event& waited_for, std::string& told) {
  const auto ended = co_await as_result(with_timeout(1s, waited_for.wait()));
  told += ended ? "through" : "not through";
}

template <class Event>
task<> wait_and_hear_of_a_stop(Event& waited_for, std::string& told) {
  const auto ended = co_await as_result(stopped_as_error(waited_for.wait()));
  told += ended ? "through" : "stopped";
}

template <class Event>
task<> set_it(Event& waited_for) {
  waited_for.set();
  co_return;
}

TEST_CASE_TEMPLATE("set() lets all through, in the order in which they came, and never inside the call", Event, event,
                   local_event) {
  scripted_executor test;
  Event happened;
  std::string told;
  auto first = test.loop.start(note_when_through(happened, told, 'a'));
  auto second = test.loop.start(note_when_through(happened, told, 'b'));
  test.loop.run_ready();
  CHECK(!happened.is_set());

  happened.set();
  CHECK(happened.is_set());
  CHECK(told.empty());

  test.loop.run_ready();
  CHECK(told == "ab");
  auto late = test.loop.start(note_when_through(happened, told, 'c'));
  test.loop.turn(/*may_park=*/false);
  CHECK(told == "abc");
}

TEST_CASE_TEMPLATE("reset() stops who comes later, and nobody who was let through", Event, event, local_event) {
  scripted_executor test;
  Event happened{Event::state::set};
  std::string told;
  happened.reset();
  happened.reset();
  auto first = test.loop.start(note_when_through(happened, told, 'a'));
  test.loop.run_ready();

  happened.set();
  happened.reset();
  auto second = test.loop.start(note_when_through(happened, told, 'b'));
  test.loop.run_ready();

  CHECK(told == "a");
  happened.set();
  test.loop.run_ready();
  CHECK(told == "ab");
}

TEST_CASE_TEMPLATE("a stop ends a wait for an event, unless it was set before", Event, event, local_event, auto_event,
                   local_auto_event) {
  scripted_executor test;
  Event happened;
  std::string told;
  auto waits = test.loop.start(note_when_through(happened, told, 'a'));

  SUBCASE("before it waits") { test.stop(waits); }
  SUBCASE("while it waits") {
    test.loop.run_ready();
    test.stop(waits);
    CHECK(waits.stopped());
  }
  SUBCASE("after set()") {
    test.loop.run_ready();
    happened.set();
    test.stop(waits);
    CHECK(told == "a");
    return;
  }

  CHECK(told.empty());
  happened.set();
  test.loop.run_ready();
  CHECK(told.empty());
}

TEST_CASE_TEMPLATE("a deadline ends a wait for an event", Event, event, local_event, auto_event, local_auto_event) {
  scripted_executor test;
  Event happened;
  std::string told;
  auto waits = test.loop.start(wait_in_time(happened, told));
  test.loop.run_ready();

  SUBCASE("not set in time") {
    test.advance(1s);
    CHECK(told == "not through");
  }
  SUBCASE("set in time") {
    happened.set();
    test.advance(1s);
    CHECK(told == "through");
  }
}

TEST_CASE_TEMPLATE("a stop of a wait for an event can be heard of as an error", Event, event, auto_event) {
  scripted_executor test;
  Event happened;
  std::string told;
  auto waits = test.loop.start(wait_and_hear_of_a_stop(happened, told));
  test.loop.run_ready();

  test.stop(waits);

  CHECK(told == "stopped");
}

TEST_CASE_TEMPLATE("an event that is set on another executor is heard of there, also where a stop crosses", Event,
                   event, auto_event) {
  scripted_executor waiters;
  scripted_executor setters;
  Event happened;
  std::string told;
  auto waits = waiters.loop.start(note_when_through(happened, told, 'a'));
  waiters.loop.run_ready();
  auto sets = setters.loop.start(set_it(happened));
  setters.loop.run_ready();

  SUBCASE("no stop") { waiters.loop.run_ready(); }
  SUBCASE("a stop") { waiters.stop(waits); }

  CHECK(told == "a");
}

TEST_CASE("those that are stopped between others leave these in their order") {
  scripted_executor test;
  event happened;
  std::string told;
  auto first = test.loop.start(note_when_through(happened, told, 'a'));
  auto second = test.loop.start(note_when_through(happened, told, 'b'));
  auto third = test.loop.start(note_when_through(happened, told, 'c'));
  test.loop.run_ready();

  test.stop(second);
  happened.set();
  test.loop.run_ready();

  CHECK(told == "ac");
}

TEST_CASE("diagnosis says who waits for an event") {
  scripted_executor test;
  event happened;
  auto_event signal;
  std::string told;
  auto waits = test.loop.start(note_when_through(happened, told, 'a'));
  auto waits_too = test.loop.start(note_when_through(signal, told, 'b'));
  test.loop.run_ready();

  const std::string tree = dump_tasks(test.loop);

  CHECK(tree.find(": event for 0.0 s") != std::string::npos);
  CHECK(tree.find(": auto_event for 0.0 s") != std::string::npos);
  happened.set();
  signal.set();
  test.loop.run_ready();
}

TEST_CASE("a hundred thousand who wait are stopped, or let through, each in constant time") {
  scripted_executor test;
  event happened;
  std::string told;
  auto all = test.loop.start([](event& waited_for, std::string& in) -> task<> {
    co_await with_task_group([&](task_group& group) -> task<> {
      for (int index = 0; index < 100'000; ++index) group.start(note_when_through(waited_for, in, 'a'));
      co_return;
    });
  }(happened, told));
  test.loop.run_ready();

  SUBCASE("stopped") {
    test.stop(all);
    CHECK(told.empty());
  }
  SUBCASE("let through") {
    happened.set();
    test.loop.run_ready();
    CHECK(told.size() == 100'000);
  }
}

// ---------------------------------------------------------------------------------------------------------- auto_event

TEST_CASE_TEMPLATE("each set() lets one through: who has waited longest, or who comes next", Event, auto_event,
                   local_auto_event) {
  scripted_executor test;
  Event signal;
  std::string told;
  auto first = test.loop.start(note_when_through(signal, told, 'a'));
  auto second = test.loop.start(note_when_through(signal, told, 'b'));
  test.loop.run_ready();

  signal.set();
  test.loop.run_ready();
  CHECK(told == "a");
  signal.set();
  test.loop.run_ready();
  CHECK(told == "ab");

  signal.set();
  auto third = test.loop.start(note_when_through(signal, told, 'c'));
  test.loop.run_ready();
  CHECK(told == "abc");
  CHECK(!signal.try_wait());
}

TEST_CASE_TEMPLATE("an auto_event remembers one set(), and not how many there were", Event, auto_event,
                   local_auto_event) {
  Event signal{Event::state::set};

  signal.set();
  signal.set();

  CHECK(signal.try_wait());
  CHECK(!signal.try_wait());
  signal.set();
  signal.reset();
  CHECK(!signal.try_wait());
}

// --------------------------------------------------------------------------------------------------------- every order

TEST_CASE("an event that is set and reset beside waits on two executors, in every order with every cancel") {
  const std::size_t orders_count = test::for_every_order([](test::choices& choose) {
    CAPTURE(choose);
    test::left_and_right on;
    event happened;
    std::string told;
    std::array roots{on.left.loop.start(note_when_through(happened, told, 'a')),
                     on.right.loop.start(note_when_through(happened, told, 'b'))};

    test::steps next;
    on.add_turns(next);
    next.once("set", [&] { happened.set(); });
    next.perhaps("reset", [&] { happened.reset(); });
    next.perhaps("cancel a", [&] { roots[0].cancel(); });
    next.perhaps("cancel b", [&] { roots[1].cancel(); });
    next.take_all(choose);
    happened.set();
    on.run_ready();

    for (const auto& each : roots) REQUIRE(each.done());
    REQUIRE(told.size() == (roots[0].stopped() ? 0 : 1) + (roots[1].stopped() ? 0 : 1));
  });

  CHECK(orders_count > 1000);
}

TEST_CASE("no set() of an auto_event is lost, in every order with every cancel") {
  const std::size_t orders_count = test::for_every_order([](test::choices& choose) {
    CAPTURE(choose);
    test::left_and_right on;
    auto_event signal;
    std::string told;
    std::array roots{on.left.loop.start(note_when_through(signal, told, 'a')),
                     on.right.loop.start(note_when_through(signal, told, 'b'))};

    test::steps next;
    on.add_turns(next);
    next.once("set", [&] { signal.set(); });
    next.perhaps("cancel a", [&] { roots[0].cancel(); });
    next.perhaps("cancel b", [&] { roots[1].cancel(); });
    next.take_all(choose);

    // One set(): one went through, or both were stopped and the next one would.
    REQUIRE(told.size() == (signal.try_wait() ? 0u : 1u));
    signal.set();
    signal.set();
    on.left.loop.run_ready();
    signal.set();
    on.right.loop.run_ready();
    for (const auto& each : roots) REQUIRE(each.done());
  });

  CHECK(orders_count > 100);
}

// ------------------------------------------------------------------------------------------------------------- threads

TEST_CASE("who is let through, or sees that it is set, may destroy the event though set() has not returned") {
  constexpr int times = 300;
  std::atomic<event*> offered = nullptr;
  std::thread setter{[&] {
    for (int index = 0; index < times; ++index) {
      offered.wait(nullptr);
      offered.exchange(nullptr)->set();
    }
  }};

  executor loop;
  loop.run([&]() -> task<> {
    for (int index = 0; index < times; ++index) {
      auto happened = std::make_unique<event>();
      offered = happened.get();
      offered.notify_one();
      if (index % 8 != 0) co_await happened->wait();
      while (!happened->is_set()) std::this_thread::yield();
    }
  });
  setter.join();

  CHECK(offered == nullptr);
}

// Set and look on one side, reset and look on the other: what was written before a set() that came too early to be
// heard of is seen by who has reset it.
TEST_CASE("an event carries what was done before it, also where it is set already") {
  constexpr int times = 3000;
  event changed;
  std::atomic<int> version = 0;  // relaxed: the event is what orders it
  std::thread writer{[&] {
    for (int index = 1; index <= times; ++index) {
      version.store(index, std::memory_order_relaxed);
      changed.set();
    }
  }};

  int seen = 0;
  executor loop;
  loop.run([&]() -> task<> {
    while (seen < times) {
      co_await changed.wait();
      changed.reset();
      seen = version.load(std::memory_order_relaxed);
    }
  });
  writer.join();

  CHECK(seen == times);
}

TEST_CASE("an auto_event hands over between two threads, back and forth") {
  constexpr int times = 1000;
  auto_event ping;
  auto_event pong;
  int count = 0;  // whose turn it is has it
  std::thread other{[&] {
    executor loop;
    loop.run([&]() -> task<> {
      for (int index = 0; index < times; ++index) {
        co_await ping.wait();
        ++count;
        pong.set();
      }
    });
  }};

  executor loop;
  loop.run([&]() -> task<> {
    for (int index = 0; index < times; ++index) {
      ping.set();
      co_await pong.wait();
      ++count;
    }
  });
  other.join();

  CHECK(count == 2 * times);
}

}  // namespace
}  // namespace gyre
