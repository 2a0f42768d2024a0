// SPDX-License-Identifier: MIT
// The timers beside a sorted reference: random arms, moves, disarms and expiries, from fixed seeds, near and far, on
// clocks that go on and that are set back.
#include <gyre/runtime/detail/timer_heap.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <iterator>
#include <map>
#include <random>
#include <set>
#include <utility>
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

TEST_CASE("timers in another order than that of their times are not sound, in lanes") {
  timer_heap heap;
  std::array<named_timer, 3> timers;
  for (std::size_t i = 0; i < timers.size(); ++i) heap.arm(timers[i], static_cast<clock_ns>(10 * i));
  CHECK(heap.is_sound(10));

  timers[1].would_be_due(100);
  CHECK(!heap.is_sound(10));
  timers[1].would_be_due(10);

  CHECK(heap.is_sound(10));
  for (auto& each : timers) heap.disarm(each);
  CHECK(heap.is_sound(10));
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

TEST_CASE("whatever times there are, from now to the end of time, they come out in their order") {
  timer_heap heap;
  std::vector<clock_ns> times{INT64_MIN, INT64_MIN + 1, -1, 0, 1, INT64_MAX - 1, INT64_MAX};
  for (int bit = 1; bit < 63; ++bit)
    for (const clock_ns around : {-1, 0, 1}) times.push_back((clock_ns{1} << bit) + around);
  std::vector<named_timer> timers(times.size());
  std::shuffle(times.begin(), times.end(), std::mt19937{1});
  for (std::size_t i = 0; i < times.size(); ++i) heap.arm(timers[i], times[i]);

  std::sort(times.begin(), times.end());

  for (const clock_ns each : times) {
    CAPTURE(each);
    CHECK(heap.earliest() == each);
    if (each > INT64_MIN) CHECK(heap.pop_due(each - 1) == nullptr);
    const timer* const due = heap.pop_due(each);
    REQUIRE(due != nullptr);
    CHECK(due->due() == each);
  }
  CHECK(heap.empty());
  CHECK(heap.pop_due(INT64_MAX) == nullptr);
}

TEST_CASE("of timers that are due at the same time, the one that was armed first comes out first") {
  constexpr clock_ns hour = 3'600'000'000'000;
  for (unsigned seed = 1; seed <= 20; ++seed) {
    CAPTURE(seed);
    std::mt19937 random{seed};
    timer_heap heap;
    heap.reach(0);
    std::vector<named_timer> timers(2000);
    std::map<clock_ns, std::vector<timer*>> expected;
    for (named_timer& each : timers) {
      const clock_ns due = static_cast<clock_ns>(random() % 20) * hour / (random() % 2 == 0 ? 1 : 1'000'000);
      heap.arm(each, due);
      expected[due].push_back(&each);
    }

    bool in_order = true;
    for (const auto& [due, at_that_time] : expected)
      for (const timer* const each : at_that_time) in_order = in_order && heap.pop_due(due) == each;

    CHECK(in_order);
    CHECK(heap.empty());
  }
}

TEST_CASE(
    "a clock that is set back is followed: nothing is due too early, and what is armed from there on comes first") {
  constexpr clock_ns hour = 3'600'000'000'000;
  timer_heap heap;
  heap.reach(0);
  std::vector<named_timer> early(100);
  std::vector<named_timer> late(100);
  for (std::size_t i = 0; i < late.size(); ++i) heap.arm(late[i], 3 * hour - static_cast<clock_ns>(i));
  CHECK(heap.pop_due(2 * hour) == nullptr);
  heap.reach(2 * hour);

  for (std::size_t i = 0; i < early.size(); ++i) heap.arm(early[i], hour - static_cast<clock_ns>(i) * 1'000'000);
  CHECK(heap.pop_due(hour / 2) == nullptr);

  for (std::size_t i = early.size(); i-- > 0;) CHECK(heap.pop_due(hour) == &early[i]);
  CHECK(heap.pop_due(2 * hour) == nullptr);
  for (std::size_t i = late.size(); i-- > 0;) CHECK(heap.pop_due(3 * hour) == &late[i]);
  CHECK(heap.empty());
}

TEST_CASE("the earliest time is exact where few timers are, whoever was taken out") {
  constexpr clock_ns second = 1'000'000'000;
  timer_heap heap;
  heap.reach(0);
  std::vector<named_timer> timers(20);
  for (std::size_t i = timers.size(); i-- > 0;) heap.arm(timers[i], 30 * second + static_cast<clock_ns>(i));

  for (std::size_t i = 0; i + 1 < timers.size(); ++i) {
    heap.disarm(timers[i]);
    CHECK(heap.earliest() == timers[i + 1].due());
  }
  heap.disarm(timers.back());

  CHECK(heap.empty());
  CHECK(heap.earliest() == INT64_MAX);
}

TEST_CASE("where many timers are, who sleeps until the earliest time of one that was taken out sleeps on, exactly") {
  constexpr clock_ns second = 1'000'000'000;
  timer_heap heap;
  heap.reach(0);
  std::vector<named_timer> timers(10'000);
  for (std::size_t i = timers.size(); i-- > 0;) heap.arm(timers[i], 30 * second + static_cast<clock_ns>(i));

  for (std::size_t i = 0; i < 4000; ++i) heap.disarm(timers[i]);
  const clock_ns first_wake = heap.earliest();
  CHECK(first_wake <= timers[4000].due());
  CHECK(heap.pop_due(first_wake) == nullptr);

  CHECK(heap.earliest() == timers[4000].due());
  CHECK(heap.pop_due(timers[4000].due()) == &timers[4000]);
}

TEST_CASE("the last of those that come by a time is known where few are, wherever they lie") {
  constexpr clock_ns second = 1'000'000'000;
  for (const clock_ns begin : {second / 1000, second, 100 * second}) {
    CAPTURE(begin);
    timer_heap heap;
    heap.reach(0);
    std::vector<named_timer> timers(20);
    for (std::size_t i = timers.size(); i-- > 0;) heap.arm(timers[i], begin + static_cast<clock_ns>(i) * 10);

    CHECK(heap.last_due_by(begin) == begin);
    CHECK(heap.last_due_by(begin + 9) == begin);
    CHECK(heap.last_due_by(begin + 155) == begin + 150);
    CHECK(heap.last_due_by(begin + 1000) == begin + 190);
    for (named_timer& each : timers) heap.disarm(each);
  }
}

TEST_CASE("timers that are armed and taken out for ever leave nothing behind that the others would see") {
  constexpr clock_ns second = 1'000'000'000;
  timer_heap heap;
  heap.reach(0);
  std::vector<named_timer> stay(100);
  std::vector<named_timer> go(100);
  for (std::size_t i = stay.size(); i-- > 0;) heap.arm(stay[i], 10 * second + static_cast<clock_ns>(i));

  for (std::size_t round = 0; round < 1000; ++round)
    for (std::size_t i = go.size(); i-- > 0;) heap.arm(go[i], static_cast<clock_ns>(round % 20 * i) * second / 100);
  for (named_timer& each : go) heap.disarm(each);

  std::size_t visited_count = 0;
  heap.for_each([&](const timer&) { ++visited_count; });
  CHECK(visited_count == stay.size());
  CHECK(heap.size() == stay.size());
  for (named_timer& each : stay) CHECK(heap.pop_due(11 * second) == &each);
  CHECK(heap.empty());
}

namespace {

// A time as programs have them: from nanoseconds to centuries, most near, some past, a few without end.
clock_ns some_time(std::mt19937_64& random, clock_ns now) {
  switch (random() % 16) {
    case 0:
      return random() % 2 == 0 ? INT64_MAX : INT64_MIN;
    case 1:
      return now - static_cast<clock_ns>(random() % 1'000'000'000'000);
    default:
      return now + static_cast<clock_ns>(random() >> (4 + random() % 60));
  }
}

}  // namespace

TEST_CASE("near and far, with a clock that jumps forward and back, the timers agree with a sorted reference") {
  for (unsigned seed = 1; seed <= 40; ++seed) {
    CAPTURE(seed);
    std::mt19937_64 random{seed};
    timer_heap heap;
    std::vector<named_timer> timers(seed % 2 == 0 ? 50 : 2000);
    std::set<std::pair<clock_ns, timer*>> reference;
    clock_ns now = 1'000'000'000'000'000;

    for (int step = 0; step < 10'000; ++step) {
      named_timer& one = timers[random() % timers.size()];
      switch (random() % 8) {
        case 0:
          if (one.armed()) reference.erase({one.due(), &one});
          heap.disarm(one);
          break;
        case 1:
          now += static_cast<clock_ns>(random() >> (20 + random() % 40));
          break;
        case 2:
          if (random() % 32 == 0) now -= static_cast<clock_ns>(random() % 100'000'000'000);
          heap.reach(now);
          break;
        default: {
          if (one.armed()) reference.erase({one.due(), &one});
          const clock_ns due = some_time(random, now);
          heap.arm(one, due);
          reference.insert({due, &one});
        }
      }
      if (random() % 4 == 0) {
        while (timer* const due = heap.pop_due(now)) {
          REQUIRE(due->due() == reference.begin()->first);
          REQUIRE(reference.erase({due->due(), due}) == 1);
        }
        REQUIRE((reference.empty() || reference.begin()->first > now));
        REQUIRE((heap.empty() || heap.earliest() > now));
      }
      REQUIRE(heap.size() == reference.size());
      const clock_ns earliest = heap.earliest();
      REQUIRE(earliest <= (reference.empty() ? INT64_MAX : reference.begin()->first));
      const clock_ns limit = earliest < INT64_MAX - 1000 ? earliest + 1000 : INT64_MAX;
      const auto beyond = reference.lower_bound({limit, nullptr});
      const clock_ns last = beyond == reference.begin() ? earliest : std::prev(beyond)->first;
      REQUIRE(heap.last_due_by(limit) >= last);
      REQUIRE(heap.last_due_by(limit) <= limit);
    }

    // Who sleeps from one earliest time to the next comes to all of them, and seldom in vain.
    int in_vain = 0;
    for (; !heap.empty(); now = std::max(now, heap.earliest())) {
      timer* const due = heap.pop_due(now);
      if (due == nullptr && ++in_vain > 2000) break;
      if (due != nullptr) REQUIRE(reference.erase({due->due(), due}) == 1);
    }
    CHECK(in_vain <= 600);
    CHECK(reference.empty());
  }
}

}  // namespace gyre::detail
