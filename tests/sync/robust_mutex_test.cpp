// SPDX-License-Identifier: MIT
// The mutex that outlives its owner: processes are killed while they hold it, wait for it, or have just been woken.
#include <gyre/runtime/as_result.hpp>
#include <gyre/runtime/executor.hpp>
#include <gyre/sync/robust_mutex.hpp>

#include "../support/child.hpp"
#include "../support/outcome.hpp"
#include "../support/scripted.hpp"
#include "../support/scripted_futexes.hpp"
#include "../support/turning.hpp"

#include <doctest/doctest.h>
#include <liburing.h>
#include <pthread.h>
#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <csignal>
#include <cstddef>
#include <list>
#include <new>
#include <optional>
#include <system_error>
#include <thread>
#include <type_traits>
#include <vector>

namespace gyre {
namespace {

using namespace std::chrono_literals;
using namespace test;
using sync::robust_mutex;

struct shared_place {
  robust_mutex locked;
  robust_mutex another;
  int halves_count = 0;
  int torn_count = 0;    // times that half of the work was seen, and no death heard of
  int deaths_count = 0;  // that were heard of
  std::atomic<bool> is_over = false;
};

class mapped_place {
 public:
  mapped_place()
      : memory_{::mmap(nullptr, sizeof(shared_place), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0)} {
    REQUIRE(memory_ != MAP_FAILED);
    new (memory_) shared_place;
  }
  mapped_place(const mapped_place&) = delete;
  mapped_place& operator=(const mapped_place&) = delete;
  ~mapped_place() { ::munmap(memory_, sizeof(shared_place)); }
  shared_place& operator*() const noexcept { return *static_cast<shared_place*>(memory_); }

