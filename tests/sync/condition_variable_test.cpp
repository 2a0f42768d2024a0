// SPDX-License-Identifier: MIT
// The condition variable among coroutines: who is notified, and that whoever goes on or is stopped has the mutex. In
// every order: mutex_race_test.cpp. With threads and processes on the kernel: mutex_stress_test.cpp.
#include <gyre/runtime/as_result.hpp>
#include <gyre/runtime/deadline.hpp>
#include <gyre/runtime/executor.hpp>
#include <gyre/runtime/task_group.hpp>
#include <gyre/runtime/this_task.hpp>
#include <gyre/sync/condition_variable.hpp>
#include <gyre/sync/mutex.hpp>

#include "../support/outcome.hpp"
#include "../support/scripted.hpp"
#include "../support/scripted_futexes.hpp"
#include "../support/turning.hpp"

#include <doctest/doctest.h>
#include <liburing.h>

#include <cerrno>
#include <chrono>
#include <deque>
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
using sync::condition_variable;
using sync::mutex;

// What several wait for.
struct place {
  mutex locked;
  condition_variable changed;
  int tokens_count = 0;
};

// Whether somebody holds it: asked where nobody else runs.
bool is_locked(place& at) { return !at.locked.try_lock(); }

// A coroutine that waits for a token, and takes it. Its frame has an object whose destructor looks at the mutex.
struct taker {
  taker(executor& loop, place& at) : root{loop.start(take(*this, at))} {}
  taker(scripted_executor& on, place& at) : taker{on.loop, at} { on.loop.run_ready(); }

  struct under_the_lock {
    taker& of;
    place& at;
    ~under_the_lock() { of.ended_locked = is_locked(at); }
  };

  static task<> take(taker& self, place& at) {
    const stop_watch watch{self.noted};
    auto held = co_await at.locked.lock();
    const under_the_lock looks{self, at};
    co_await at.changed.wait(held, [&self, &at] {
      ++self.asked_count;
      CHECK(is_locked(at));
      return at.tokens_count > 0;
    });
    --at.tokens_count;
    self.noted.how = ended::with_value;
  }

  [[nodiscard]] bool is_done() const { return noted.how == ended::with_value; }

  outcome noted;
  int asked_count = 0;
  bool ended_locked = false;
  root_task<void> root;
};

enum class notify { one, all };

task<> put(place& at, int count, notify whom) {
  const auto held = co_await at.locked.lock();
  at.tokens_count += count;
  if (whom == notify::one) at.changed.notify_one();
  else at.changed.notify_all();
}

void put_from(scripted_executor& on, place& at, int count, notify whom) {
  on.loop.run(put(at, count, whom));
  on.loop.run_ready();
}

int done_count(const std::list<taker>& all) {
  int count = 0;
  for (const auto& each : all) count += each.is_done() ? 1 : 0;
  return count;
}

}  // namespace

TEST_CASE("a condition variable is sixteen bytes without a pointer, and a notify without a waiter does nothing") {
  static_assert(std::is_standard_layout_v<condition_variable>);
  static_assert(!std::is_copy_constructible_v<condition_variable>);
  scripted_executor on;
  condition_variable nobody_waits;

  nobody_waits.notify_one();
  nobody_waits.notify_all();
  on.loop.run([&]() -> task<> {
    nobody_waits.notify_all();
    co_return;
  });

  CHECK(on.script.enters_count() == 0);
}

TEST_CASE("a predicate that holds is not waited for") {
  scripted_executor on;
  place at;
  at.tokens_count = 1;
  taker one{on, at};

  CHECK(one.is_done());
  CHECK(one.asked_count == 1);
  CHECK(on.loop.statistics().sqes == 0);
  CHECK(!is_locked(at));
}

TEST_CASE("a wait gives up the mutex, and has it again when it ends") {
  scripted_futexes kernel;
  served_executor on{kernel};
  place at;
  taker one{on, at};
  CHECK(!is_locked(at));
  CHECK(!one.is_done());

  put_from(on, at, 1, notify::one);

  CHECK(one.is_done());
  CHECK(one.ended_locked);
  CHECK(!is_locked(at));
}

TEST_CASE("notify_one wakes who came first, of the same executor without a system call") {
  scripted_futexes kernel;
  served_executor on{kernel};
  place at;
  std::list<taker> all;
  for (int i = 0; i < 3; ++i) all.emplace_back(on, at);

  int woken_count = 0;
  for (auto& each : all) {
    CHECK(!each.is_done());
    put_from(on, at, 1, notify::one);
    CHECK(each.is_done());
    CHECK(done_count(all) == ++woken_count);
  }

  CHECK(kernel.wakes_count() == 0);
  CHECK(on.script.taken_count(IORING_OP_FUTEX_WAIT) == 1);
  CHECK(kernel.sleepers_count() == 0);
}

