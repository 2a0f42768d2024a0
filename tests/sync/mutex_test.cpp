// SPDX-License-Identifier: MIT
// The mutex among coroutines: who gets it when, on one executor and on several, and what a cancel leaves behind. In
// every order: mutex_race_test.cpp. With threads and processes on the kernel: mutex_stress_test.cpp.
#include <gyre/runtime/as_result.hpp>
#include <gyre/runtime/deadline.hpp>
#include <gyre/runtime/executor.hpp>
#include <gyre/runtime/task_group.hpp>
#include <gyre/runtime/this_task.hpp>
#include <gyre/runtime/timer.hpp>
#include <gyre/sync/mutex.hpp>

#include "../support/outcome.hpp"
#include "../support/scripted.hpp"
#include "../support/scripted_futexes.hpp"
#include "../support/turning.hpp"

#include <doctest/doctest.h>
#include <liburing.h>

#include <cerrno>
#include <chrono>
#include <list>
#include <memory>
#include <optional>
#include <thread>
#include <type_traits>
#include <vector>

namespace gyre {
namespace {

using namespace std::chrono_literals;
using namespace test;
using ops::futex_kind;
using sync::mutex;

constexpr auto shared = futex_kind::process_shared;

// A coroutine that locks, and holds until it is told to go on.
struct holder {
  holder(executor& loop, mutex& locked) : root{loop.start(hold(*this, locked))} {}
  holder(scripted_executor& on, mutex& locked) : holder{on.loop, locked} { on.loop.run_ready(); }

  static task<> hold(holder& self, mutex& locked) {
    const stop_watch watch{self.noted};
    self.held = co_await locked.lock();
    self.noted.how = ended::with_value;
  }

  [[nodiscard]] bool holds() const { return static_cast<bool>(held); }

