// SPDX-License-Identifier: MIT
// Mutexes that one executor uses alone, and who comes then: on one thread step by step, and at random moments on
// several that are made to meet. In every order of turns: mutex_race_test.cpp; of accesses to memory:
// mutex_model_test.cpp.
#include <gyre/runtime/executor.hpp>
#include <gyre/runtime/task.hpp>
#include <gyre/runtime/this_task.hpp>
#include <gyre/sync/condition_variable.hpp>
#include <gyre/sync/detail/fence_everywhere.hpp>
#include <gyre/sync/mutex.hpp>

#include "../support/biased.hpp"
#include "../support/child.hpp"
#include "../support/forbidden.hpp"

#include <doctest/doctest.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <random>
#include <thread>
#include <utility>
#include <vector>

namespace gyre {
namespace {

using namespace test;
using sync::mutex;

const bool has_bias = sync::detail::can_fence_everywhere();

// A mutex that is biased to an executor.
struct biased_mutex {
  explicit biased_mutex(executor& loop) {
    bias(locked, loop);
    if (has_bias) CHECK(is_biased(locked));
    else MESSAGE("this kernel has no membarrier(2): the mutex stays an ordinary one");
  }
  mutex locked;
};

task<> lock_into(mutex& locked, mutex::guard& held) { held = co_await locked.lock(); }

// In a turn of the executor, as a coroutine does it.
void in_turn(executor& loop, const std::function<void()>& work) {
  loop.run([&]() -> task<> {
    work();
    co_return;
  });
}

bool is_free_for_a_thread(mutex& locked) { return static_cast<bool>(locked.try_lock()); }

}  // namespace

// First, as they fork: no other thread is there yet.
TEST_CASE("the child of a fork uses a mutex that is biased to an executor of its parent's, and so does the parent") {
  executor loop;
  biased_mutex free{loop};
  biased_mutex held{loop};
  mutex::guard guard;
  loop.run(lock_into(held.locked, guard));

  child another{[&] {
    executor its_own;
    its_own.run(lock_often(free.locked, uses_before_bias));
    return !is_biased(free.locked) && is_free_for_a_thread(free.locked) && !is_free_for_a_thread(held.locked) ? 0 : 1;
  }};
  CHECK(another.wait().exit_status == 0);

  in_turn(loop, [&] { guard.unlock(); });
  CHECK(is_biased(free.locked) == has_bias);
  CHECK(is_free_for_a_thread(free.locked));
  CHECK(is_free_for_a_thread(held.locked));
}

TEST_CASE("where the kernel has no membarrier, a mutex stays an ordinary one" * doctest::skip()) {
  executor loop;
  mutex locked;

  bias(locked, loop);

  CHECK(!is_biased(locked));
  CHECK(is_free_for_a_thread(locked));
}

TEST_CASE("a program that may not call membarrier is as right, and its mutexes are ordinary ones") {
  const int ended = where_calls_fail(ENOSYS, {SYS_membarrier}, [] {
    child again{[] {
      return ::execl("/proc/self/exe", "again", "--no-skip", "--test-case=where the kernel has no membarrier*",
                     nullptr);
    }};
    return again.wait().exit_status;
  });
  CHECK(ended == 0);
}

TEST_CASE("a mutex is biased to the executor that uses it again and again, and to nobody once a thread has come") {
  executor loop;
  mutex locked;
  loop.run(lock_often(locked, uses_before_bias - 1));
  CHECK(!is_biased(locked));
  loop.run(lock_often(locked, 1));
  CHECK(is_biased(locked) == has_bias);

  std::thread{[&] { CHECK(is_free_for_a_thread(locked)); }}.join();
  CHECK(!is_biased(locked));

  loop.run(lock_often(locked, 2 * uses_before_bias));
  CHECK(!is_biased(locked));
  CHECK(is_free_for_a_thread(locked));
}

TEST_CASE("another executor that comes takes the bias away, and the thread of the executor itself outside its turns") {
  executor loop;
  executor other;
  biased_mutex first{loop};
  biased_mutex second{loop};

  other.run(lock_often(first.locked, 2 * uses_before_bias));
  CHECK(!is_biased(first.locked));

  CHECK(is_free_for_a_thread(second.locked));
  CHECK(!is_biased(second.locked));
  loop.run(lock_often(first.locked, 1));
  loop.run(lock_often(second.locked, 1));
}

TEST_CASE("a mutex that two executors use by turns is biased to neither") {
  executor loop;
  executor other;
  mutex locked;
  for (int i = 0; i < 2 * uses_before_bias; ++i) {
    loop.run(lock_often(locked, 1));
    other.run(lock_often(locked, 1));
  }
  loop.run(lock_often(locked, 2 * uses_before_bias));

  CHECK(!is_biased(locked));
}

TEST_CASE("a mutex that threads use, or that processes share, is not biased") {
  executor loop;
  mutex shared{sync::futex_kind::process_shared};
  bias(shared, loop);
  CHECK(!is_biased(shared));

  mutex of_threads;
  for (int i = 0; i < 2 * uses_before_bias; ++i) const auto held = of_threads.lock_blocking();
  bias(of_threads, loop);
  CHECK(!is_biased(of_threads));
}

TEST_CASE("what a coroutine holds of a biased mutex nobody else gets, and all of them when it is unlocked") {
  executor loop;
  executor other;
  biased_mutex of_loop{loop};
  mutex& locked = of_loop.locked;
  mutex::guard held;
  mutex::guard elsewhere;
  loop.run(lock_into(locked, held));
  in_turn(loop, [&] { CHECK(!locked.try_lock()); });
  CHECK(is_biased(locked) == has_bias);

  std::thread{[&] { CHECK(!is_free_for_a_thread(locked)); }}.join();
  CHECK(!is_biased(locked));
  auto waiting = other.start(lock_into(locked, elsewhere));
  other.turn(/*may_park=*/false);
  CHECK(!elsewhere);

  in_turn(loop, [&] { held.unlock(); });
  while (!waiting.done()) other.turn(/*may_park=*/true);
  CHECK(static_cast<bool>(elsewhere));
  in_turn(other, [&] { elsewhere.unlock(); });
  CHECK(is_free_for_a_thread(locked));
}

TEST_CASE("a thread that blocks for a biased mutex gets it from the coroutine that holds it") {
  executor loop;
  biased_mutex of_loop{loop};
  mutex& locked = of_loop.locked;
  mutex::guard held;
  loop.run(lock_into(locked, held));
  bool is_unlocked = false;  // under the mutex

  std::thread blocked{[&] {
    const auto its = locked.lock_blocking();
    CHECK(is_unlocked);
  }};
  in_turn(loop, [&] {
    is_unlocked = true;
    held.unlock();
  });

  blocked.join();
  CHECK(is_free_for_a_thread(locked));
}

TEST_CASE(
    "coroutines of the executor that has the bias wait for each other in their order, and it has the bias again") {
  executor loop;
  biased_mutex of_loop{loop};
  mutex& locked = of_loop.locked;
  mutex::guard held;
  mutex::guard second;
  mutex::guard third;
  loop.run(lock_into(locked, held));
  auto of_second = loop.start(lock_into(locked, second));
  auto of_third = loop.start(lock_into(locked, third));
  loop.run_ready();
  CHECK(!second);
  CHECK(!is_biased(locked));

  in_turn(loop, [&] { held.unlock(); });
  loop.run_ready();
  CHECK(of_second.done());
  CHECK(!of_third.done());
  in_turn(loop, [&] { second.unlock(); });
  loop.run_ready();
  CHECK(of_third.done());
  in_turn(loop, [&] { third.unlock(); });

  CHECK(loop.statistics().sqes == 0);
  loop.run(lock_often(locked, 1));
  CHECK(is_biased(locked) == has_bias);
}

TEST_CASE("a wait for a condition gives up a biased mutex, and has it again") {
  executor loop;
  biased_mutex of_loop{loop};
  mutex& locked = of_loop.locked;
  sync::condition_variable changed;
  bool is_set = false;
  auto waiting = loop.start([](mutex& its, sync::condition_variable& told, const bool& set) -> task<> {
    auto held = co_await its.lock();
    co_await told.wait(held, [&set] { return set; });
  }(locked, changed, is_set));
  loop.run_ready();

  loop.run([&]() -> task<> {
    const auto held = co_await locked.lock();
    is_set = true;
    changed.notify_one();
  });
  loop.run_ready();

  CHECK(waiting.done());
  CHECK(is_free_for_a_thread(locked));
}

TEST_CASE("an executor that goes leaves a mutex that was biased to it as it was: free, for anybody") {
  std::optional<executor> loop{std::in_place};
  biased_mutex of_loop{*loop};
  loop.reset();

  executor other;
  other.run(lock_often(of_loop.locked, 1));

  CHECK(is_free_for_a_thread(of_loop.locked));
}

TEST_CASE("a sandbox that forbids membarrier later on makes who takes a bias away wait for a moment, and no more") {
  executor loop;
  biased_mutex of_loop{loop};
  CHECK(where_calls_fail(EPERM, {SYS_membarrier}, [&] { return is_free_for_a_thread(of_loop.locked); }));
  loop.run(lock_often(of_loop.locked, 1));
}

// ----------------------------------------------------------------------------------------- at random moments, threads

namespace {

// Counts up slowly, so that two that count at once lose something.
void count_up(std::uint64_t& counted) {
  const std::uint64_t before = counted;
  for (int round = 0; round < 8; ++round) std::atomic_signal_fence(std::memory_order_seq_cst);
  static_cast<volatile std::uint64_t&>(counted) = before + 1;
}

// Two meet at a mutex, each as often as it wants, and whoever is the last to use it destroys it.
struct meeting {
  mutex locked;
  std::uint64_t counted = 0;  // plain: ThreadSanitizer looks, too
  int left_count = 2;         // who is still to say that it will not come again
};

// Returns whether nobody else will come: then it is the caller's to destroy.
bool leave(meeting& left, mutex::guard held) {
  const bool is_last = --left.left_count == 0;
  held.unlock();
  return is_last;
}

task<> use_and_leave(std::unique_ptr<meeting>& at, int uses_count, bool yields, std::atomic<std::size_t>& gone_count) {
  meeting* const mine = at.get();
  for (int i = 0; i < uses_count; ++i) {
    const auto held = co_await mine->locked.lock();
    count_up(mine->counted);
    if (yields && i % 7 == 0) co_await this_task::yield();
  }
  if (leave(*mine, co_await mine->locked.lock())) at.reset();
  ++gone_count;
}

void use_and_leave_blocking(std::unique_ptr<meeting>& at, int uses_count, std::atomic<std::size_t>& gone_count) {
  meeting* const mine = at.get();
  for (int i = 0; i < uses_count; ++i) {
    const auto held = mine->locked.lock_blocking();
    count_up(mine->counted);
  }
  if (leave(*mine, mine->locked.lock_blocking())) at.reset();
  ++gone_count;
}

// The owner of the bias uses it all the while; the other comes somewhere in the middle of that.
template <class Other>
void meet_often(bool yields, Other use_as_another) {
  constexpr std::size_t rounds_count = 300;
  std::vector<std::unique_ptr<meeting>> rounds;
  for (std::size_t i = 0; i < rounds_count; ++i) rounds.push_back(std::make_unique<meeting>());
  std::atomic<std::size_t> begun_count = 0;
  std::atomic<std::size_t> gone_count = 0;

  std::thread other{[&] {
    std::minstd_rand chance{1};
    for (std::size_t i = 0; i < rounds_count; ++i) {
      while (begun_count <= i) std::this_thread::yield();
      for (auto spins = chance() % 300; spins > 0; --spins) std::atomic_signal_fence(std::memory_order_seq_cst);
      use_as_another(rounds[i], static_cast<int>(chance() % 4), gone_count);
    }
  }};
  executor loop;
  for (std::size_t i = 0; i < rounds_count; ++i) {
    bias(rounds[i]->locked, loop);
    ++begun_count;
    loop.run(use_and_leave(rounds[i], 100, yields, gone_count));
    while (gone_count < 2 * (i + 1)) std::this_thread::yield();
    CHECK(rounds[i] == nullptr);
  }
  other.join();
}

}  // namespace

// Each of them is a heap-use-after-free, or a race, where the last store of an unlock was not its last access.
TEST_CASE(
    "a thread that comes at any moment and the executor are never inside together, and the last one destroys it") {
  for (const bool yields : {false, true}) meet_often(yields, &use_and_leave_blocking);
}

TEST_CASE("an executor that comes at any moment and the one with the bias are never inside together") {
  for (const bool yields : {false, true}) {
    meet_often(yields, [](std::unique_ptr<meeting>& at, int uses_count, std::atomic<std::size_t>& gone_count) {
      executor other;
      other.run(use_and_leave(at, uses_count, /*yields=*/true, gone_count));
    });
  }
}

TEST_CASE("what is counted under a mutex while its bias is taken away comes out") {
  constexpr std::uint64_t uses_count = 200;
  for (int round = 0; round < 100; ++round) {
    executor loop;
    biased_mutex of_loop{loop};
    mutex& locked = of_loop.locked;
    std::uint64_t counted = 0;
    std::vector<std::thread> others;
    for (int i = 0; i < 2; ++i)
      others.emplace_back([&] {
        const auto held = locked.lock_blocking();
        count_up(counted);
      });

    loop.run([&]() -> task<> {
      for (std::uint64_t i = 0; i < uses_count; ++i) {
        const auto held = co_await locked.lock();
        count_up(counted);
      }
    });

    for (auto& each : others) each.join();
    CHECK(counted == uses_count + others.size());
  }
}

}  // namespace gyre