TEST_CASE("notify_all wakes everybody, and each asks once more") {
  scripted_futexes kernel;
  served_executor here{kernel};
  served_executor there{kernel};
  place at;
  std::list<taker> all;
  for (int i = 0; i < 3; ++i) all.emplace_back(here, at), all.emplace_back(there, at);

  put_from(here, at, 6, notify::all);
  there.loop.run_ready();
  here.loop.run_ready();
  there.loop.run_ready();

  CHECK(done_count(all) == 6);
  for (const auto& each : all) CHECK(each.asked_count == 2);
  CHECK(kernel.sleepers_count() == 0);
}

TEST_CASE("notify_all from another executor wakes a whole queue") {
  scripted_futexes kernel;
  served_executor here{kernel};
  served_executor there{kernel};
  place at;
  std::list<taker> all;
  for (int i = 0; i < 10; ++i) all.emplace_back(here, at);

  put_from(there, at, 10, notify::all);
  here.loop.run_ready();

  CHECK(done_count(all) == 10);
  CHECK(kernel.wakes_count() == 1);
}

TEST_CASE("notify_one from another executor wakes one of a queue, each time") {
  scripted_futexes kernel;
  served_executor here{kernel};
  served_executor there{kernel};
  place at;
  std::list<taker> all;
  for (int i = 0; i < 5; ++i) all.emplace_back(here, at);

  for (int i = 1; i <= 5; ++i) {
    put_from(there, at, 1, notify::one);
    here.loop.run_ready();
    CHECK(done_count(all) == i);
  }

  CHECK(kernel.sleepers_count() == 0);
}

TEST_CASE("notifies that come while no wait is in the kernel are counted") {
  scripted_futexes kernel;
  served_executor here{kernel};
  served_executor there{kernel};
  place at;
  std::list<taker> all;
  for (int i = 0; i < 5; ++i) all.emplace_back(here, at);

  for (int i = 0; i < 3; ++i) put_from(there, at, 1, notify::one);  // the first of them ends the wait
  here.loop.run_ready();

  CHECK(done_count(all) == 3);
  put_from(there, at, 2, notify::all);
  here.loop.run_ready();
  CHECK(done_count(all) == 5);
}

TEST_CASE("notify_all between two looks is not taken for one notify") {
  scripted_futexes kernel;
  served_executor here{kernel};
  served_executor there{kernel};
  place at;
  std::list<taker> all;
  for (int i = 0; i < 4; ++i) all.emplace_back(here, at);

  put_from(there, at, 1, notify::one);
  put_from(there, at, 3, notify::all);
  here.loop.run_ready();

  CHECK(done_count(all) == 4);
}

TEST_CASE("a notify between the unlock and the kernel's wait is not lost") {
  scripted_futexes kernel;
  served_executor here{kernel};
  served_executor there{kernel};
  place at;
  here.script.on_enter = [&] {
    here.script.on_enter = nullptr;
    put_from(there, at, 1, notify::one);
  };
  taker one{here, at};

  CHECK(one.is_done());
  CHECK(kernel.sleepers_count() == 0);
}

TEST_CASE("executors that wait are notified in turn, after a bounded number of the notifier's own") {
  scripted_futexes kernel;
  served_executor here{kernel};
  served_executor there{kernel};
  place at;
  std::list<taker> own;
  for (int i = 0; i < 200; ++i) own.emplace_back(here, at);
  taker other{there, at};

  int own_before_other_count = 0;
  for (; !other.is_done(); ++own_before_other_count) {
    put_from(here, at, 1, notify::one);
    there.loop.run_ready();
    here.loop.run_ready();
    REQUIRE(own_before_other_count < 2 * 65);
  }

  // The wait of `here` came first into the kernel, and is woken first.
  CHECK(own_before_other_count >= 64);
  for (auto& each : own) here.stop(each.root);
}

TEST_CASE("a stopped wait has the mutex when it unwinds, and its predicate is not asked again") {
  scripted_futexes kernel;
  served_executor on{kernel};
  place at;
  taker one{on, at};

  on.stop(one.root);

  CHECK(one.noted.how == ended::stopped);
  CHECK(one.asked_count == 1);
  CHECK(one.ended_locked);
  CHECK(!is_locked(at));
  CHECK(kernel.sleepers_count() == 0);
}