  outcome noted;
  mutex::guard held;
  root_task<void> root;
};

// In a turn of the executor, as a coroutine does it.
template <class Fn>
void in_turn(executor& loop, Fn fn) {
  loop.run([&]() -> task<> {
    fn();
    co_return;
  });
  loop.run_ready();
}

void unlock_in_turn(scripted_executor& on, holder& giving_up) {
  in_turn(on.loop, [&] { giving_up.held.unlock(); });
}

}  // namespace

TEST_CASE("a mutex is eight bytes without a pointer, and free when they are zero") {
  alignas(mutex) std::byte zeros[sizeof(mutex)] = {};
  auto& locked = *reinterpret_cast<mutex*>(zeros);

  CHECK(static_cast<bool>(locked.try_lock()));
  static_assert(std::is_standard_layout_v<mutex>);
  static_assert(!std::is_copy_constructible_v<mutex> && !std::is_move_constructible_v<mutex>);
  static_assert(alignof(mutex) == 4);
}

TEST_CASE("a free mutex is locked without a wait, and unlocked with its guard") {
  scripted_executor on;
  mutex locked;

  on.loop.run([&]() -> task<> {
    {
      const auto held = co_await locked.lock();
      CHECK(static_cast<bool>(held));
      CHECK(!locked.try_lock());
    }
    CHECK(static_cast<bool>(locked.try_lock()));
    const auto again = co_await as_result(locked.lock());
    CHECK(again.has_value());
  });

  CHECK(on.script.enters_count() == 0);
}

TEST_CASE("a guard is moved, released and unlocked early") {
  mutex locked;
  mutex::guard first = locked.try_lock();
  mutex::guard second = std::move(first);
  CHECK(!first);
  CHECK(static_cast<bool>(second));

  second.unlock();
  CHECK(!second);
  second.unlock();
  second = locked.try_lock();
  second = mutex::guard{};
  CHECK(static_cast<bool>(locked.try_lock()));

  CHECK(locked.lock_blocking().release() == &locked);
  CHECK(!locked.try_lock());
  locked.unlock();
  CHECK(static_cast<bool>(locked.try_lock()));
}

TEST_CASE("those who wait at one executor are given it in their order, and the kernel hears nothing") {
  scripted_executor on;
  mutex locked;
  holder first{on, locked};
  std::list<holder> waiting;
  for (int i = 0; i < 3; ++i) waiting.emplace_back(on, locked);
  CHECK(first.holds());

  holder* before = &first;
  for (auto& each : waiting) {
    CHECK(!each.holds());
    unlock_in_turn(on, *before);
    CHECK(each.holds());
    before = &each;
  }
  unlock_in_turn(on, *before);

  CHECK(on.loop.statistics().sqes == 0);
  CHECK(static_cast<bool>(locked.try_lock()));
}

TEST_CASE("unlock() makes a waiter ready, and resumes nobody inside the call") {
  scripted_executor on;
  mutex locked;
  holder first{on, locked};
  holder second{on, locked};

  on.loop.run([&]() -> task<> {
    first.held.unlock();
    CHECK(!second.holds());
    CHECK(!locked.try_lock());
    co_return;
  });
  on.loop.run_ready();

  CHECK(second.holds());
  unlock_in_turn(on, second);
}

namespace {

// So many coroutines that each count so often, and let others run while they hold the mutex.
constexpr int tasks_count = 100;
constexpr int rounds_count = 100;

int count_together(executor& loop) {
  mutex locked;
  int counter = 0;
  loop.run([&]() -> task<> {
    co_await with_task_group([&](task_group& all) -> task<> {
      for (int i = 0; i < tasks_count; ++i)
        all.start([](mutex& contended, int& counted) -> task<> {
          for (int round = 0; round < rounds_count; ++round) {
            const auto held = co_await contended.lock();
            const int seen = counted;
            co_await this_task::yield();
            counted = seen + 1;
          }
        }(locked, counter));
      co_return;
    });
  });
  return counter;
}

}  // namespace

TEST_CASE("a hundred coroutines that contend on one executor ask nothing of its ring") {
  executor loop;
  const auto before = loop.statistics();

  CHECK(count_together(loop) == tasks_count * rounds_count);

  CHECK(loop.statistics().sqes == before.sqes);
  CHECK(loop.statistics().enters == before.enters);
}

// A wake is futex(2), which no ring counts.
TEST_CASE("a hundred coroutines that contend on one executor wake nobody in the kernel") {
  scripted_futexes kernel;
  served_executor on{kernel};

  CHECK(count_together(on.loop) == tasks_count * rounds_count);

  CHECK(kernel.wakes_count() == 0);
  CHECK(on.script.enters_count() == 0);
}

TEST_CASE("a hundred who wait for another executor wait in the kernel once") {
  scripted_futexes kernel;
  served_executor here{kernel};
  served_executor there{kernel};
  mutex locked;
  holder first{there, locked};
  std::list<holder> waiting;
  for (int i = 0; i < 100; ++i) waiting.emplace_back(here, locked);
  CHECK(here.script.taken_count(IORING_OP_FUTEX_WAIT) == 1);
  CHECK(kernel.sleepers_count() == 1);

  unlock_in_turn(there, first);
  CHECK(kernel.wakes_count() == 1);
  here.loop.run_ready();
  for (auto& each : waiting) {
    CHECK(each.holds());
    unlock_in_turn(here, each);
  }

  CHECK(here.script.taken_count(IORING_OP_FUTEX_WAIT) == 1);
  CHECK(here.script.taken_count(IORING_OP_ASYNC_CANCEL) == 0);
  CHECK(static_cast<bool>(locked.try_lock()));
}

TEST_CASE("executors that want it get it in turn, each after a bounded number of hand-overs") {
  for (const auto kind : {futex_kind::process_private, shared}) {
    scripted_futexes kernel;
    served_executor here{kernel};
    served_executor there{kernel};
    mutex locked{kind};
    std::list<holder> waiting;
    for (int i = 0; i < 200; ++i) waiting.emplace_back(here, locked);
    holder other{there, locked};

    int before_other_count = 0;
    auto each = waiting.begin();
    while (!other.holds()) {
      REQUIRE(each->holds());
      unlock_in_turn(here, *each++);
      ++before_other_count;
      there.loop.run_ready();
      here.loop.run_ready();
    }
    // Where the word is shared, those here sleep as well, and may come first once.
    CHECK(before_other_count <= 2 * 65);
    CHECK(before_other_count >= 64);

    unlock_in_turn(there, other);
    here.loop.run_ready();
    for (; each != waiting.end(); ++each) {
      REQUIRE(each->holds());
      unlock_in_turn(here, *each);
      here.loop.run_ready();
    }
    CHECK(static_cast<bool>(locked.try_lock()));
    CHECK(kernel.sleepers_count() == 0);
  }
}

TEST_CASE("when nobody else wants it after all, those who wait here go on") {
  scripted_futexes kernel;
  served_executor here{kernel};
  served_executor there{kernel};
  mutex locked;
  std::list<holder> waiting;
  for (int i = 0; i < 200; ++i) waiting.emplace_back(here, locked);
  holder other{there, locked};
  there.stop(other.root);

  for (auto& each : waiting) {
    REQUIRE(each.holds());
    unlock_in_turn(here, each);
  }

  CHECK(other.noted.how == ended::stopped);
  CHECK(static_cast<bool>(locked.try_lock()));
}

TEST_CASE("others are let in, and the wake finds one who has left: those who wait here look again") {
  scripted_futexes kernel;
  served_executor here{kernel};
  served_executor there{kernel, by_hand};
  mutex locked;
  std::list<holder> waiting;
  for (int i = 0; i < 80; ++i) waiting.emplace_back(here, locked);
  holder other{there, locked};
  there.stop(other.root);
  here.script.on_enter = [&] { there.loop.run_ready(); };  // passes the wake on before the wait from here is there

  int looks_count = 0;
  for (auto& each : waiting) {
    if (!each.holds()) {
      ++looks_count;
      here.advance(200ms);
    }
    REQUIRE(each.holds());
    unlock_in_turn(here, each);
  }

  CHECK(looks_count == 1);
  CHECK(static_cast<bool>(locked.try_lock()));
  here.script.on_enter = nullptr;
  there.script.complete(there.script.only(IORING_OP_ASYNC_CANCEL), -ENOENT);
  there.loop.run_ready();
}

TEST_CASE("a waiter that is stopped leaves, and the next one comes") {
  for (const int leaving : {0, 1, 2}) {
    CAPTURE(leaving);
    scripted_executor on;
    mutex locked;
    holder first{on, locked};
    std::vector<std::unique_ptr<holder>> waiting;
    for (int i = 0; i < 3; ++i) waiting.push_back(std::make_unique<holder>(on, locked));

    on.stop(waiting[static_cast<std::size_t>(leaving)]->root);
    CHECK(waiting[static_cast<std::size_t>(leaving)]->noted.how == ended::stopped);
    unlock_in_turn(on, first);

    for (int i = 0; i < 3; ++i) {
      if (i == leaving) continue;
      auto& each = *waiting[static_cast<std::size_t>(i)];
      CHECK(each.holds());
      unlock_in_turn(on, each);
    }
    CHECK(static_cast<bool>(locked.try_lock()));
  }
}

TEST_CASE("one that has been given it is not stopped any more") {
  scripted_executor on;
  mutex locked;
  holder first{on, locked};
  holder second{on, locked};

  on.loop.run([&]() -> task<> {
    first.held.unlock();
    second.root.cancel();
    co_return;
  });
  on.loop.run_ready();

  CHECK(second.holds());
  CHECK(!second.root.stopped());
  unlock_in_turn(on, second);
}

TEST_CASE("in a cancelled scope a free mutex is taken, and one that is held is not waited for") {
  scripted_executor on;
  mutex locked;
  mutex taken;
  holder other{on, taken};
  bool has_locked = false;
  auto root = on.loop.start([](mutex& free, mutex& held, bool& noted) -> task<> {
    (co_await this_task::scope()).cancel();
    const auto guard = co_await free.lock();
    noted = true;
    static_cast<void>(co_await held.lock());
    noted = false;
  }(locked, taken, has_locked));
  on.loop.run_ready();

  CHECK(root.stopped());
  CHECK(has_locked);
  CHECK(static_cast<bool>(locked.try_lock()));
  unlock_in_turn(on, other);
  CHECK(static_cast<bool>(taken.try_lock()));
}

TEST_CASE("who waits in the kernel for others leaves, and the next one takes the place") {
  scripted_futexes kernel;
  served_executor here{kernel};
  served_executor there{kernel};
  mutex locked;
  holder first{there, locked};
  holder leaving{here, locked};
  holder staying{here, locked};

  here.stop(leaving.root);
  CHECK(leaving.noted.how == ended::stopped);
  CHECK(here.script.taken_count(IORING_OP_ASYNC_CANCEL) == 0);
  unlock_in_turn(there, first);
  here.loop.run_ready();

  CHECK(staying.holds());
  unlock_in_turn(here, staying);
}

TEST_CASE("when the last one leaves, the kernel is asked to end the wait; who comes meanwhile begins another") {
  scripted_futexes kernel;
  served_executor there{kernel};
  served_executor here{kernel, {.on_cancel = detail::scripted_ring::cancels::by_hand}};
  mutex locked;
  holder first{there, locked};
  holder leaving{here, locked};
  here.stop(leaving.root);
  CHECK(leaving.noted.how == ended::stopped);
  holder coming{here, locked};
  CHECK(here.script.taken_count(IORING_OP_FUTEX_WAIT) == 1);

  here.script.complete(here.script.only(IORING_OP_FUTEX_WAIT), -ECANCELED);
  here.script.complete(here.script.only(IORING_OP_ASYNC_CANCEL), 1);
  here.loop.run_ready();
  CHECK(here.script.taken_count(IORING_OP_FUTEX_WAIT) == 2);
  unlock_in_turn(there, first);
  here.loop.run_ready();

  CHECK(coming.holds());
  unlock_in_turn(here, coming);
}

TEST_CASE("a wake that crosses the cancel of the last waiter is passed on") {
  scripted_futexes kernel;
  served_executor there{kernel};
  served_executor here{kernel, {.on_cancel = detail::scripted_ring::cancels::by_hand}};
  served_executor elsewhere{kernel};
  mutex locked;
  holder first{there, locked};
  holder leaving{here, locked};
  holder staying{elsewhere, locked};

  here.stop(leaving.root);
  unlock_in_turn(there, first);  // wakes the wait of `here`, which came first
  here.script.complete(here.script.only(IORING_OP_ASYNC_CANCEL), -ENOENT);
  elsewhere.loop.run_ready();
  CHECK(!staying.holds());
  here.loop.run_ready();
  elsewhere.loop.run_ready();

  CHECK(staying.holds());
  unlock_in_turn(elsewhere, staying);
}

TEST_CASE("a wake that crosses the cancel of the last waiter is used by who comes then") {
  scripted_futexes kernel;
  served_executor there{kernel};
  served_executor here{kernel, {.on_cancel = detail::scripted_ring::cancels::by_hand}};
  served_executor elsewhere{kernel};
  mutex locked;
  holder first{there, locked};
  holder leaving{here, locked};
  holder staying{elsewhere, locked};
  here.stop(leaving.root);
  holder coming{here, locked};

  unlock_in_turn(there, first);
  here.script.complete(here.script.only(IORING_OP_ASYNC_CANCEL), -ENOENT);
  here.loop.run_ready();
  CHECK(coming.holds());
  unlock_in_turn(here, coming);
  elsewhere.loop.run_ready();

  CHECK(staying.holds());
  unlock_in_turn(elsewhere, staying);
}

TEST_CASE("a word that changes before the kernel begins to wait is looked at again") {
  scripted_futexes kernel;
  served_executor there{kernel};
  served_executor here{kernel};
  mutex locked;
  holder first{there, locked};
  here.script.on_enter = [&] {
    here.script.on_enter = nullptr;
    unlock_in_turn(there, first);
  };

  holder second{here, locked};

  CHECK(second.holds());
  CHECK(here.script.taken_count(IORING_OP_FUTEX_WAIT) == 1);
  unlock_in_turn(here, second);
}

TEST_CASE("a spurious wake is no lock") {
  scripted_futexes kernel;
  served_executor there{kernel};
  served_executor here{kernel};
  mutex locked;
  holder first{there, locked};
  holder second{here, locked};

  here.script.complete(here.script.only(IORING_OP_FUTEX_WAIT), 0);
  here.loop.run_ready();
  CHECK(!second.holds());
  unlock_in_turn(there, first);
  here.loop.run_ready();

  CHECK(second.holds());
  unlock_in_turn(here, second);
}

TEST_CASE("a kernel that cannot wait on words is asked for a time instead") {
  scripted_executor there;
  scripted_executor here;
  mutex locked;
  here.script.answer = [](const auto& taken) -> std::optional<int> {
    if (taken.opcode == IORING_OP_FUTEX_WAIT) return -EINVAL;
    return std::nullopt;
  };
  holder first{there, locked};
  holder second{here, locked};
  holder third{here, locked};
  here.run_for(3ms);
  CHECK(here.script.taken_count(IORING_OP_FUTEX_WAIT) == 1);
  CHECK(!second.holds());

  here.stop(third.root);
  unlock_in_turn(there, first);
  here.advance(1ms);

  CHECK(second.holds());
  unlock_in_turn(here, second);
  CHECK(third.noted.how == ended::stopped);
}

// Such a ring refuses nearly everything: a wait on a word, and a timeout.
TEST_CASE("an executor that polls devices looks at the word now and then, and asks the kernel no more") {
  scripted_executor there;
  scripted_executor here{{.modes = {.iopoll = true}}};
  here.script.answer = [](const auto&) { return std::optional{-EINVAL}; };
  mutex locked;
  holder first{there, locked};
  outcome noted;
  auto second = here.loop.start(observe(locked.lock(), noted));
  for (int turn = 0; turn < 10; ++turn) here.loop.turn(/*may_park=*/false);
  REQUIRE(here.script.taken_count(IORING_OP_FUTEX_WAIT) == 1);
  REQUIRE(here.script.taken_count(IORING_OP_TIMEOUT) == 0);
  CHECK(!here.loop.has_work());

  SUBCASE("it gets the mutex") {
    unlock_in_turn(there, first);
    here.advance(1ms);
    CHECK(noted.how == ended::with_value);
  }
  SUBCASE("it is stopped") {
    here.advance(1ms);
    here.stop(second);
    CHECK(noted.how == ended::stopped);
    unlock_in_turn(there, first);
  }
  CHECK(here.loop.timers().empty());
  CHECK(here.script.taken_count(IORING_OP_FUTEX_WAIT) == 1);
}

TEST_CASE("an executor that polls devices sleeps while a thread has the mutex") {
  executor loop{{.iopoll = iopoll_mode::busy}};
  mutex locked;
  std::optional<mutex::guard> of_thread;
  std::thread{[&] { of_thread.emplace(locked.lock_blocking()); }}.join();
  outcome noted;
  auto root = loop.start(observe(locked.lock(), noted));

  for (int turn = 0; turn < 20; ++turn) loop.turn(/*may_park=*/true);
  CHECK(loop.statistics().parks >= 8);
  of_thread->unlock();
  turn_until_done(loop, root);

  CHECK(noted.how == ended::with_value);
}

TEST_CASE("a lock has a deadline, and one that comes in time is kept") {
  scripted_executor on;
  mutex locked;
  holder first{on, locked};
  outcome late;
  outcome in_time;
  auto of_late = on.loop.start(observe(with_timeout(5ms, locked.lock()), late));
  auto of_in_time = on.loop.start(observe(with_timeout(20ms, locked.lock()), in_time));
  on.run_for(10ms);

  CHECK(late.how == ended::with_error);
  CHECK(late.error == std::errc::timed_out);
  CHECK(in_time.how == ended::not_yet);
  unlock_in_turn(on, first);

  CHECK(in_time.how == ended::with_value);
  CHECK(static_cast<bool>(locked.try_lock()));
}

TEST_CASE("a stop can be had as an error") {
  scripted_executor on;
  mutex locked;
  holder first{on, locked};
  outcome noted;
  auto root = on.loop.start([](mutex& waited_for, outcome& how) -> task<> {
    try {
      static_cast<void>(co_await stopped_as_error(waited_for.lock()));
    } catch (const std::system_error& error) {
      how.error = error.code();
    }
  }(locked, noted));
  on.loop.run_ready();
  on.stop(root);

  CHECK(noted.error == std::errc::operation_canceled);
  unlock_in_turn(on, first);
  CHECK(static_cast<bool>(locked.try_lock()));
}

TEST_CASE("a hundred thousand who wait are stopped in linear time, and leave nothing behind") {
  constexpr int waiters_count = 100'000;
  scripted_futexes kernel;
  served_executor there{kernel};
  served_executor here{kernel};
  mutex locked;
  holder first{there, locked};
  int stopped_count = 0;
  auto root = here.loop.start([](mutex& contended, int& counted) -> task<> {
    co_await with_task_group([&](task_group& all) -> task<> {
      for (int i = 0; i < waiters_count; ++i)
        all.start([](mutex& wanted, int& noted) -> task<> {
          const std::unique_ptr<int, void (*)(int*)> on_end{&noted, [](int* count) { ++*count; }};
          static_cast<void>(co_await wanted.lock());
          noted = -1;
        }(contended, counted));
      co_return;
    });
  }(locked, stopped_count));
  here.loop.run_ready();
  CHECK(here.script.taken_count(IORING_OP_FUTEX_WAIT) == 1);

  here.stop(root);

  CHECK(stopped_count == waiters_count);
  CHECK(here.script.taken_count(IORING_OP_ASYNC_CANCEL) == 1);
  CHECK(kernel.sleepers_count() == 0);
  unlock_in_turn(there, first);
  CHECK(static_cast<bool>(locked.try_lock()));
}

TEST_CASE("many mutexes are waited for at once, each with its own queue") {
  constexpr std::size_t mutexes_count = 1000;
  scripted_executor on;
  std::vector<mutex> all(mutexes_count);
  std::list<holder> holding;
  std::list<holder> waiting;
  for (auto& each : all) holding.emplace_back(on, each);
  for (auto& each : all) waiting.emplace_back(on, each);

  for (auto& each : holding) unlock_in_turn(on, each);
  for (auto& each : waiting) {
    CHECK(each.holds());
    unlock_in_turn(on, each);
  }

  CHECK(on.loop.statistics().sqes == 0);
}

TEST_CASE("a thread and a coroutine wait for each other") {
  for (const auto kind : {futex_kind::process_private, shared}) {
    executor loop;
    mutex locked{kind};
    auto held = locked.lock_blocking();
    std::optional<mutex::guard> taken;
    auto root = loop.start(
        [](mutex& wanted, std::optional<mutex::guard>& got) -> task<> { got = co_await wanted.lock(); }(locked, taken));
    loop.run_ready();
    CHECK(!taken.has_value());

    std::thread{[&] { held.unlock(); }}.join();
    turn_until_done(loop, root);
    CHECK(taken.has_value());

    std::thread waits{[&] { static_cast<void>(locked.lock_blocking()); }};
    loop.run([&]() -> task<> {
      taken.reset();
      co_return;
    });
    waits.join();
    CHECK(static_cast<bool>(locked.try_lock()));
  }
}

TEST_CASE("an executor that ends while its last wait is still in the kernel passes a wake on") {
  scripted_futexes kernel;
  served_executor there{kernel};
  served_executor elsewhere{kernel};
  mutex locked;
  holder first{there, locked};
  std::optional<served_executor> here{std::in_place, kernel};
  std::optional<holder> leaving{std::in_place, *here, locked};
  holder staying{elsewhere, locked};
  here->script.on_enter = [&] {
    here->script.on_enter = nullptr;
    unlock_in_turn(there, first);  // wakes the wait that is about to be cancelled
  };

  leaving->root.cancel();
  while (!leaving->root.done()) here->loop.turn(/*may_park=*/false);
  leaving.reset();
  here.reset();
  elsewhere.loop.run_ready();

  CHECK(staying.holds());
  unlock_in_turn(elsewhere, staying);
}

}  // namespace gyre
