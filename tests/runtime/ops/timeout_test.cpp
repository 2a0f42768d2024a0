// SPDX-License-Identifier: MIT
// Timeouts that the kernel keeps: points on each clock, counts of completions, moves, removals, and streams of ticks.
#include <gyre/runtime/as_result.hpp>
#include <gyre/runtime/boot_clock.hpp>
#include <gyre/runtime/deadline.hpp>
#include <gyre/runtime/executor.hpp>
#include <gyre/runtime/ops/misc.hpp>
#include <gyre/runtime/ops/timeout.hpp>
#include <gyre/runtime/when_all.hpp>

#include "../../support/outcome.hpp"
#include "../../support/scripted.hpp"
#include "../../support/skip.hpp"
#include "../../support/turning.hpp"

#include <doctest/doctest.h>
#include <liburing.h>

#include <cerrno>
#include <chrono>
#include <cstdint>
#include <vector>

namespace gyre {
namespace {

using namespace std::chrono_literals;
using namespace test;

task<> await_here(ops::timeout& running, outcome& noted) {
  const stop_watch watch{noted};
  try {
    co_await running;
    noted.how = ended::with_value;
  } catch (const std::system_error& error) {
    noted.how = ended::with_error;
    noted.error = error.code();
  }
}

// A timeout that waits in the kernel.
struct waiting_timeout {
  template <class Time>
  explicit waiting_timeout(executor& its_loop, Time time)
      : loop{its_loop}, running{time}, root{loop.start(await_here(running, noted))} {
    loop.run_ready();
  }

