// SPDX-License-Identifier: MIT
// Small programs on a mutex and a condition variable, in every order that their steps can come in: up to three
// executors and four tasks, a stop of one of them at any time, and another executor's turn also in the middle of a
// coroutine's, and between what a turn asks of the kernel and the kernel's taking it. Plain threads come in, too. The
// mutex is an ordinary one, is shared among processes, or is biased to the first executor when it begins.
#include <gyre/runtime/executor.hpp>
#include <gyre/runtime/fiber.hpp>
#include <gyre/runtime/this_task.hpp>
#include <gyre/sync/condition_variable.hpp>
#include <gyre/sync/mutex.hpp>

#include "../support/biased.hpp"
#include "../support/every_order.hpp"
#include "../support/outcome.hpp"
#include "../support/scripted_futexes.hpp"

#include <doctest/doctest.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

namespace gyre {
namespace {

using namespace test;
using ops::futex_kind;
using sync::condition_variable;
using sync::mutex;

// Three executors and the kernel between them. Where one enters, another may have had a turn just before.
struct three_executors {
  explicit three_executors(choices& by) : choose{by} {
    for (auto& each : all) each.script.on_enter = [this, &each] { let_another_turn(each); };
  }

  void let_another_turn(served_executor& running) {
    if (is_between_ || is_over_) return;
    for (std::size_t i = 0; i < all.size(); ++i) {
      served_executor& other = all[i];
      if (&other == &running || !other.loop.has_work() || !choose.flip()) continue;
      is_between_ = true;
      choose.note("(" + std::to_string(i) + ")");
      other.loop.turn(/*may_park=*/false);
      is_between_ = false;
    }
  }

  void turns(steps& next) {
    for (std::size_t i = 0; i < all.size(); ++i) next.turns(std::to_string(i), all[i].loop);
  }

  // Biased to the first from then on, where the kernel has what that needs.
  void use_alone(mutex& locked) {
    is_between_ = true;
    bias(locked, all[0].loop);
    is_between_ = false;
  }

  void finish() {
    is_over_ = true;
    for (int round = 0; round < 8; ++round)
      for (auto& each : all) each.loop.run_ready();
  }

  choices& choose;
  scripted_futexes kernel;
  std::array<served_executor, 3> all{served_executor{kernel}, served_executor{kernel}, served_executor{kernel}};

