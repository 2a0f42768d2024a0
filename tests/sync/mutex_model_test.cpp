// SPDX-License-Identifier: MIT
// A mutex that is biased to an executor, and others who come: the code of sync/detail/mutex_word.hpp in every order of
// its steps, x86's store buffers among them. And mistakes that would have two inside, shut somebody out for ever, or
// touch a mutex that is gone: a checker that has never found one says nothing.
#include <gyre/sync/detail/mutex_word.hpp>

#include "../support/model.hpp"

#include <doctest/doctest.h>

#include <atomic>
#include <cstdint>
#include <functional>
#include <string>
#include <utility>
#include <vector>

namespace gyre::sync::detail {
namespace {

using test::model::world;

enum class mistake {
  none,
  no_fence,           // on every thread, when the bias is taken away
  no_second_look,     // of the executor, after its store
  leaving_is_inside,  // for who takes the bias away
  leaving_is_outside
};

// A machine whose memory is the model's, or one with a mistake in it.
struct modelled_memory {
  template <class T>
  class atomic : public test::model::atomic<T> {
   public:
    using test::model::atomic<T>::atomic;
    T load(std::memory_order order) const {
      if constexpr (sizeof(T) != sizeof latest) return test::model::atomic<T>::load(order);
      else return std::exchange(repeats_itself, false) ? latest : (latest = test::model::atomic<T>::load(order));
    }
    void store(T stored, std::memory_order) {
      world::current->plain_store(this->cell(), test::model::value_of(stored), /*is_step=*/true);
    }
  };
  template <class T>
  using plain = test::model::plain<T>;

  static constexpr std::uint16_t uses_before_bias = 0;  // it is biased with the second use in a row

  static bool can_fence_everywhere() { return true; }
  static void fence_everywhere() {
    if (made != mistake::no_fence) world::current->fence_everywhere();
  }
  static void keep_order() { repeats_itself = made == mistake::no_second_look; }

  template <class T, class Done>
  static T wait_until(const atomic<T>& word, Done done) {
    const bool looks_once =
        sizeof(T) == 1 && (made == mistake::leaving_is_inside || made == mistake::leaving_is_outside);
    const auto seen = static_cast<T>(world::current->load_when(
        word.cell(), [&](std::uint64_t value) { return looks_once || done(static_cast<T>(value)); }));
    if (!looks_once || done(seen)) return seen;
    return static_cast<T>(made == mistake::leaving_is_inside);
  }

  static inline mistake made = mistake::none;
  static inline std::uint32_t latest = 0;  // that a word said
  static inline bool repeats_itself = false;
};

using modelled_word = basic_mutex_word<modelled_memory>;

struct user {
  std::uint32_t tag;
  std::uint64_t uses_count;  // 0: takes the bias away, and no more
  bool has_another = false;  // coroutine, that has to wait while this one holds the mutex
};

constexpr std::uint32_t a_thread = modelled_word::a_thread;
constexpr std::uint32_t an_executor = 2;
constexpr std::uint32_t another_executor = 3;

enum class at_first { biased, ordinary };  // to an_executor, and out

// Each uses the mutex so often, and whoever uses it last destroys it.
class scene {
 public:
  scene(const std::vector<user>& users, at_first says, mistake made)
      : users_{users},
        word_{.value = word_that_says(says == at_first::biased ? an_executor | modelled_word::biased : 0)} {
    modelled_memory::made = made;
    // Who only takes the bias away says to nobody that it has: then the mutex stays.
    for (const user& each : users) all_count_ += each.uses_count > 0 ? each.uses_count : 1'000;
  }

  world::outcome check() {
    std::vector<std::function<void()>> actors;
    for (const user& each : users_) actors.emplace_back([this, each] { use(each); });
    return world_.check(actors);
  }

 private:
  static constexpr auto relaxed = std::memory_order_relaxed;

  static modelled_memory::atomic<std::uint32_t> word_that_says(std::uint32_t value) {
    return modelled_memory::atomic<std::uint32_t>{value};
  }