TEST_CASE("a stop waits for the mutex") {
  scripted_futexes kernel;
  served_executor here{kernel};
  served_executor there{kernel};
  for (const bool elsewhere : {false, true}) {
    place at;
    taker one{here, at};
    served_executor& holder_runs_on = elsewhere ? there : here;
    mutex::guard held;
    holder_runs_on.loop.run([&]() -> task<> { held = co_await at.locked.lock(); });

    here.stop(one.root);
    CHECK(one.noted.how == ended::not_yet);
    holder_runs_on.loop.run([&]() -> task<> {
      held.unlock();
      co_return;
    });
    here.loop.run_ready();

    CHECK(one.noted.how == ended::stopped);
    CHECK(one.ended_locked);
    CHECK(!is_locked(at));
  }
}

TEST_CASE("in a scope that is cancelled already the mutex is not given up") {
  scripted_executor on;
  place at;
  bool went_on = false;
  bool was_free = false;
  auto root = on.loop.start([](place& here, bool& noted, bool& free) -> task<> {
    auto held = co_await here.locked.lock();
    (co_await this_task::scope()).cancel();
    free = !is_locked(here);
    co_await here.changed.wait(held);
    noted = true;
  }(at, went_on, was_free));
  on.loop.run_ready();

  CHECK(root.stopped());
  CHECK(!went_on);
  CHECK(!was_free);
  CHECK(!is_locked(at));
  CHECK(on.loop.statistics().sqes == 0);
}

TEST_CASE("who was notified goes on, although its scope was cancelled then") {
  scripted_futexes kernel;
  served_executor on{kernel};
  place at;
  taker one{on, at};

  on.loop.run([&]() -> task<> {
    const auto held = co_await at.locked.lock();
    ++at.tokens_count;
    at.changed.notify_one();
    one.root.cancel();
  });
  on.loop.run_ready();

  CHECK(one.is_done());
  CHECK(!is_locked(at));
}

TEST_CASE("a wake that crosses the cancel of the only waiter is passed on") {
  scripted_futexes kernel;
  served_executor there{kernel};
  served_executor here{kernel, {.on_cancel = detail::scripted_ring::cancels::by_hand}};
  served_executor elsewhere{kernel};
  for (const bool somebody_comes : {false, true}) {
    CAPTURE(somebody_comes);
    place at;
    taker leaving{here, at};
    taker staying{elsewhere, at};

    here.stop(leaving.root);
    CHECK(leaving.noted.how == ended::stopped);
    put_from(there, at, 1, notify::one);  // ends the wait of `here`
    std::optional<taker> coming;
    if (somebody_comes) coming.emplace(there, at);  // and takes the token away
    here.script.complete(here.script.only(IORING_OP_ASYNC_CANCEL), -ENOENT);
    here.loop.run_ready();
    elsewhere.loop.run_ready();

    CHECK(staying.asked_count == 2);
    CHECK(staying.is_done() == !somebody_comes);
    elsewhere.stop(staying.root);
  }
}

TEST_CASE("a wake for one who has left does not end with who came after the notify") {
  scripted_futexes kernel;
  served_executor there{kernel};
  served_executor here{kernel, {.on_cancel = detail::scripted_ring::cancels::by_hand}};
  served_executor elsewhere{kernel};
  place at;
  taker leaving{here, at};
  taker staying{elsewhere, at};
  here.stop(leaving.root);
  auto coming = here.loop.start([](place& in, served_executor& other) -> task<> {
    other.loop.run([&]() -> task<> {
      in.changed.notify_one();  // ends the wait of this executor, which does not know yet
      co_return;
    });
    auto held = co_await in.locked.lock();
    co_await in.changed.wait(held);
  }(at, there));

  here.loop.run_ready();
  elsewhere.loop.run_ready();

  CHECK(staying.asked_count == 2);
  CHECK(!coming.done());
  for (const auto& asking : here.script.in_flight(IORING_OP_ASYNC_CANCEL)) here.script.complete(asking, -ENOENT);
  coming.cancel();
  here.loop.run_ready();
  here.script.complete(here.script.only(IORING_OP_FUTEX_WAIT), -ECANCELED);
  here.loop.run_ready();
  elsewhere.stop(staying.root);
}