 private:
  bool is_between_ = false;
  bool is_over_ = false;
};

enum class sort { ordinary, shared, biased };

constexpr futex_kind kind_of(sort of) noexcept {
  return of == sort::shared ? futex_kind::process_shared : futex_kind::process_private;
}

struct shared_place {
  shared_place(sort its_sort, three_executors& users) : locked{kind_of(its_sort)}, changed{kind_of(its_sort)} {
    if (its_sort == sort::biased) users.use_alone(locked);
  }
  mutex locked;
  condition_variable changed;
  int inside_count = 0;
  int tokens_count = 0;
};

// Counts who is inside: more than one is what a mutex is there to prevent.
struct inside {
  explicit inside(shared_place& its_place) : place{its_place} { CHECK(++place.inside_count == 1); }
  ~inside() { --place.inside_count; }
  shared_place& place;
};

struct actor {
  std::size_t where;
  bool yields;      // while it holds the mutex
  int late_by = 0;  // turns of its executor, before it locks
};

// Where it stands among the steps of its turn, others may have one: before it locks, and before it unlocks.
task<> lock_and_leave(three_executors& three, const actor& who, shared_place& place, outcome& noted) {
  const stop_watch watch{noted};
  for (int i = 0; i < who.late_by; ++i) co_await this_task::yield();
  three.let_another_turn(three.all[who.where]);
  const auto held = co_await place.locked.lock();
  const inside counted{place};
  if (who.yields) co_await this_task::yield();
  three.let_another_turn(three.all[who.where]);
  noted.how = ended::with_value;
}

// Every task ends, but the one that is stopped; nobody is inside with another; and the mutex is free in the end.
std::size_t lock_in_every_order(const std::vector<actor>& actors, std::optional<std::size_t> stopped, sort its_sort) {
  return for_every_order([&](choices& choose) {
    CAPTURE(choose);
    three_executors three{choose};
    shared_place place{its_sort, three};
    std::vector<outcome> noted(actors.size());
    std::vector<std::unique_ptr<root_task<void>>> roots;
    for (std::size_t i = 0; i < actors.size(); ++i)
      roots.push_back(std::make_unique<root_task<void>>(three.all[actors[i].where].loop,
                                                        lock_and_leave(three, actors[i], place, noted[i])));
    steps next;
    three.turns(next);
    if (stopped) next.perhaps("stop", [&] { roots[*stopped]->cancel(); });
    next.take_all(choose);

    for (std::size_t i = 0; i < actors.size(); ++i) {
      CAPTURE(i);
      REQUIRE(roots[i]->done());
      if (i != stopped) CHECK(noted[i].how == ended::with_value);
    }
    CHECK(place.inside_count == 0);
    CHECK(static_cast<bool>(place.locked.try_lock()));
    three.finish();
    CHECK(three.kernel.sleepers_count() == 0);
  });
}

std::size_t lock_with_each_stopped(const std::vector<actor>& actors, sort its_sort) {
  std::size_t orders_count = lock_in_every_order(actors, std::nullopt, its_sort);
  for (std::size_t i = 0; i < actors.size(); ++i) orders_count += lock_in_every_order(actors, i, its_sort);
  return orders_count;
}

// Whoever is stopped in the wait has the mutex then.
task<> take_token(shared_place& place, outcome& noted) {
  const stop_watch watch{noted};
  auto held = co_await place.locked.lock();
  co_await place.changed.wait(held, [&place] {
    const inside counted{place};
    return place.tokens_count > 0;
  });
  const inside counted{place};
  --place.tokens_count;
  noted.how = ended::with_value;
}

task<> put_token(shared_place& place, bool to_all, bool while_locked) {
  auto held = co_await place.locked.lock();
  {
    const inside counted{place};
    ++place.tokens_count;
  }
  if (!while_locked) held.unlock();
  if (to_all) place.changed.notify_all();
  else place.changed.notify_one();
}

struct exchange {
  std::size_t first;
  std::size_t second;
  std::size_t giver;
  bool to_all;
  bool while_locked;
};

// One token for two who wait, of whom the first may be stopped: unless both were there for it, it is taken.
std::size_t notify_in_every_order(const exchange& how, bool stops, sort its_sort) {
  return for_every_order([&](choices& choose) {
    CAPTURE(choose);
    three_executors three{choose};
    shared_place place{its_sort, three};
    outcome first;
    outcome second;
    auto of_first = three.all[how.first].loop.start(take_token(place, first));
    auto of_second = three.all[how.second].loop.start(take_token(place, second));
    auto of_giver = three.all[how.giver].loop.start(put_token(place, how.to_all, how.while_locked));
    steps next;
    three.turns(next);
    if (stops) next.perhaps("stop", [&] { of_first.cancel(); });
    next.take_all(choose);

    REQUIRE(of_giver.done());
    const int taken_count = (first.how == ended::with_value ? 1 : 0) + (second.how == ended::with_value ? 1 : 0);
    CHECK(taken_count == 1);
    CHECK(place.tokens_count == 0);
    CHECK(static_cast<bool>(place.locked.try_lock()));
    of_first.cancel();
    of_second.cancel();
    three.finish();
    CHECK(of_first.done());
    CHECK(of_second.done());
    CHECK(three.kernel.sleepers_count() == 0);
  });
}

// lock_blocking() and unlock() of a plain thread: its code, on a fiber that stands for it on the third executor. What
// it asks of the kernel is a wait and a wake on the word, as a thread does.
void lock_and_leave_as_thread(three_executors& three, shared_place& place, outcome& noted) {
  static_assert(std::is_standard_layout_v<mutex> && sizeof(mutex) == sizeof(sync::detail::mutex_word));
  auto& word = reinterpret_cast<sync::detail::mutex_word&>(place.locked);
  constexpr auto thread = sync::detail::mutex_word::a_thread;
  auto how = sync::detail::claimed::cleanly;
  const auto sleep = [&](std::uint32_t said) { return fiber::await(ops::futex_wait(word.value, said, word.kind())); };
  word.claim_asleep(
      thread, [&](std::uint32_t& seen, std::uint32_t desired) { return try_claim(word, seen, desired, how); }, sleep);
  {
    const inside counted{place};
    three.let_another_turn(three.all[2]);
  }
  if (!word.try_unlock_at_once(thread)) sync::detail::give_up_and_wake(word);
  noted.how = ended::with_value;
}

// Each of them, and the thread as often as it is said, comes in and goes out; but the actor that is stopped.
std::size_t lock_with_threads(const std::vector<actor>& actors, std::size_t threads_count,
                              std::optional<std::size_t> stopped, sort its_sort) {
  return for_every_order([&](choices& choose) {
    CAPTURE(choose);
    three_executors three{choose};
    shared_place place{its_sort, three};
    std::vector<outcome> noted(actors.size() + threads_count);
    std::vector<std::unique_ptr<root_task<void>>> roots;
    for (std::size_t i = 0; i < actors.size(); ++i)
      roots.push_back(std::make_unique<root_task<void>>(three.all[actors[i].where].loop,
                                                        lock_and_leave(three, actors[i], place, noted[i])));
    for (std::size_t i = actors.size(); i < noted.size(); ++i)
      roots.push_back(std::make_unique<root_task<void>>(
          three.all[2].loop, on_fiber([&, i] { lock_and_leave_as_thread(three, place, noted[i]); })));
    steps next;
    three.turns(next);
    if (stopped) next.perhaps("stop", [&] { roots[*stopped]->cancel(); });
    next.take_all(choose);

    for (std::size_t i = 0; i < roots.size(); ++i) {
      CAPTURE(i);
      REQUIRE(roots[i]->done());
      if (i != stopped) CHECK(noted[i].how == ended::with_value);
    }
    CHECK(place.inside_count == 0);
    CHECK(static_cast<bool>(place.locked.try_lock()));
    three.finish();
    CHECK(three.kernel.sleepers_count() == 0);
  });
}

constexpr sort sorts[] = {sort::ordinary, sort::shared, sort::biased};

}  // namespace

TEST_CASE("two executors lock in every order, and each comes in and goes out") {
  std::size_t orders_count = 0;
  for (const auto each : sorts)
    for (const bool yields : {false, true}) orders_count += lock_with_each_stopped({{0, yields}, {1, yields}}, each);
  MESSAGE(orders_count, " orders");
}

TEST_CASE("three and four tasks on two executors lock in every order, whoever is stopped") {
  std::size_t orders_count = 0;
  for (const auto each : sorts) {
    orders_count += lock_with_each_stopped({{0, true}, {0, true}, {1, true}}, each);
    orders_count += lock_with_each_stopped({{0, true}, {0, true}, {1, false}, {1, false}}, each);
  }
  MESSAGE(orders_count, " orders");
}

TEST_CASE("three executors lock in every order, whoever is stopped") {
  std::size_t orders_count = 0;
  for (const auto each : sorts) {
    orders_count += lock_with_each_stopped({{0, true}, {1, true}, {2, true}}, each);
    orders_count += lock_in_every_order({{0, true}, {1, false}, {1, true}, {2, false}}, std::nullopt, each);
    orders_count += lock_in_every_order({{0, true}, {1, false}, {1, true, 2}, {2, false}}, std::nullopt, each);
  }
  MESSAGE(orders_count, " orders");
}

TEST_CASE("plain threads and tasks lock in every order, whoever is stopped") {
  std::size_t orders_count = 0;
  for (const auto each : sorts) {
    for (const std::optional<std::size_t> stopped : {std::optional<std::size_t>{}, std::optional<std::size_t>{0}}) {
      orders_count += lock_with_threads({{0, true}}, 1, stopped, each);
      orders_count += lock_with_threads({{0, false}, {0, true}}, 1, stopped, each);
      orders_count += lock_with_threads({{0, true}, {1, false}}, 1, stopped, each);
      orders_count += lock_with_threads({{0, true}}, 2, stopped, each);
    }
  }
  MESSAGE(orders_count, " orders");
}

TEST_CASE("a token is taken in every order, whoever waits where, and whoever is stopped") {
  std::size_t orders_count = 0;
  for (const auto each : sorts) {
    for (const bool to_all : {false, true}) {
      for (const bool while_locked : {false, true}) {
        for (const bool stops : {false, true}) {
          orders_count += notify_in_every_order({0, 0, 1, to_all, while_locked}, stops, each);
          orders_count += notify_in_every_order({0, 1, 0, to_all, while_locked}, stops, each);
          orders_count += notify_in_every_order({0, 1, 1, to_all, while_locked}, stops, each);
        }
      }
      orders_count += notify_in_every_order({0, 1, 2, to_all, /*while_locked=*/false}, /*stops=*/true, each);
    }
  }
  MESSAGE(orders_count, " orders");
}

}  // namespace gyre
