// SPDX-License-Identifier: MIT
// How threads wake an executor: the code of runtime/detail/inbox.hpp in every order of its steps, x86's store buffers
// among them; beside it the executor's sleep, and the kernel. And mistakes that would lose a wake: a checker that has
// never found one says nothing.
#include <gyre/runtime/detail/inbox.hpp>

#include "../support/model.hpp"

#include <doctest/doctest.h>

#include <array>
#include <atomic>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace gyre::detail {
namespace {

using test::model::world;

enum class mistake {
  none,
  no_fence,                // between "completions signal the eventfd" and the look
  look_comes_first,        // and then it sleeps
  parked_by_a_store,       // as good as a lock less in front of an instruction
  nobody_waits_at_the_end  // for posters that are still in post()
};

// A machine whose memory is the model's. With a mistake in it, the one modification that parks is a load and a store.
struct modelled_memory {
  template <class T>
  class atomic : public test::model::atomic<T> {
   public:
    using test::model::atomic<T>::atomic;
    void fetch_or(T bits, std::memory_order order) {
      if (!parks_by_a_store) return test::model::atomic<T>::fetch_or(bits, order);
      this->store(this->load(order) | bits, order);
    }
  };

  template <class T, class Done>
  static void wait_until(const atomic<T>& word, Done done) {
    world::current->wait_until(word.cell(), done);
  }

  static inline bool parks_by_a_store = false;
};

struct letter {
  test::model::plain<letter*> next;
};

// An executor that takes what posters and the kernel have for it, sleeps in between, and goes when it has everything.
class scene {
 public:
  scene(int posters_count, bool kernel_has_something, mistake made)
      : letters_(static_cast<std::size_t>(posters_count)), kernel_has_something_{kernel_has_something}, made_{made} {
    modelled_memory::parks_by_a_store = made == mistake::parked_by_a_store;
  }

  world::outcome check() {
    std::vector<std::function<void()>> actors{[this] { run_executor(); }};
    for (letter& each : letters_) actors.emplace_back([this, &each] { post(each); });
    if (kernel_has_something_) actors.emplace_back([this] { complete(); });
    return world_.check(actors);
  }

 private:
  using flag = test::model::atomic<std::uint64_t>;
  static constexpr auto relaxed = std::memory_order_relaxed;

  void post(letter& mine) {
    inbox_.post(mine, [this] { event_fd_.fetch_add(poster_wrote, relaxed); });
  }

  // io_uring: __io_req_task_work_add() sets the flag, and then looks whether it is to signal.
  void complete() {
    task_work_.exchange(1, relaxed);
    if (notifies_.load(relaxed) == 1) event_fd_.fetch_add(kernel_wrote, relaxed);
    kernel_is_done_.exchange(1, relaxed);
  }

  // executor::end_turn(), parker::flush_and_park(), executor::drain().
  void run_executor() {
    const std::uint64_t all = letters_.size() + (kernel_has_something_ ? 1 : 0);
    progress at = progress::of(world_.remembered());
    for (;;) {
      if (kernel_has_something_) at.taken_count += task_work_.exchange(0, relaxed);  // io_uring_enter(2)
      for (letter* each = inbox_.take_all(); each != nullptr; each = each->next) ++at.taken_count;
      if (at.taken_count == all) break;
      at.unwoken_sleeps_count += 1 - static_cast<std::int64_t>(sleep());
      if (at.unwoken_sleeps_count < 0) world_.fail("a sleep was ended by more than one write");
      world_.begin_again(at.as_value());
    }
    if (made_ != mistake::nobody_waits_at_the_end) inbox_.wait_for_posters();
    if (kernel_has_something_) world_.wait_until(kernel_is_done_.cell(), [](std::uint64_t done) { return done == 1; });
    world_.end_memory();
  }

  // parker::sleep_in_eventfd(), line by line. Returns how many posters have written.
  std::uint64_t sleep() {
    const bool looked = made_ == mistake::look_comes_first && work_is_visible();
    inbox_.begin_sleep();
    notifies_.store(1, relaxed);
    if (made_ != mistake::no_fence) world_.fence();
    std::uint64_t taken = 0;
    if (made_ == mistake::look_comes_first ? !looked : !work_is_visible()) taken = read_event_fd();
    inbox_.end_sleep();
    notifies_.store(0, relaxed);
    return taken / poster_wrote;
  }

  bool work_is_visible() { return task_work_.load(relaxed) != 0 || !inbox_.empty(); }

  // read(2): waits until there is something, and takes it.
  std::uint64_t read_event_fd() {
    std::uint64_t taken = 0;
    world_.wait_until(event_fd_.cell(), [](std::uint64_t signals) { return signals > 0; });
    taken = event_fd_.exchange(0, relaxed);
    return taken;
  }

  // What an executor knows between two sleeps.
  struct progress {
    static progress of(std::uint64_t value) { return {value % 256, static_cast<std::int64_t>(value / 256)}; }
    [[nodiscard]] std::uint64_t as_value() const {
      return taken_count + static_cast<std::uint64_t>(unwoken_sleeps_count) * 256;
    }
    std::uint64_t taken_count;
    std::int64_t unwoken_sleeps_count;  // that no poster's write has ended
  };

  static constexpr std::uint64_t kernel_wrote = 1;
  static constexpr std::uint64_t poster_wrote = 16;

  world world_;
  basic_inbox<letter, modelled_memory> inbox_;
  std::vector<letter> letters_;
  flag event_fd_{0};
  flag notifies_{0};   // completions signal the eventfd
  flag task_work_{0};  // IORING_SQ_TASKRUN
  flag kernel_is_done_{0};
  bool kernel_has_something_;
  mistake made_;
};

world::outcome check(int posters_count, bool kernel_has_something, mistake made = mistake::none) {
  return scene{posters_count, kernel_has_something, made}.check();
}

}  // namespace

TEST_CASE(
    "two posters and an executor: in every order all is taken, one write ends a sleep, and nobody is left behind") {
  const auto found = check(2, /*kernel_has_something=*/false);

  CHECK(found.failure == "");
  CHECK(found.states_count > 1'000);
  MESSAGE(found.states_count, " states");
}

TEST_CASE("a poster, the kernel and an executor: in every order the sleep ends") {
  const auto found = check(1, /*kernel_has_something=*/true);

  CHECK(found.failure == "");
  CHECK(found.states_count > 1'000);
  MESSAGE(found.states_count, " states");
}

TEST_CASE("the checker finds the wake that is lost without the fence") {
  CHECK(check(0, /*kernel_has_something=*/true, mistake::no_fence).failure ==
        "actors are left, and none can do a step");
}

TEST_CASE("the checker finds the wakes that are lost when the executor looks before it says that it is parked") {
  CHECK(check(1, false, mistake::look_comes_first).failure == "actors are left, and none can do a step");
  CHECK(check(0, true, mistake::look_comes_first).failure == "actors are left, and none can do a step");
}

TEST_CASE("the checker finds what goes wrong when the word is not modified at once") {
  CHECK(check(1, false, mistake::parked_by_a_store).failure != "");
}

TEST_CASE("the checker finds the poster that is still at the eventfd of an executor that has gone") {
  CHECK(check(1, false, mistake::nobody_waits_at_the_end).failure == "an actor touches what is gone");
}

}  // namespace gyre::detail