TEST_CASE("a wake that crosses a notify of one's own executor is passed on, though somebody has come since") {
  scripted_futexes kernel;
  served_executor there{kernel};
  served_executor here{kernel, by_hand};
  served_executor elsewhere{kernel};
  place at;
  taker first{here, at};
  taker staying{elsewhere, at};
  auto coming = here.loop.start([](place& in, served_executor& other) -> task<> {
    put_from(other, in, 2, notify::one);  // ends the wait of this executor, which does not know yet
    auto held = co_await in.locked.lock();
    in.changed.notify_one();
    co_await in.changed.wait(held);
  }(at, there));

  here.loop.run_ready();
  elsewhere.loop.run_ready();

  CHECK(first.is_done());
  CHECK(staying.is_done());
  CHECK(!coming.done());
  for (const auto& asking : here.script.in_flight(IORING_OP_ASYNC_CANCEL)) here.script.complete(asking, -ENOENT);
  coming.cancel();
  here.loop.run_ready();
  here.script.complete(here.script.only(IORING_OP_FUTEX_WAIT), -ECANCELED);
  here.loop.run_ready();
  elsewhere.stop(staying.root);
}

TEST_CASE("one that is made where another was has none of its notifies, while the other's wait leaves the kernel") {
  scripted_futexes kernel;
  served_executor there{kernel};
  served_executor here{kernel, by_hand};
  std::optional<place> at{std::in_place};
  taker before{here, *at};
  put_from(here, *at, 1, notify::one);  // and here.loop asks for the end of its wait
  CHECK(before.is_done());
  at.emplace();
  taker one{here, *at};

  here.script.complete(here.script.only(IORING_OP_FUTEX_WAIT), -ECANCELED);
  here.script.complete(here.script.only(IORING_OP_ASYNC_CANCEL), 1);
  put_from(there, *at, 1, notify::one);
  here.loop.run_ready();

  CHECK(one.is_done());
}

TEST_CASE("one that is made where another was is waited for as its own kind") {
  scripted_futexes kernel;
  served_executor here{kernel, by_hand};
  mutex locked;
  std::optional<condition_variable> changed{std::in_place, futex_kind::process_private};
  const auto wait = [](mutex& under, condition_variable& until) -> task<> {
    auto held = co_await under.lock();
    co_await until.wait(held);
  };
  auto before = here.loop.start(wait(locked, *changed));
  here.loop.run_ready();
  here.stop(before);
  changed.emplace(futex_kind::process_shared);
  auto after = here.loop.start(wait(locked, *changed));
  here.loop.run_ready();

  here.script.complete(here.script.only(IORING_OP_FUTEX_WAIT), -ECANCELED);
  here.script.complete(here.script.only(IORING_OP_ASYNC_CANCEL), 1);
  here.loop.run_ready();

  constexpr int of_this_process = 0x80;  // linux/futex.h, FUTEX2_PRIVATE
  CHECK((here.script.only(IORING_OP_FUTEX_WAIT).fd & of_this_process) == 0);
  here.stop(after);
  here.script.complete(here.script.only(IORING_OP_FUTEX_WAIT), -ECANCELED);
  here.script.complete(here.script.only(IORING_OP_ASYNC_CANCEL), 1);
  here.loop.run_ready();
}

TEST_CASE("a notify of one's own executor is not counted again when the kernel's wait ends") {
  scripted_futexes kernel;
  served_executor here{kernel};
  served_executor there{kernel};
  place at;
  std::list<taker> all;
  for (int i = 0; i < 3; ++i) all.emplace_back(here, at);

  put_from(here, at, 1, notify::one);
  put_from(there, at, 1, notify::one);
  here.loop.run_ready();

  CHECK(done_count(all) == 2);
  CHECK(all.back().asked_count == 1);
  here.stop(all.back().root);
}

TEST_CASE("a wait has a deadline, which comes with the mutex held") {
  scripted_futexes kernel;
  served_executor on{kernel};
  place at;
  outcome noted;
  bool was_locked = false;
  auto root = on.loop.start([](place& here, outcome& how, bool& locked) -> task<> {
    auto held = co_await here.locked.lock();
    try {
      co_await with_timeout(5ms, here.changed.wait(held, [&] { return here.tokens_count > 0; }));
    } catch (const std::system_error& error) {
      how.error = error.code();
      locked = is_locked(here) && static_cast<bool>(held);
    }
    const auto until = std::chrono::steady_clock::time_point{1ms};  // long ago, as the script tells the time
    const auto ended = co_await as_result(with_deadline(until, here.changed.wait(held)));
    CHECK(ended.error() == std::errc::timed_out);
    CHECK(is_locked(here));
  }(at, noted, was_locked));
  on.run_for(10ms);

  CHECK(root.done());
  CHECK(noted.error == std::errc::timed_out);
  CHECK(was_locked);
  CHECK(!is_locked(at));
  CHECK(kernel.sleepers_count() == 0);
}

