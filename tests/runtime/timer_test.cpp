// SPDX-License-Identifier: MIT
// Sleeps, and how long an executor sleeps for them: on the scripted ring's clock.
#include <gyre/runtime/as_result.hpp>
#include <gyre/runtime/boot_clock.hpp>
#include <gyre/runtime/deadline.hpp>
#include <gyre/runtime/ops/misc.hpp>
#include <gyre/runtime/timer.hpp>

#include "../support/outcome.hpp"
#include "../support/scripted.hpp"

#include <doctest/doctest.h>
#include <liburing.h>
#include <sys/prctl.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <memory>
#include <system_error>
#include <vector>

namespace gyre {
namespace {

using namespace std::chrono_literals;
using namespace test;

task<> sleep_and_note(std::chrono::nanoseconds duration, int name, std::vector<int>& woken) {
  co_await sleep_for(duration);
  woken.push_back(name);
}

task<> sleep_observed(std::chrono::nanoseconds duration, outcome& noted) {
  co_await observe(sleep_for(duration), noted);
}

// Turns until every root has ended; the clock jumps to the next timeout whenever the executor would sleep.
void turn_with_jumps(scripted_executor& on, std::initializer_list<const root_task<void>*> roots) {
  on.script.on_sleep = [&] { on.script.advance_to_next_timeout(); };
  for (const auto* each : roots)
    while (!each->done()) on.loop.turn(/*may_park=*/true);
}

}  // namespace

TEST_CASE("a sleep ends when its time has come, and not before") {
  scripted_executor on;
  std::vector<int> woken;
  auto root = on.loop.start(sleep_and_note(10ms, 1, woken));
  on.loop.run_ready();

  on.script.advance(10ms - 1ns);
  on.loop.run_ready();
  CHECK(woken.empty());

  on.script.advance(1ns);
  on.loop.run_ready();
  CHECK(woken.size() == 1);
}

TEST_CASE("a sleep on a busy executor costs no system call") {
  scripted_executor on;
  std::vector<int> woken;
  auto root = on.loop.start(sleep_and_note(10ms, 1, woken));

  on.loop.run_ready();
  on.script.advance(10ms);
  on.loop.run_ready();

  CHECK(root.done());
  CHECK(on.script.enters_count() == 0);
}

TEST_CASE("sleeps end in the order of their times, whatever the order in which they began") {
  scripted_executor on;
  std::vector<int> woken;
  auto slow = on.loop.start(sleep_and_note(30ms, 3, woken));
  auto fast = on.loop.start(sleep_and_note(10ms, 1, woken));
  auto middle = on.loop.start(sleep_and_note(20ms, 2, woken));

  turn_with_jumps(on, {&slow, &fast, &middle});

  CHECK(woken == std::vector{1, 2, 3});
}

TEST_CASE("a sleep of no time, or less, lasts until the next turn") {
  scripted_executor on;
  std::vector<int> woken;
  auto none = on.loop.start(sleep_and_note(0ns, 0, woken));
  auto less = on.loop.start(sleep_and_note(-5s, -5, woken));
  auto least = on.loop.start(sleep_and_note(std::chrono::nanoseconds::min(), -9, woken));

  on.loop.run_ready();

  CHECK(woken.size() == 3);
}

TEST_CASE("a sleep can be as long as its type can say") {
  scripted_executor on;
  outcome noted;
  auto root = on.loop.start(sleep_observed(std::chrono::nanoseconds::max(), noted));
  on.loop.run_ready();

  on.script.advance(std::chrono::hours{24 * 365 * 100});
  on.loop.run_ready();
  CHECK(noted.how == ended::not_yet);

  root.cancel();
  on.loop.run_ready();
  CHECK(noted.how == ended::stopped);
}

TEST_CASE("sleep_until() waits for a point in time") {
  scripted_executor on;
  bool done = false;
  const auto when = std::chrono::steady_clock::time_point{std::chrono::nanoseconds{on.script.now()} + 5ms};
  auto root = on.loop.start([](auto until, bool& noted) -> task<> {
    co_await sleep_until(until);
    noted = true;
  }(when, done));

  on.loop.run_ready();
  CHECK(!done);
  on.script.advance(5ms);
  on.loop.run_ready();
  CHECK(done);
}

TEST_CASE("a sleep that is cancelled ends at once, without the kernel") {
  scripted_executor on;
  outcome noted;
  auto root = on.loop.start(sleep_observed(1h, noted));
  on.loop.run_ready();

  root.cancel();
  on.loop.run_ready();

  CHECK(noted.how == ended::stopped);
  CHECK(on.loop.timers().empty());
  CHECK(on.script.enters_count() == 0);
}

TEST_CASE("a sleep that is due when the cancel comes, and was not resumed yet, is over") {
  scripted_executor on;
  outcome noted;
  auto root = on.loop.start(sleep_observed(1ms, noted));
  on.loop.run_ready();

  on.script.advance(1ms);
  on.loop.turn(/*may_park=*/false);
  root.cancel();
  on.loop.run_ready();

  CHECK(noted.how == ended::with_value);
}

TEST_CASE("stopped_as_error() makes of a cancelled sleep an error") {
  scripted_executor on;
  outcome noted;
  auto root =
      on.loop.start([](outcome& to) -> task<> { co_await observe(stopped_as_error(sleep_for(1h)), to); }(noted));
  on.loop.run_ready();

  root.cancel();
  on.loop.run_ready();

  CHECK(noted.how == ended::with_error);
  CHECK(noted.error == std::errc::operation_canceled);
}

// ----------------------------------------------------------------------------------- how long an executor sleeps

namespace {

constexpr std::array both_ways{parking::eventfd, parking::ring_wait};

// Notes until when each sleep would last, counted from now on, and lets it last so long.
void note_ends_of_sleeps(scripted_executor& on, std::vector<std::chrono::nanoseconds>& ends) {
  on.script.on_sleep = [&on, &ends, began = on.script.now()] {
    ends.push_back(on.script.sleeps_until() ? std::chrono::nanoseconds{*on.script.sleeps_until() - began} : 0ns);
  };
}

}  // namespace

TEST_CASE("an executor sleeps until the earliest of its timers, and asks the kernel for no timeout") {
  for (const auto park : both_ways) {
    scripted_executor on{{}, {.park = park, .timer_slack = 0ns}};
    std::vector<int> woken;
    std::vector<std::chrono::nanoseconds> ends;
    auto late = on.loop.start(sleep_and_note(20ms, 2, woken));
    auto early = on.loop.start(sleep_and_note(10ms, 1, woken));
    note_ends_of_sleeps(on, ends);

    while (!late.done()) on.loop.turn(/*may_park=*/true);

    CHECK(woken == std::vector{1, 2});
    CHECK(ends == std::vector<std::chrono::nanoseconds>{10ms, 20ms});
    CHECK(on.script.taken_count(IORING_OP_TIMEOUT) == 0);
  }
}

TEST_CASE("a timer that is earlier than those before it shortens the next sleep, one that goes away lengthens it") {
  for (const auto park : both_ways) {
    scripted_executor on{{}, {.park = park, .timer_slack = 0ns}};
    std::vector<int> woken;
    std::vector<std::chrono::nanoseconds> ends;
    outcome gone;
    auto late = on.loop.start(sleep_and_note(20ms, 1, woken));
    std::vector<std::unique_ptr<root_task<void>>> later;
    const auto began = on.script.now();
    on.script.on_sleep = [&] {
      ends.emplace_back(*on.script.sleeps_until() - began);
      if (ends.size() == 1)
        on.loop.post([&] { later.push_back(std::make_unique<root_task<void>>(on.loop, sleep_observed(5ms, gone))); });
      if (ends.size() == 2) on.loop.post([&] { later.front()->cancel(); });
    };

    while (!late.done()) on.loop.turn(/*may_park=*/true);

    CHECK(ends == std::vector<std::chrono::nanoseconds>{20ms, 5ms, 20ms});
    CHECK(gone.how == ended::stopped);
  }
}

TEST_CASE("a timer that comes due between the look at the timers and the park is not slept over") {
  for (const auto park : both_ways) {
    scripted_executor on{{}, {.park = park}};
    std::vector<int> woken;
    auto root = on.loop.start(sleep_and_note(1ms, 1, woken));
    on.loop.turn(/*may_park=*/false);
    int looks_count = 0;
    on.script.on_now = [&] {
      if (++looks_count == 2) on.script.advance(2ms);  // the first look is that of the turn
    };

    while (!root.done()) on.loop.turn(/*may_park=*/true);

    CHECK(on.script.sleeps_count() == 0);
    CHECK(looks_count > 2);
  }
}

TEST_CASE("timers that come within the slack share a wake, which is the last one's time, and none ends early") {
  for (const auto park : both_ways)
    for (const auto slack : {0ns, 50'000ns, 1'000'000ns}) {
      CAPTURE(slack.count());
      scripted_executor on{{}, {.park = park, .timer_slack = slack}};
      std::vector<int> woken;
      std::vector<std::chrono::nanoseconds> ends;
      auto first = on.loop.start(sleep_and_note(10ms, 1, woken));
      auto second = on.loop.start(sleep_and_note(10ms + slack, 2, woken));
      auto third = on.loop.start(sleep_and_note(10ms + slack + 1ns, 3, woken));
      note_ends_of_sleeps(on, ends);

      while (!second.done()) on.loop.turn(/*may_park=*/true);

      CHECK(ends == std::vector<std::chrono::nanoseconds>{10ms + slack});
      CHECK(!third.done());
      while (!third.done()) on.loop.turn(/*may_park=*/true);
      CHECK(woken == std::vector{1, 2, 3});
    }
}

TEST_CASE("a timer that nobody shares a wake with comes at its time, whatever the slack") {
  for (const auto park : both_ways) {
    scripted_executor on{{}, {.park = park, .timer_slack = 1ms}};
    std::vector<int> woken;
    std::vector<std::chrono::nanoseconds> ends;
    auto alone = on.loop.start(sleep_and_note(10ms, 1, woken));
    auto later = on.loop.start(sleep_and_note(10ms + 1ms + 1ns, 2, woken));
    note_ends_of_sleeps(on, ends);

    while (!alone.done()) on.loop.turn(/*may_park=*/true);

    CHECK(ends == std::vector<std::chrono::nanoseconds>{10ms});
    while (!later.done()) on.loop.turn(/*may_park=*/true);
  }
}

TEST_CASE("a thread's own sleeps end at their time while it has an executor, and as before when it has none") {
  const auto slack = [] { return ::prctl(PR_GET_TIMERSLACK, 0, 0, 0, 0); };
  const int before = slack();
  REQUIRE(before > 1);
  {
    auto first = std::make_unique<executor>();
    CHECK(slack() == 1);
    const executor second;
    first.reset();
    CHECK(slack() == 1);
  }
  CHECK(slack() == before);

  const executor sleeps_in_its_ring{{.park = parking::ring_wait}};
  CHECK(slack() == before);
}

TEST_CASE("a sleep that never ends leaves an executor asleep until something else wakes it") {
  for (const auto park : both_ways) {
    scripted_executor on{{}, {.park = park}};
    std::vector<int> woken;
    std::vector<std::chrono::nanoseconds> ends;
    auto root = on.loop.start(sleep_and_note(std::chrono::nanoseconds::max(), 1, woken));
    note_ends_of_sleeps(on, ends);
    on.script.on_sleep = [&, note = on.script.on_sleep] {
      note();
      on.loop.post([&] { root.cancel(); });
    };

    while (!root.done()) on.loop.turn(/*may_park=*/true);

    CHECK(ends == std::vector<std::chrono::nanoseconds>{0ns});  // none
    CHECK(woken.empty());
  }
}

TEST_CASE("a thousand sleeps on the kernel's clock all end") {
  executor loop;
  std::vector<int> woken;
  std::vector<std::unique_ptr<root_task<void>>> roots;
  for (int i = 0; i < 1000; ++i)
    roots.push_back(std::make_unique<root_task<void>>(loop, sleep_and_note(i * 3us, i, woken)));

  for (const auto& each : roots)
    while (!each->done()) loop.turn(/*may_park=*/true);

  CHECK(woken.size() == 1000);
}

// --------------------------------------------------------------------------------------------------------- interval

namespace {

struct seen {
  std::chrono::nanoseconds at;   // when the coroutine got it
  std::chrono::nanoseconds due;  // when it was to come
  std::uint64_t missed_count;

  friend bool operator==(const seen&, const seen&) = default;
};

// Notes ticks, counted from the beginning of the script; each takes what `work` says.
task<> note_ticks(scripted_executor& on, std::chrono::nanoseconds period, int count, std::chrono::nanoseconds work,
                  std::vector<seen>& noted) {
  const auto begin = std::chrono::nanoseconds{on.script.now()};
  interval ticks{period};
  for (int i = 0; i < count; ++i) {
    const interval::tick tick = co_await ticks.next();
    noted.push_back(
        {std::chrono::nanoseconds{on.script.now()} - begin, tick.due.time_since_epoch() - begin, tick.missed_count});
    on.script.advance(work);
  }
}

}  // namespace

TEST_CASE("ticks come at equal distances, however long the work between them takes, if less than a period") {
  scripted_executor on;
  std::vector<seen> noted;
  auto root = on.loop.start(note_ticks(on, 10ms, 3, 7ms, noted));

  turn_with_jumps(on, {&root});

  CHECK(noted == std::vector<seen>{{10ms, 10ms, 0}, {20ms, 20ms, 0}, {30ms, 30ms, 0}});
}

TEST_CASE("ticks that were missed are counted and do not pile up; the next one comes at its own time") {
  scripted_executor on;
  std::vector<seen> noted;
  auto root = on.loop.start(note_ticks(on, 10ms, 4, 25ms, noted));

  turn_with_jumps(on, {&root});

  // Work ends at 35: the ticks of 20 and 30 are due, the latest is given. It ends at 60, on a tick.
  CHECK(noted == std::vector<seen>{{10ms, 10ms, 0}, {35ms, 30ms, 1}, {60ms, 60ms, 2}, {85ms, 80ms, 1}});
}

TEST_CASE("a tick on a busy executor comes late, and does not shift those after it") {
  scripted_executor on;
  std::vector<seen> noted;
  auto root = on.loop.start(note_ticks(on, 10ms, 2, 0ms, noted));
  on.loop.run_ready();

  on.script.advance(13ms);
  on.loop.run_ready();
  on.script.advance(7ms);
  on.loop.run_ready();

  CHECK(noted == std::vector<seen>{{13ms, 10ms, 0}, {20ms, 20ms, 0}});
}

TEST_CASE("a loop over overdue ticks lets others run, and can be stopped") {
  scripted_executor on;
  std::vector<seen> noted;
  std::vector<int> woken;
  auto busy = on.loop.start(note_ticks(on, 1ms, 1'000'000, 5ms, noted));
  auto other = on.loop.start(sleep_and_note(1ms, 1, woken));
  on.loop.run_ready();
  on.script.advance(1ms);

  for (int i = 0; i < 3; ++i) on.loop.turn(/*may_park=*/false);
  CHECK(woken.size() == 1);
  CHECK(!noted.empty());

  busy.cancel();
  on.loop.run_ready();
  CHECK(busy.stopped());
  CHECK(on.loop.timers().empty());
}

TEST_CASE("a tick whose wait was cut short is not lost: the next wait gives it") {
  scripted_executor on;
  std::vector<std::uint64_t> missed;
  auto root = on.loop.start([](std::vector<std::uint64_t>& to) -> task<> {
    interval ticks{10ms};
    for (int i = 0; i < 2; ++i) {
      const auto tick = co_await move_on_after(6ms, ticks.next());
      to.push_back(tick ? tick->missed_count : 99);
    }
  }(missed));

  turn_with_jumps(on, {&root});

  CHECK(missed == std::vector<std::uint64_t>{99, 0});
  CHECK(on.script.now() == 1'000'000'000 + 10'000'000);
}

TEST_CASE("reset() begins anew from the moment of the call") {
  scripted_executor on;
  std::vector<std::chrono::nanoseconds> due;
  auto root = on.loop.start([](scripted_executor& with, auto& to) -> task<> {
    const auto begin = std::chrono::nanoseconds{with.script.now()};
    interval ticks{10ms};
    with.script.advance(35ms);
    ticks.reset();
    const auto tick = co_await ticks.next();
    CHECK(tick.missed_count == 0);
    to.push_back(tick.due.time_since_epoch() - begin);
  }(on, due));

  turn_with_jumps(on, {&root});

  CHECK(due == std::vector<std::chrono::nanoseconds>{45ms});
}

namespace {

// An interval of 10 ms that somebody else resets while its tick is waited for.
struct waiting_for_tick {
  waiting_for_tick() { on.loop.run_ready(); }

  static task<> run(scripted_executor& on, interval*& found, std::vector<seen>& noted) {
    const auto begin = std::chrono::nanoseconds{on.script.now()};
    interval ticks{10ms};
    found = &ticks;
    for (;;) {
      const interval::tick tick = co_await ticks.next();
      noted.push_back(
          {std::chrono::nanoseconds{on.script.now()} - begin, tick.due.time_since_epoch() - begin, tick.missed_count});
    }
  }

  void advance(std::chrono::nanoseconds by) {
    on.script.advance(by);
    on.loop.run_ready();
  }

  // In a turn, as it has to be.
  void reset() {
    on.loop.post([this] { ticks->reset(); });
    on.loop.run_ready();
  }

  ~waiting_for_tick() {
    root.cancel();
    on.loop.run_ready();
    CHECK(on.loop.timers().empty());
  }

  scripted_executor on;
  interval* ticks = nullptr;
  std::vector<seen> noted;
  root_task<void> root = on.loop.start(run(on, ticks, noted));
};

}  // namespace

TEST_CASE("reset() puts off the tick that somebody waits for, as often as it is called") {
  waiting_for_tick subject;
  for (int i = 0; i < 3; ++i) {
    subject.advance(6ms);
    subject.reset();
  }
  CHECK(subject.noted.empty());

  subject.advance(10ms - 1ns);
  CHECK(subject.noted.empty());
  subject.advance(1ns);
  subject.advance(10ms);

  CHECK(subject.noted == std::vector<seen>{{28ms, 28ms, 0}, {38ms, 38ms, 0}});
}

TEST_CASE("a tick that is put off wakes an executor that sleeps, at its new time") {
  waiting_for_tick subject;
  subject.advance(6ms);
  subject.reset();

  subject.on.script.on_sleep = [&] { subject.on.script.advance_to_next_timeout(); };
  while (subject.noted.empty()) subject.on.loop.turn(/*may_park=*/true);

  CHECK(subject.noted == std::vector<seen>{{16ms, 16ms, 0}});
}

TEST_CASE("a tick that has come, and that nobody has yet, is put off by reset() as well") {
  waiting_for_tick subject;
  subject.on.script.advance(10ms);
  subject.on.loop.post([&] {  // runs when the tick has come, before who waits for it
    subject.on.script.advance(2ms);
    subject.ticks->reset();
  });

  subject.on.loop.run_ready();
  CHECK(subject.noted.empty());
  subject.advance(10ms);

  CHECK(subject.noted == std::vector<seen>{{22ms, 22ms, 0}});
}

TEST_CASE("a cancel and a reset() that come when the tick has come: the wait is stopped") {
  for (const bool cancel_first : {true, false}) {
    CAPTURE(cancel_first);
    waiting_for_tick subject;
    subject.on.script.advance(10ms);
    subject.on.loop.post([&] {
      if (cancel_first) subject.root.cancel();
      subject.ticks->reset();
      if (!cancel_first) subject.root.cancel();
    });

    subject.on.loop.run_ready();

    CHECK(subject.root.stopped());
    CHECK(subject.noted.empty());
  }
}

TEST_CASE("a tick that was put off can be stopped like any other, before its old time and after it") {
  for (const auto passed : {1ms, 6ms}) {
    CAPTURE(passed.count());
    waiting_for_tick subject;
    subject.advance(5ms);
    subject.reset();
    subject.advance(passed);

    subject.root.cancel();
    subject.on.loop.run_ready();

    CHECK(subject.root.stopped());
    CHECK(subject.noted.empty());
  }
}

TEST_CASE("an interval gives its ticks and its stop as values, too") {
  scripted_executor on;
  std::vector<std::error_code> noted;
  auto root = on.loop.start([](std::vector<std::error_code>& to) -> task<> {
    interval ticks{10ms};
    to.push_back((co_await as_result(ticks.next())).error());
    to.push_back((co_await as_result(stopped_as_error(ticks.next()))).error());
  }(noted));
  on.loop.run_ready();
  on.script.advance(10ms);
  on.loop.run_ready();

  root.cancel();
  on.loop.run_ready();

  CHECK(noted.size() == 2);
  CHECK(!noted[0]);
  CHECK(noted[1] == std::errc::operation_canceled);
}

TEST_CASE("the longest of periods does not wrap round") {
  scripted_executor on;
  auto root = on.loop.start([]() -> task<> {
    interval never{std::chrono::nanoseconds::max()};
    co_await never.next();
  }());
  on.loop.run_ready();

  on.script.advance(std::chrono::hours{24 * 365});
  on.loop.run_ready();
  CHECK(!root.done());

  root.cancel();
  on.loop.run_ready();
}

// ------------------------------------------------------------------------------------------------- other clocks

namespace {

using detail::clock_id;
constexpr clock_id other_clocks[] = {clock_id::boot, clock_id::system};

point_in_time in(scripted_executor& on, clock_id clock, std::chrono::nanoseconds from_now) {
  return {clock, on.script.now_on(clock) + from_now.count()};
}

task<> sleep_until_and_note(point_in_time when, int name, std::vector<int>& woken) {
  co_await sleep_until(when);
  woken.push_back(name);
}

task<> sleep_until_observed(point_in_time when, outcome& noted) { co_await observe(sleep_until(when), noted); }

}  // namespace

TEST_CASE("on the boot clock and the system clock, too, a sleep ends when its time has come, and not before") {
  for (const clock_id clock : other_clocks) {
    scripted_executor on;
    std::vector<int> woken;
    auto root = on.loop.start(sleep_until_and_note(in(on, clock, 10ms), 1, woken));
    on.loop.run_ready();

    on.script.advance(10ms - 1ns);
    on.loop.run_ready();
    CHECK(woken.empty());

    on.script.advance(1ns);
    on.loop.run_ready();
    CHECK(woken.size() == 1);
    CHECK(on.script.in_flight().empty());
  }
}

TEST_CASE("sleep_until() takes the time points of three clocks") {
  scripted_executor on{{.boot_ahead = 7'000'000'000}};
  std::vector<int> woken;
  auto root = on.loop.start([](scripted_executor& its, std::vector<int>& to) -> task<> {
    const auto now = [&](clock_id clock) { return std::chrono::nanoseconds{its.script.now_on(clock)}; };
    co_await sleep_until(std::chrono::steady_clock::time_point{now(clock_id::steady) + 1ms});
    to.push_back(1);
    co_await sleep_until(boot_clock::time_point{now(clock_id::boot) + 1ms});
    to.push_back(2);
    co_await sleep_until(std::chrono::sys_time<std::chrono::nanoseconds>{now(clock_id::system) + 1ms});
    to.push_back(3);
  }(on, woken));

  turn_with_jumps(on, {&root});

  CHECK(woken == std::vector{1, 2, 3});
  CHECK(on.script.now() == 1'003'000'000);
}

TEST_CASE("on other clocks, a sleep into the past, or from before all time, lasts until the kernel was asked once") {
  for (const clock_id clock : other_clocks) {
    for (const detail::clock_ns when : {detail::clock_ns{1}, detail::clock_ns{0}, -1'000'000'000L, INT64_MIN}) {
      CAPTURE(when);
      scripted_executor on;
      std::vector<int> woken;
      auto root = on.loop.start(sleep_until_and_note({clock, when}, 1, woken));

      on.loop.run_ready();

      CHECK(woken.size() == 1);
    }
  }
}

TEST_CASE("sleeps on another clock share one timeout of the kernel's, which is moved to the earliest") {
  for (const clock_id clock : other_clocks) {
    scripted_executor on;
    const auto began = on.script.now_on(clock);
    std::vector<int> woken;
    auto slow = on.loop.start(sleep_until_and_note(in(on, clock, 30ms), 3, woken));
    on.loop.run_ready();
    CHECK(on.script.only(IORING_OP_TIMEOUT).due == began + 30'000'000);

    auto fast = on.loop.start(sleep_until_and_note(in(on, clock, 10ms), 1, woken));
    auto middle = on.loop.start(sleep_until_and_note(in(on, clock, 20ms), 2, woken));
    on.loop.run_ready();
    CHECK(on.script.only(IORING_OP_TIMEOUT).due == began + 10'000'000);
    CHECK(on.script.taken_count(IORING_OP_TIMEOUT_REMOVE) == 1);
    turn_with_jumps(on, {&slow, &fast, &middle});

    CHECK(woken == std::vector{1, 2, 3});
    CHECK(on.script.taken_count(IORING_OP_TIMEOUT) == 3);
  }
}

TEST_CASE("a sleep on another clock that is cancelled ends at once, and its timeout wakes nobody") {
  for (const clock_id clock : other_clocks) {
    scripted_executor on;
    outcome noted;
    auto root = on.loop.start(sleep_until_observed(in(on, clock, 10ms), noted));
    on.loop.run_ready();

    root.cancel();
    on.loop.run_ready();
    CHECK(noted.how == ended::stopped);

    on.script.advance(10ms);
    on.loop.run_ready();
    CHECK(on.script.in_flight().empty());
  }
}

TEST_CASE("a sleep on another clock that is due when the cancel comes is over, or stopped, by who came first") {
  for (const clock_id clock : other_clocks) {
    for (const bool taken : {true, false}) {
      CAPTURE(taken);
      scripted_executor on;
      outcome noted;
      auto root = on.loop.start(sleep_until_observed(in(on, clock, 10ms), noted));
      on.loop.run_ready();

      on.script.advance(10ms);
      auto ready_before = on.loop.start([]() -> task<> { co_return; }());
      if (taken) on.loop.post([&] { root.cancel(); });
      else root.cancel();
      on.loop.run_ready();

      CHECK(noted.how == (taken ? ended::with_value : ended::stopped));
    }
  }
}

TEST_CASE("a sleep on the system clock follows that clock when somebody sets it, forth and back") {
  scripted_executor on;
  std::vector<int> woken;
  auto first = on.loop.start(sleep_until_and_note(in(on, clock_id::system, 1h), 1, woken));
  auto second = on.loop.start(sleep_until_and_note(in(on, clock_id::system, 2h), 2, woken));
  auto other = on.loop.start(sleep_until_and_note(in(on, clock_id::boot, 1h), 3, woken));
  on.loop.run_ready();

  on.script.step_system_clock(1h);
  on.loop.run_ready();
  CHECK(woken == std::vector{1});
  on.script.step_system_clock(-1h);
  on.script.advance(1h);
  on.loop.run_ready();
  CHECK(woken == std::vector{1, 3});
  on.script.advance(1h);
  on.loop.run_ready();
  CHECK(woken == std::vector{1, 3, 2});
}

TEST_CASE("time that the machine is suspended counts for sleeps on the boot clock, and not on the steady clock") {
  scripted_executor on;
  std::vector<int> woken;
  auto boot = on.loop.start(sleep_until_and_note(in(on, clock_id::boot, 1h), 1, woken));
  auto steady = on.loop.start(sleep_until_and_note(in(on, clock_id::steady, 1h), 2, woken));
  on.loop.run_ready();

  on.script.suspend(1h);
  on.loop.run_ready();
  CHECK(woken == std::vector{1});
  steady.cancel();
  on.loop.run_ready();
}

TEST_CASE("a timeout of another clock that fires while it is being moved is armed for who is left") {
  for (const clock_id clock : other_clocks) {
    scripted_executor on;
    std::vector<int> woken;
    auto late = on.loop.start(sleep_until_and_note(in(on, clock, 30ms), 2, woken));
    on.loop.run_ready();
    auto early = on.loop.start(sleep_until_and_note(in(on, clock, 10ms), 1, woken));
    on.script.on_enter = [&] {
      on.script.on_enter = nullptr;
      on.script.complete(on.script.only(IORING_OP_TIMEOUT), -ETIME);  // so that the move finds nothing
    };

    turn_with_jumps(on, {&late, &early});

    CHECK(woken == std::vector{1, 2});
  }
}

TEST_CASE("a timeout of another clock that the kernel refuses, or finds no place, is for the time that is left") {
  for (const clock_id clock : other_clocks) {
    for (const bool refused : {true, false}) {
      CAPTURE(refused);
      scripted_executor on{{.sq_entries = 2}};
      std::array<outcome, 2> fillers;
      const auto due = in(on, clock, 20ms);
      auto first = on.loop.start(observe(ops::nop(), fillers[0]));
      auto second = on.loop.start(observe(ops::nop(), fillers[1]));
      std::vector<int> woken;
      auto root = on.loop.start(sleep_until_and_note(due, 1, woken));
      on.script.on_enter = [&] {
        on.script.on_enter = nullptr;
        on.script.advance(15ms);
      };
      if (refused) on.script.refuse(EBUSY, /*taken_count=*/2);

      on.loop.run_ready();

      CHECK(on.script.only(IORING_OP_TIMEOUT).due == due.at());
      for (const auto& each : on.script.in_flight(IORING_OP_NOP)) on.script.complete(each, 0);
      on.script.advance(5ms);
      on.loop.run_ready();
      CHECK(woken.size() == 1);
    }
  }
}

TEST_CASE("in a time namespace, sleeps on other clocks end when their time has come") {
  for (const clock_id clock : other_clocks) {
    scripted_executor on{{.clock_shift = 100'000'000'000'000L}};
    std::vector<int> woken;
    auto late = on.loop.start(sleep_until_and_note(in(on, clock, 20ms), 2, woken));
    on.loop.run_ready();
    auto early = on.loop.start(sleep_until_and_note(in(on, clock, 5ms), 1, woken));
    const auto began = on.script.now();

    turn_with_jumps(on, {&late, &early});

    CHECK(woken == std::vector{1, 2});
    CHECK(on.script.now() == began + 20'000'000);
  }
}

TEST_CASE("a sleep on another clock can be as long as its type can say") {
  for (const clock_id clock : other_clocks) {
    scripted_executor on;
    outcome noted;
    auto root = on.loop.start(sleep_until_observed({clock, INT64_MAX}, noted));
    on.loop.run_ready();

    on.script.advance(std::chrono::hours{24 * 365 * 100});
    on.loop.run_ready();
    CHECK(noted.how == ended::not_yet);
    root.cancel();
    on.loop.run_ready();
    CHECK(noted.how == ended::stopped);
  }
}

}  // namespace gyre