  executor& loop;
  ops::timeout running;
  outcome noted;
  root_task<void> root;
};

}  // namespace

TEST_CASE("a timeout ends at a point on each clock, and one that is past at once") {
  executor loop;

  loop.run([]() -> task<> {
    co_await ops::timeout(std::chrono::steady_clock::now() + 1ms);
    co_await ops::timeout(boot_clock::now() + 1ms);
    co_await ops::timeout(std::chrono::system_clock::now() + 1ms);
    co_await ops::timeout(std::chrono::steady_clock::time_point{});
    co_await ops::timeout(boot_clock::time_point{});
    co_await ops::timeout(std::chrono::system_clock::time_point{} - 1h);  // before 1970
  });
}

TEST_CASE("a timeout on the system clock is told as a point, others as what is left") {
  scripted_executor on;
  const auto told = [&](auto time) {
    outcome noted;
    ops::timeout running{time};
    auto root = on.loop.start(await_here(running, noted));
    on.loop.run_ready();
    const auto request = on.script.only(IORING_OP_TIMEOUT);
    on.advance(2s);
    CHECK(noted.how == ended::with_value);
    return request;
  };

  CHECK(told(1s).clock == detail::clock_id::steady);
  const auto steady = told(std::chrono::steady_clock::time_point{std::chrono::nanoseconds{on.loop.now()} + 1s});
  CHECK((steady.op_flags & IORING_TIMEOUT_ABS) == 0);
  const auto system = told(
      std::chrono::system_clock::time_point{std::chrono::nanoseconds{on.script.now_on(detail::clock_id::system)} + 1s});
  CHECK((system.op_flags & (IORING_TIMEOUT_ABS | IORING_TIMEOUT_REALTIME)) ==
        (IORING_TIMEOUT_ABS | IORING_TIMEOUT_REALTIME));
  CHECK((system.op_flags & IORING_TIMEOUT_ETIME_SUCCESS) != 0);
}

TEST_CASE("a timeout ends with so many completions, or when its time has come") {
  executor loop;

  loop.run([]() -> task<> {
    CHECK(co_await ops::timeout_or_count(1, 1ms) == false);
    CHECK(co_await ops::timeout_or_count(0, 1ms) == false);
    auto both = when_all(stopped_as_error(ops::timeout_or_count(2, 1h)), ops::nop(), ops::nop());
    CHECK(std::get<0>(co_await std::move(both)) == true);
  });
}

TEST_CASE("a timeout that counts is stopped while it waits") {
  executor loop;
  outcome noted;
  auto root = loop.start(observe(ops::timeout_or_count(1000, 1h), noted));
  loop.run_ready();

  root.cancel();
  turn_until_done(loop, root);

  CHECK(noted.how == ended::stopped);
}

TEST_CASE("a timeout that is awaited is moved, by a span or to a point, on its clock or another") {
  executor loop;
  const auto moved_by = [&](auto began_with, auto moved_to) {
    waiting_timeout subject{loop, began_with};
    REQUIRE(subject.noted.how == ended::not_yet);
    CHECK(loop.run([&]() -> task<bool> { co_return co_await ops::timeout_update(subject.running, moved_to); }));
    turn_until_done(loop, subject.root);
    CHECK(subject.noted.how == ended::with_value);
  };

  moved_by(1h, 1ms);
  moved_by(1h, std::chrono::steady_clock::now() + 1ms);
  moved_by(1h, std::chrono::system_clock::now() + 1ms);
  moved_by(boot_clock::now() + 1h, boot_clock::now() + 1ms);
  moved_by(std::chrono::system_clock::now() + 1h, std::chrono::system_clock::now() + 1ms);
  moved_by(std::chrono::system_clock::now() + 1h, 1ms);
  moved_by(std::chrono::system_clock::now() + 1h, boot_clock::now() + 1ms);
}

TEST_CASE("a timeout that is removed ends as cancelled; one that is not there was not removed, nor moved") {
  executor loop;
  waiting_timeout subject{loop, 1h};

  loop.run([&]() -> task<> {
    CHECK(co_await ops::timeout_remove(subject.running) == true);
    while (!subject.root.done()) co_await ops::nop();
    CHECK(subject.noted.error == std::errc::operation_canceled);

    ops::timeout never_awaited{1h};
    CHECK(co_await ops::timeout_remove(never_awaited) == false);
    CHECK(co_await ops::timeout_update(never_awaited, 1ms) == false);
  });
}

// ------------------------------------------------------------------------------------------------- timeout_stream

namespace {

bool kernel_repeats_timeouts() {
  executor loop;
  const bool has_it = loop.run([]() -> task<bool> {
    ops::timeout_stream ticks(1ms);
    co_return (co_await as_result(ticks.next())).has_value();
  });
  if (!has_it) SAY_SKIPPED("this kernel does not repeat timeouts");
  return has_it;
}

task<> note_ticks(ops::timeout_stream& from, int how_many, std::vector<std::uint64_t>& counts, outcome& noted) {
  for (int i = 0; i < how_many; ++i) {
    const stop_watch watch{noted};
    const auto count = co_await as_result(from.next());
    noted.how = count ? ended::with_value : ended::with_error;
    noted.error = count.error();
    if (count) counts.push_back(*count);
  }
}

// The scripted ring takes each for a single one, so that its time lies far away and the script says when it ticks.
struct ticking {
  explicit ticking(int how_many) : root{on.loop.start(note_ticks(stream, how_many, counts, noted))} {
    on.loop.run_ready();
  }

  void say(std::int32_t res, std::uint32_t flags) {
    on.script.complete(on.script.only(IORING_OP_TIMEOUT), res, flags);
    on.loop.run_ready();
  }
  void tick(std::uint32_t flags = IORING_CQE_F_MORE) { say(-ETIME, flags); }