  void use(const user& me) {
    modelled_memory::repeats_itself = false;
    if (me.uses_count == 0) static_cast<void>(word_.without_bias(word_.value.load(relaxed), me.tag));
    for (std::uint64_t i = world_.remembered(); i < me.uses_count; world_.begin_again(++i)) {
      lock(me.tag);
      if (holder_ != 0) world_.fail("two are inside");
      holder_ = me.tag;
      const std::uint64_t count = used_count_.load(relaxed) + 1;
      used_count_.store(count, relaxed);
      holder_ = 0;
      if (me.has_another) let_another_wait(me.tag);
      unlock(me.tag);
      if (count == all_count_) world_.end_memory();
    }
  }

  // claim_blocking(), whose steps lock_queue::contend() has, too. Who sleeps is woken by any change.
  void lock(std::uint32_t tag) {
    if (word_.try_lock_at_once(tag)) return;
    word_.claim_asleep(
        tag,
        [this](std::uint32_t& seen, std::uint32_t desired) {
          return word_.value.compare_exchange_strong(seen, desired, relaxed, relaxed);
        },
        [this, tag](std::uint32_t said) {
          if (modelled_word::owner(said) == tag) world_.fail("who does not hold it is told that it does");
          world_.load_when(word_.value.cell(), [said](std::uint64_t says) { return says != said; });
          return false;
        });
  }

  // lock_queue::enter(): the word says so, or it was held by somebody else. That one does not get it here.
  void let_another_wait(std::uint32_t tag) {
    std::uint32_t seen = word_.without_bias(word_.value.load(relaxed), tag);
    for (;;) {
      if (modelled_word::owner(seen) != tag) return world_.fail("who holds it is told that it does not");
      if (word_.value.compare_exchange_strong(seen, seen | modelled_word::local, relaxed, relaxed)) return;
    }
  }

  void unlock(std::uint32_t tag) {
    if (word_.try_unlock_at_once(tag)) return;
    if (modelled_word::owner(word_.value.load(relaxed)) != tag) world_.fail("who unlocks it does not hold it");
    word_.value.exchange(0, relaxed);
  }

  world world_;
  std::vector<user> users_;
  modelled_word word_;
  test::model::plain<std::uint32_t> holder_;
  test::model::atomic<std::uint64_t> used_count_{0};
  std::uint64_t all_count_ = 0;
};

world::outcome check(const std::vector<user>& users, at_first says = at_first::biased, mistake made = mistake::none) {
  return scene{users, says, made}.check();
}

void check_that_all_is_well(const std::vector<user>& users, at_first says = at_first::biased) {
  const auto found = check(users, says);
  CHECK(found.failure == "");
  CHECK(found.states_count > 1'000);
  MESSAGE(found.states_count, " states");
}

}  // namespace

TEST_CASE("an executor and a thread that takes its bias away are never inside together, and nobody waits for ever") {
  check_that_all_is_well({{an_executor, 2}, {a_thread, 2}});
}

TEST_CASE("an executor whose own coroutines wait, too, and a thread that takes its bias away") {
  check_that_all_is_well({{an_executor, 2, /*has_another=*/true}, {a_thread, 1}});
}

TEST_CASE("an executor and another one: whoever uses it twice in a row has the bias, until the other one comes") {
  check_that_all_is_well({{an_executor, 3}, {another_executor, 1}}, at_first::ordinary);
}

TEST_CASE("an executor, and two that come to take its bias away") {
  check_that_all_is_well({{an_executor, 2}, {another_executor, 0}, {a_thread, 1}});
}

TEST_CASE("the checker finds two inside without the fence on every thread") {
  CHECK(check({{an_executor, 1}, {a_thread, 1}}, at_first::biased, mistake::no_fence).failure == "two are inside");
}

TEST_CASE("the checker finds what goes wrong without the executor's second look") {
  CHECK(check({{an_executor, 1}, {a_thread, 1}}, at_first::biased, mistake::no_second_look).failure != "");
}

TEST_CASE(
    "the checker finds what goes wrong when an executor that leaves is taken for one inside, or for one outside") {
  CHECK(check({{an_executor, 1}, {a_thread, 1}}, at_first::biased, mistake::leaving_is_inside).failure ==
        "actors are left, and none can do a step");
  CHECK(check({{an_executor, 1}, {a_thread, 1}}, at_first::biased, mistake::leaving_is_outside).failure != "");
}

}  // namespace gyre::sync::detail
