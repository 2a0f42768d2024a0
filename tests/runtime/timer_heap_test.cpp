// SPDX-License-Identifier: MIT
// The timer heap beside a sorted reference: random arms, moves, disarms and expiries, from fixed seeds.
#include <gyre/runtime/detail/timer_heap.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <cstdint>
#include <map>
#include <random>
#include <vector>

namespace gyre::detail {
namespace {

constexpr timer_kind does_nothing{[](timer&) noexcept {}};

struct named_timer : timer {
  named_timer() noexcept : timer{does_nothing} {}
};

clock_ns earliest_of(const std::map<timer*, clock_ns>& reference) {
  clock_ns earliest = INT64_MAX;
  for (const auto& [each, due] : reference) earliest = std::min(earliest, due);
  return earliest;
}

}  // namespace

TEST_CASE("an empty heap has nothing that is due") {
  timer_heap heap;

  CHECK(heap.empty());
  CHECK(heap.pop_due(INT64_MAX) == nullptr);
}

TEST_CASE("timers come out in the order of their times, at their times") {
  timer_heap heap;
  named_timer first;
  named_timer second;
  heap.arm(second, 20);
  heap.arm(first, 10);

  CHECK(heap.earliest() == 10);
  CHECK(heap.pop_due(9) == nullptr);
  CHECK(heap.pop_due(10) == &first);
  CHECK(!first.armed());
  CHECK(heap.pop_due(19) == nullptr);
  CHECK(heap.pop_due(25) == &second);
  CHECK(heap.empty());
}

TEST_CASE("arming a timer that is armed moves it, and disarming one that is not does nothing") {
  timer_heap heap;
  named_timer moved;
  named_timer other;
  heap.arm(moved, 10);
  heap.arm(other, 20);

  heap.arm(moved, 30);
  CHECK(heap.size() == 2);
  CHECK(heap.pop_due(30) == &other);
  heap.disarm(other);
  heap.disarm(moved);
  heap.disarm(moved);

  CHECK(heap.empty());
  CHECK(!moved.armed());
}

TEST_CASE("the first lane takes who comes behind all others there, and nobody when it is empty") {
  timer_heap heap;
  named_timer first;
  named_timer second;
  named_timer hurried;
  CHECK(!heap.arm_in_first_lane(hurried, 10));
  heap.arm(first, 10);

  CHECK(!heap.arm_in_first_lane(hurried, 9));
  CHECK(!heap.arm_in_first_lane(hurried, INT64_MIN));  // as a time that cannot be counted comes out
  CHECK(!hurried.armed());
  CHECK(heap.arm_in_first_lane(hurried, 10));
  heap.arm(second, 9);

  CHECK(heap.size() == 3);
  CHECK(heap.pop_due(9) == &second);
  CHECK(heap.pop_due(10) == &first);
  CHECK(heap.pop_due(10) == &hurried);
  CHECK(heap.empty());
}

TEST_CASE("a timer says whether it was in the first lane when it leaves it, and leaves no other place") {
  timer_heap heap;
  named_timer in_first;
  named_timer in_second;
  heap.arm(in_first, 20);
  heap.arm(in_second, 10);

  CHECK(!in_second.leave_first_lane());
  CHECK(in_second.armed());
  CHECK(in_first.leave_first_lane());
  CHECK(!in_first.leave_first_lane());

  CHECK(heap.earliest() == 10);
  heap.disarm(in_second);
  CHECK(heap.empty());
  CHECK(heap.earliest() == INT64_MAX);
}

TEST_CASE("timers that come in the worst order, each due before all others, come out in the best") {
  timer_heap heap;
  std::vector<named_timer> timers(100'000);
  for (std::size_t i = 0; i < timers.size(); ++i) heap.arm(timers[i], static_cast<clock_ns>(timers.size() - i));

  bool in_order = true;
  for (std::size_t i = 1; i <= timers.size(); ++i)
    in_order = in_order && heap.pop_due(static_cast<clock_ns>(i)) == &timers[timers.size() - i];

  CHECK(in_order);
  CHECK(heap.empty());
}

TEST_CASE("whatever is armed, moved and disarmed, the heap agrees with a sorted reference") {
  for (unsigned seed = 1; seed <= 20; ++seed) {
    CAPTURE(seed);
    std::mt19937 random{seed};
    timer_heap heap;
    std::vector<named_timer> timers(200);
    std::map<timer*, clock_ns> reference;
    clock_ns now = 0;

    for (int step = 0; step < 5'000; ++step) {
      named_timer& one = timers[random() % timers.size()];
      switch (random() % 5) {
        case 0:
        case 1: {
          const clock_ns due = now + static_cast<clock_ns>(random() % 1000);
          heap.arm(one, due);
          reference[&one] = due;
          break;
        }
        case 2:
          heap.disarm(one);
          reference.erase(&one);
          break;
        case 3: {
          now += static_cast<clock_ns>(random() % 50);
          clock_ns last = 0;
          while (timer* const due = heap.pop_due(now)) {
            REQUIRE(reference.contains(due));
            REQUIRE(reference[due] <= now);
            REQUIRE(reference[due] >= last);
            REQUIRE(reference[due] == earliest_of(reference));
            last = reference[due];
            reference.erase(due);
          }
          break;
        }
        case 4: {
          const clock_ns due = now + static_cast<clock_ns>(random() % 1000);
          if (!one.armed() && heap.arm_in_first_lane(one, due)) reference[&one] = due;
          break;
        }
      }
      REQUIRE(heap.size() == reference.size());
      REQUIRE(one.armed() == reference.contains(&one));
      if (!reference.empty()) REQUIRE(heap.earliest() == earliest_of(reference));
    }
    for (auto& each : timers) heap.disarm(each);
    CHECK(heap.empty());
  }
}

}  // namespace gyre::detail