TEST_CASE("a stop can be had as an error, with the mutex held") {
  scripted_futexes kernel;
  served_executor on{kernel};
  place at;
  bool was_locked = false;
  auto root = on.loop.start([](place& here, bool& locked) -> task<> {
    auto held = co_await here.locked.lock();
    const auto ended = co_await as_result(stopped_as_error(here.changed.wait(held)));
    locked = ended.error() == std::errc::operation_canceled && is_locked(here);
  }(at, was_locked));
  on.loop.run_ready();
  on.stop(root);

  CHECK(was_locked);
  CHECK(!is_locked(at));
}

TEST_CASE("a hundred thousand who wait are stopped in linear time, one after the other under the mutex") {
  constexpr int waiters_count = 100'000;
  scripted_futexes kernel;
  served_executor on{kernel};
  place at;
  int stopped_count = 0;
  auto root = on.loop.start([](place& here, int& counted) -> task<> {
    co_await with_task_group([&](task_group& all) -> task<> {
      for (int i = 0; i < waiters_count; ++i)
        all.start([](place& in, int& noted) -> task<> {
          auto held = co_await in.locked.lock();
          const std::unique_ptr<int, void (*)(int*)> on_end{&noted, [](int* count) { ++*count; }};
          co_await in.changed.wait(held);
          noted = -1;
        }(here, counted));
      co_return;
    });
  }(at, stopped_count));
  on.loop.run_ready();

  on.stop(root);

  CHECK(stopped_count == waiters_count);
  CHECK(!is_locked(at));
  CHECK(kernel.sleepers_count() == 0);
  CHECK(on.script.taken_count(IORING_OP_FUTEX_WAIT) == 1);
}

TEST_CASE("a kernel that cannot wait on words is asked for a time instead") {
  scripted_executor here;
  scripted_executor there;
  here.script.answer = [](const auto& taken) -> std::optional<int> {
    if (taken.opcode == IORING_OP_FUTEX_WAIT) return -EINVAL;
    return std::nullopt;
  };
  place at;
  taker one{here, at};
  here.run_for(2ms);
  CHECK(!one.is_done());

  put_from(there, at, 1, notify::one);
  here.run_for(2ms);

  CHECK(one.is_done());
}

TEST_CASE("an executor that polls devices looks at the condition now and then, and asks the kernel no more") {
  scripted_executor here{{.modes = {.iopoll = true}}};
  scripted_executor there;
  here.script.answer = [](const auto&) { return std::optional{-EINVAL}; };
  place at;
  taker one{here.loop, at};
  for (int turn = 0; turn < 10; ++turn) here.loop.turn(/*may_park=*/false);
  REQUIRE(here.script.taken_count(IORING_OP_FUTEX_WAIT) == 1);
  REQUIRE(here.script.taken_count(IORING_OP_TIMEOUT) == 0);
  CHECK(!here.loop.has_work());

  SUBCASE("it is notified") {
    put_from(there, at, 1, notify::one);
    here.run_for(2ms);
    CHECK(one.is_done());
  }
  SUBCASE("it is stopped") {
    here.advance(1ms);
    here.stop(one.root);
    CHECK(one.noted.how == ended::stopped);
  }
  CHECK(here.loop.timers().empty());
}

TEST_CASE("threads and coroutines notify each other on the kernel") {
  for (const auto kind : {futex_kind::process_private, futex_kind::process_shared}) {
    constexpr int rounds_count = 100;
    mutex locked{kind};
    condition_variable changed{kind};
    int ball = 0;
    std::thread other{[&] {
      for (int i = 0; i < rounds_count; ++i) {
        auto held = locked.lock_blocking();
        changed.wait_blocking(held, [&] { return ball % 2 == 1; });
        ++ball;
        changed.notify_one();
      }
    }};
    executor loop;

    loop.run([&]() -> task<> {
      for (int i = 0; i < rounds_count; ++i) {
        auto held = co_await locked.lock();
        co_await changed.wait(held, [&] { return ball % 2 == 0; });
        ++ball;
        changed.notify_one();
      }
    });
    other.join();

    CHECK(ball == 2 * rounds_count);
  }
}

}  // namespace gyre