 private:
  void* memory_;
};

enum class owner { thread, coroutine };

// A process that holds the mutex, has done half of its work, and is killed then.
int hold_until_killed(shared_place& place, owner who) {
  const auto work = [&] {
    ++place.halves_count;
    say('h');
    for (;;) ::pause();
  };
  if (who == owner::thread) {
    const auto held = place.locked.lock_blocking();
    work();
  }
  executor loop;
  loop.run([&]() -> task<> {
    const auto held = co_await place.locked.lock();
    work();
  });
  return 0;
}

void kill_owner(shared_place& place, owner who) {
  child other{[&place, who] { return hold_until_killed(place, who); }};
  REQUIRE(other.hears() == 'h');
  other.signal(SIGKILL);
  CHECK(other.wait().killed_by == SIGKILL);
}

struct holder {
  holder(executor& loop, robust_mutex& locked) : root{loop.start(hold(*this, locked))} { loop.run_ready(); }
  static task<> hold(holder& self, robust_mutex& locked) {
    const stop_watch watch{self.noted};
    try {
      self.held = co_await locked.lock();
      self.noted.how = ended::with_value;
    } catch (const std::system_error& error) {
      self.noted.how = ended::with_error;
      self.noted.error = error.code();
    }
  }
  outcome noted;
  robust_mutex::guard held;
  root_task<void> root;
};

void unlock_in_turn(executor& loop, robust_mutex::guard& held) {
  loop.run([&]() -> task<> {
    held.unlock();
    co_return;
  });
  loop.run_ready();
}

}  // namespace

TEST_CASE("a robust mutex is locked and unlocked as any, by threads and coroutines") {
  static_assert(std::is_standard_layout_v<robust_mutex>);
  robust_mutex locked;
  {
    auto held = locked.lock_blocking();
    CHECK(static_cast<bool>(held));
    CHECK(!held.owner_died());
    CHECK(!locked.try_lock());
    robust_mutex::guard moved = std::move(held);
    CHECK(!held);
    held = std::move(moved);
  }
  executor loop;
  int counter = 0;
  std::thread other{[&] {
    for (int i = 0; i < 1000; ++i) {
      const auto held = locked.lock_blocking();
      ++counter;
    }
  }};

  loop.run([&]() -> task<> {
    for (int i = 0; i < 1000; ++i) {
      const auto held = co_await locked.lock();
      ++counter;
    }
  });
  other.join();

  CHECK(counter == 2000);
  CHECK(static_cast<bool>(locked.try_lock()));
}

TEST_CASE("who comes after an owner that was killed hears of it, and makes it good") {
  for (const auto killed : {owner::thread, owner::coroutine}) {
    const mapped_place mapped;
    auto& place = *mapped;
    kill_owner(place, killed);

    {
      auto held = place.locked.lock_blocking();
      CHECK(held.owner_died());
      held.make_consistent();
      CHECK(!held.owner_died());
    }
    executor loop;
    loop.run([&]() -> task<> {
      const auto held = co_await place.locked.lock();
      CHECK(!held.owner_died());
    });
    CHECK(place.halves_count == 1);
  }
}

TEST_CASE("coroutines and threads that wait for an owner that is killed get it, one after the other") {
  const mapped_place mapped;
  auto& place = *mapped;
  child other{[&place] { return hold_until_killed(place, owner::coroutine); }};
  REQUIRE(other.hears() == 'h');
  int died_count = 0;
  executor loop;
  std::list<root_task<void>> waiting;
  for (int i = 0; i < 3; ++i)
    waiting.emplace_back(loop, [](robust_mutex& locked, int& counted) -> task<> {
      auto held = co_await locked.lock();
      counted += held.owner_died() ? 1 : 0;
      held.make_consistent();
    }(place.locked, died_count));
  loop.run_ready();
  std::thread thread{[&] {
    auto held = place.locked.lock_blocking();
    died_count += held.owner_died() ? 1 : 0;
    held.make_consistent();
  }};

  other.signal(SIGKILL);
  for (auto& each : waiting) turn_until_done(loop, each);
  thread.join();

  CHECK(died_count == 1);
  CHECK(static_cast<bool>(place.locked.try_lock()));
}

TEST_CASE("a thread that ends while it holds one is an owner that died") {
  robust_mutex locked;
  alignas(robust_mutex::guard) std::byte never_destroyed[sizeof(robust_mutex::guard)];
  std::thread{[&] { new (never_destroyed) robust_mutex::guard{locked.lock_blocking()}; }}.join();

  auto held = locked.lock_blocking();
  CHECK(held.owner_died());
  held.make_consistent();
}

TEST_CASE("one that is unlocked as it was left is given up for good") {
  const mapped_place mapped;
  auto& place = *mapped;
  kill_owner(place, owner::thread);
  executor loop;
  std::optional<robust_mutex::guard> held{place.locked.lock_blocking()};
  CHECK(held->owner_died());
  holder first{loop, place.locked};
  holder second{loop, place.locked};
  CHECK(first.noted.how == ended::not_yet);

  held.reset();
  turn_until_done(loop, first.root);
  turn_until_done(loop, second.root);

  CHECK(first.noted.error == std::errc::state_not_recoverable);
  CHECK(second.noted.error == std::errc::state_not_recoverable);
  CHECK_THROWS_AS(static_cast<void>(place.locked.lock_blocking()), std::system_error);
  CHECK_THROWS_AS(static_cast<void>(place.locked.try_lock()), std::system_error);
  loop.run([&]() -> task<> {
    const auto ended = co_await as_result(place.locked.lock());
    CHECK(ended.error() == std::errc::state_not_recoverable);
  });
}

TEST_CASE("of several that a process held when it was killed each is found") {
  const mapped_place mapped;
  auto& place = *mapped;
  child other{[&place] {
    auto first = place.another.lock_blocking();
    pthread_mutexattr_t robust;
    pthread_mutexattr_init(&robust);
    pthread_mutexattr_setrobust(&robust, PTHREAD_MUTEX_ROBUST);
    pthread_mutex_t of_the_library;
    pthread_mutex_init(&of_the_library, &robust);
    pthread_mutex_lock(&of_the_library);
    auto second = place.locked.lock_blocking();
    pthread_mutex_unlock(&of_the_library);  // out of the middle of the list
    pthread_mutex_lock(&of_the_library);
    second.unlock();
    second = place.locked.lock_blocking();
    pthread_mutex_unlock(&of_the_library);
    say('h');
    for (;;) ::pause();
    return 0;
  }};
  REQUIRE(other.hears() == 'h');
  other.signal(SIGKILL);
  CHECK(other.wait().killed_by == SIGKILL);

  auto first = place.another.lock_blocking();
  auto second = place.locked.lock_blocking();

  CHECK(first.owner_died());
  CHECK(second.owner_died());
  first.make_consistent();
  second.make_consistent();
}

TEST_CASE("those who wait at one executor hand it on without the kernel, and others come in between") {
  scripted_futexes kernel;
  served_executor here{kernel};
  robust_mutex locked;
  std::list<holder> all;
  for (int i = 0; i < 200; ++i) all.emplace_back(here.loop, locked);
  CHECK(here.script.taken_count(IORING_OP_FUTEX_WAIT) == 1);

  for (auto& each : all) {
    while (!each.held) here.advance(1ms);
    unlock_in_turn(here.loop, each.held);
  }

  CHECK(static_cast<bool>(locked.try_lock()));
  CHECK(kernel.sleepers_count() == 0);
  CHECK(kernel.wakes_count() < 8);
}

TEST_CASE("where whoever was woken is killed before it has the mutex, the others look for themselves") {
  scripted_futexes kernel;
  served_executor there{kernel};
  served_executor here{kernel};
  robust_mutex locked;
  holder first{there.loop, locked};
  holder second{here.loop, locked};
  there.script.on_futex_wake = [](const auto&, auto) { return std::size_t{1}; };  // it wakes one who is no more

  unlock_in_turn(there.loop, first.held);
  here.advance(50ms);
  CHECK(!second.held);
  here.advance(100ms);

  CHECK(static_cast<bool>(second.held));
  unlock_in_turn(here.loop, second.held);
}

TEST_CASE("a waiter that is stopped leaves, and takes its timer with it") {
  scripted_futexes kernel;
  served_executor there{kernel};
  served_executor here{kernel};
  robust_mutex locked;
  holder first{there.loop, locked};
  holder second{here.loop, locked};

  here.stop(second.root);
  unlock_in_turn(there.loop, first.held);

  CHECK(second.noted.how == ended::stopped);
  CHECK(here.loop.timers().empty());
  CHECK(static_cast<bool>(locked.try_lock()));
}

namespace {

// What everybody does inside; who hears of a death puts right what the dead one left.
void work_inside(shared_place& place, robust_mutex::guard& held) {
  if (held.owner_died()) {
    ++place.deaths_count;
    place.halves_count += place.halves_count % 2;
    held.make_consistent();
  }
  place.torn_count += place.halves_count % 2;
  place.halves_count += 2;
}

// Kills itself inside, with its work half done, when it is there for so many times; without a number it goes on.
task<> work_until_killed(shared_place& place, std::optional<int> last_time) {
  for (int time = 1;; ++time) {
    auto held = co_await place.locked.lock();
    work_inside(place, held);
    ++place.halves_count;
    if (time == last_time) ::raise(SIGKILL);
    ++place.halves_count;
  }
}

task<> work_until(shared_place& place, bool& is_over) {
  while (!is_over) {
    auto held = co_await place.locked.lock();
    work_inside(place, held);
  }
}

int work_until_told(shared_place& place) {
  while (!place.is_over) {
    auto held = place.locked.lock_blocking();
    work_inside(place, held);
  }
  return 0;
}

}  // namespace

// The odd ones inside, and the others wherever they are then. Another process, its thread and an executor here go on.
TEST_CASE("processes that are killed inside, and at any time, leave a mutex that goes on, and each death is heard of") {
  constexpr int rounds_count = 16;
  const mapped_place mapped;
  auto& place = *mapped;
  child bystander{[&place] { return work_until_told(place); }};

  for (int round = 0; round < rounds_count; ++round) {
    const bool dies_inside = round % 2 == 1;
    child victim{[&place, round, dies_inside] {
      say('b');
      executor in_child;
      in_child.run(work_until_killed(place, dies_inside ? std::optional{round} : std::nullopt));
      return 0;
    }};
    REQUIRE(victim.hears() == 'b');
    executor loop;
    bool is_over = false;
    auto here = loop.start(work_until(place, is_over));
    const auto killed_at = std::chrono::steady_clock::now() + std::chrono::microseconds{100 * round};
    while (!dies_inside && std::chrono::steady_clock::now() < killed_at) loop.turn(/*may_park=*/false);
    if (!dies_inside) victim.signal(SIGKILL);
    std::thread waits{[&] {
      CHECK(victim.wait().killed_by == SIGKILL);
      loop.post([&] { is_over = true; });
    }};
    turn_until_done(loop, here);
    waits.join();
  }
  auto held = place.locked.lock_blocking();
  work_inside(place, held);
  held.unlock();
  place.is_over = true;

  CHECK(bystander.wait().exit_status == 0);
  CHECK(place.torn_count == 0);
  CHECK(place.deaths_count >= rounds_count / 2);
  MESSAGE(place.deaths_count, " of ", rounds_count, " were killed while they held it");
}

}  // namespace gyre