  scripted_executor on{by_hand};
  ops::timeout_stream stream{1h};
  std::vector<std::uint64_t> counts;
  outcome noted;
  root_task<void> root;
};

}  // namespace

TEST_CASE("ticks come one after another, by one request, in a period that can be changed") {
  if (!kernel_repeats_timeouts()) return;
  executor loop;

  loop.run([]() -> task<> {
    ops::timeout_stream ticks(1ms);
    CHECK(co_await ticks.next() >= 1);
    const auto sqes_before = executor::current().statistics().sqes;
    for (int i = 0; i < 3; ++i) CHECK(co_await ticks.next() >= 1);
    CHECK(executor::current().statistics().sqes == sqes_before);
    ticks.set_period(1h);
    co_await ops::timeout(3ms);
    CHECK(!(co_await move_on_after(5ms, [&]() -> task<> {
      for (;;) static_cast<void>(co_await ticks.next());
    }())));
    ticks.set_period(1ms);
    CHECK(co_await ticks.next() >= 1);
  });
}

TEST_CASE("ticks faster than any turn end with their stream, and let their executor end") {
  if (!kernel_repeats_timeouts()) return;
  for (const auto period : {0ns, -1ns, 1ns}) {
    executor loop;
    loop.run([period]() -> task<> {
      ops::timeout_stream ticks(period);
      for (int i = 0; i < 3; ++i) CHECK(co_await ticks.next() >= 1);
    });
  }
}

TEST_CASE("ticks that nobody waits for are counted and told together") {
  ticking subject{2};
  subject.tick();
  subject.tick();
  CHECK(subject.counts == std::vector<std::uint64_t>{1, 1});
  for (int i = 0; i < 5; ++i) subject.tick();

  auto root = subject.on.loop.start(note_ticks(subject.stream, 1, subject.counts, subject.noted));
  subject.on.loop.run_ready();

  CHECK(subject.counts.back() == 5);
  subject.say(-ECANCELED, 0);
}

TEST_CASE("a request that ended with a tick is made again, whether somebody waits or not") {
  ticking subject{1};

  subject.tick(/*flags=*/0);
  CHECK(subject.counts.size() == 1);
  CHECK(subject.root.done());
  CHECK(subject.on.script.taken_count(IORING_OP_TIMEOUT) == 2);
  subject.tick(/*flags=*/0);

  CHECK(subject.on.script.taken_count(IORING_OP_TIMEOUT) == 3);
  subject.say(-ECANCELED, 0);
}

TEST_CASE("an error of a stream of ticks goes to the reader, who can go on") {
  ticking subject{2};

  subject.say(-EINVAL, 0);
  CHECK(subject.noted.how == ended::not_yet);  // it has heard of the first, and asks for the next
  CHECK(subject.on.script.taken_count(IORING_OP_TIMEOUT) == 2);
  subject.say(-ECANCELED, 0);

  CHECK(subject.noted.error == std::errc::operation_canceled);
}

TEST_CASE("a new period is a new request, however the cancel of the old one and its ticks cross") {
  for (const bool tick_first : {true, false}) {
    CAPTURE(tick_first);
    ticking subject{1};
    subject.stream.set_period(2h);
    subject.stream.set_period(3h);
    subject.on.loop.run_ready();

    CHECK(subject.on.script.taken_count(IORING_OP_ASYNC_CANCEL) == 1);
    if (tick_first) {
      subject.on.script.complete(subject.on.script.only(IORING_OP_ASYNC_CANCEL), -ENOENT);
      subject.tick();
      CHECK(subject.counts.size() == 1);
      CHECK(subject.on.script.taken_count(IORING_OP_ASYNC_CANCEL) == 2);
    }
    subject.on.script.complete(subject.on.script.only(IORING_OP_ASYNC_CANCEL), 0);
    subject.say(-ECANCELED, 0);

    CHECK(subject.on.script.taken_count(IORING_OP_TIMEOUT) == 2);
    CHECK(*subject.on.script.only(IORING_OP_TIMEOUT).due ==
          subject.on.script.now() + std::chrono::nanoseconds{3h}.count());
    if (!tick_first) subject.tick();
    CHECK(subject.counts.size() == 1);
    subject.say(-ECANCELED, 0);
  }
}

TEST_CASE("a stream of ticks that goes is asked to end again and again, until a cancel finds it") {
  scripted_executor on{by_hand};
  std::vector<std::uint64_t> counts;
  outcome noted;
  {
    ops::timeout_stream stream{1h};
    auto root = on.loop.start(note_ticks(stream, 1, counts, noted));
    on.loop.run_ready();
    on.stop(root);
    CHECK(noted.how == ended::stopped);
  }
  on.loop.run_ready();
  on.script.complete(on.script.only(IORING_OP_ASYNC_CANCEL), -ENOENT);
  on.script.complete(on.script.only(IORING_OP_TIMEOUT), -ETIME, IORING_CQE_F_MORE);
  on.loop.run_ready();

  CHECK(on.script.taken_count(IORING_OP_ASYNC_CANCEL) == 2);
  on.script.complete(on.script.only(IORING_OP_TIMEOUT), -ECANCELED);
  on.loop.run_ready();
  CHECK(counts.empty());
}

}  // namespace gyre
