// SPDX-License-Identifier: MIT
// Deadlines on every clock, and deadlines that are moved, in every order against completions, cancels and moves: kept
// by linked timeouts that are heard, and by the timers of each clock.
#include <gyre/runtime/as_result.hpp>
#include <gyre/runtime/boot_clock.hpp>
#include <gyre/runtime/deadline.hpp>
#include <gyre/runtime/ops/file.hpp>
#include <gyre/runtime/ops/misc.hpp>
#include <gyre/runtime/ops/socket.hpp>
#include <gyre/runtime/ops/timeout.hpp>
#include <gyre/runtime/scope.hpp>
#include <gyre/runtime/timer.hpp>

#include "../support/foreign_task.hpp"
#include "../support/outcome.hpp"
#include "../support/scripted.hpp"

#include <doctest/doctest.h>
#include <liburing.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace gyre {
namespace {

using namespace std::chrono_literals;
using namespace test;
using detail::clock_id;
using detail::scripted_ring;
using std::chrono::nanoseconds;

constexpr int some_socket = 1'000'123;
constexpr auto linked_always = nanoseconds::max();
constexpr auto linked_never = 0ns;

// A deadline that is on a clock of which only a test's own loop knows.
struct mover : detail::movable_base {
  explicit mover(point_in_time when) noexcept : movable_base{when} {}
  using movable_base::move_from_now;
  using movable_base::move_to;
};

// One way to have a deadline that is not a plain one.
struct way {
  const char* name;
  clock_id clock;
  bool movable;
  nanoseconds linked_timeout_max;

  [[nodiscard]] bool linked() const noexcept { return linked_timeout_max > 0ns; }
};
constexpr std::array ways{
    way{"boot, timers", clock_id::boot, false, linked_never},
    way{"boot, linked", clock_id::boot, false, linked_always},
    way{"system, timers", clock_id::system, false, linked_never},
    way{"system, linked", clock_id::system, false, linked_always},
    way{"movable, timers", clock_id::steady, true, linked_never},
    way{"movable, linked", clock_id::steady, true, linked_always},
    way{"movable, boot, timers", clock_id::boot, true, linked_never},
    way{"movable, boot, linked", clock_id::boot, true, linked_always},
    way{"movable, system, timers", clock_id::system, true, linked_never},
    way{"movable, system, linked", clock_id::system, true, linked_always},
};

task<> recv_until(detail::clocked_limit when, outcome& noted) {
  std::vector<std::byte> buffer(4);
  co_await observe(with_deadline(when, ops::recv(some_socket, buffer)), noted);
}

task<> recv_all_until(detail::clocked_limit when, outcome& noted) {
  std::vector<std::byte> buffer(8);
  co_await observe(with_deadline(when, ops::recv_all(some_socket, buffer)), noted);
}

task<> do_nothing() { co_return; }

// An executor, and a deadline with 10 ms to go at first.
struct clocked {
  explicit clocked(const way& chosen, const scripted_ring::options& ring = {}, unsigned turn_budget = 256)
      : by{chosen},
        on{ring, {.turn_budget = turn_budget, .linked_timeout_max = chosen.linked_timeout_max}},
        deadline{at(10ms)} {}

  [[nodiscard]] point_in_time at(nanoseconds from_now) const {
    return {by.clock, on.script.now_on(by.clock) + from_now.count()};
  }
  [[nodiscard]] detail::clocked_limit limit() {
    return by.movable ? detail::clocked_limit{deadline} : detail::clocked_limit{deadline.when()};
  }
  void move(nanoseconds from_now) { deadline.move_to(at(from_now).at()); }

  void advance(nanoseconds time) {
    on.script.advance(time);
    on.loop.run_ready();
  }

  // Nothing is left of what has ended, in the executor and in the kernel, but timeouts of clocks that have nothing to
  // wait for.
  void check_clean() {
    CHECK(on.loop.timers().empty());
    for (const auto& each : on.script.in_flight()) CHECK(each.opcode == IORING_OP_TIMEOUT);
  }

  way by;
  scripted_executor on;
  mover deadline;
};

// A recv in flight that the deadline limits. The script answers cancels.
struct limited_recv : clocked {
  explicit limited_recv(const way& chosen, unsigned turn_budget = 256)
      : clocked{chosen, {.on_cancel = scripted_ring::cancels::by_hand}, turn_budget},
        root{on.loop.start(recv_until(limit(), noted))} {
    on.loop.run_ready();
    CHECK(recv().linked == by.linked());
  }

  [[nodiscard]] scripted_ring::request recv() const { return on.script.only(IORING_OP_RECV); }

  void reach_deadline() {
    advance(10ms);
    CHECK(recv().stop_asked);
  }

  void answer(int res) {
    on.script.complete(recv(), res);
    on.loop.run_ready();
    CHECK(root.done());
    for (const auto& each : on.script.in_flight(IORING_OP_ASYNC_CANCEL)) on.script.complete(each, 0);
    on.loop.run_ready();
    check_clean();
  }

  outcome noted;
  root_task<void> root;
};

template <class Check>
void for_each_way(Check check) {
  for (const way& each : ways) {
    CAPTURE(std::string{each.name});
    check(each);
  }
}

template <class Check>
void for_each_movable_way(Check check) {
  for_each_way([&](const way& each) {
    if (each.movable) check(each);
  });
}

constexpr int stop_answers[] = {-ECANCELED, -EINTR, -512, -516};

}  // namespace

// ------------------------------------------------------------------------------ completion, deadline and cancel

TEST_CASE("on any clock, a completion before the deadline gives its result, and the deadline is forgotten") {
  for_each_way([](const way& by) {
    limited_recv subject{by};

    subject.answer(4);

    CHECK(subject.noted.how == ended::with_value);
    subject.advance(1h);
    CHECK(subject.on.script.taken_count(IORING_OP_ASYNC_CANCEL) == 0);
    CHECK(subject.on.script.in_flight().empty());
  });
}

TEST_CASE("on any clock, a completion that was posted when the deadline came gives its result") {
  for_each_way([](const way& by) {
    limited_recv subject{by};

    subject.on.script.complete(subject.recv(), 4);
    subject.advance(10ms);

    CHECK(subject.noted.how == ended::with_value);
  });
}

TEST_CASE("on any clock, a completion that was taken, but not resumed, when the deadline came gives its result") {
  for_each_way([](const way& by) {
    limited_recv subject{by, /*turn_budget=*/2};
    auto ready_before = subject.on.loop.start(do_nothing());
    auto ready_too = subject.on.loop.start(do_nothing());

    subject.on.script.complete(subject.recv(), 4);
    subject.on.script.advance(10ms);
    subject.on.loop.turn(/*may_park=*/false);
    CHECK(ready_too.done());
    CHECK(subject.noted.how == ended::not_yet);
    subject.on.loop.run_ready();

    CHECK(subject.noted.how == ended::with_value);
    CHECK(subject.on.script.taken_count(IORING_OP_ASYNC_CANCEL) == 0);
  });
}

TEST_CASE("on any clock, an operation that the deadline ended is timed out, which is no stop") {
  for_each_way([](const way& by) {
    for (const int res : stop_answers) {
      CAPTURE(res);
      limited_recv subject{by};

      subject.advance(10ms - 1ns);
      CHECK(!subject.recv().stop_asked);
      subject.advance(1ns);
      CHECK(subject.recv().stop_asked);
      CHECK(subject.noted.how == ended::not_yet);
      subject.answer(res);

      CHECK(subject.noted.error == std::errc::timed_out);
      CHECK(!subject.root.stopped());
      CHECK(subject.on.script.taken_count(IORING_OP_ASYNC_CANCEL) == (by.linked() ? 0 : 1));
    }
  });
}

TEST_CASE("on any clock, a result or an error that comes after the deadline is delivered") {
  for_each_way([](const way& by) {
    for (const int res : {4, -ECONNRESET}) {
      CAPTURE(res);
      limited_recv subject{by};

      subject.reach_deadline();
      subject.answer(res);

      CHECK(subject.noted.how == (res > 0 ? ended::with_value : ended::with_error));
      if (res < 0) CHECK(subject.noted.error == std::errc::connection_reset);
    }
  });
}

TEST_CASE("on any clock, cancelled and past its deadline, in either order, an operation is stopped or has its result") {
  for_each_way([](const way& by) {
    for (const bool deadline_first : {true, false}) {
      for (const int res : {-ECANCELED, 4}) {
        CAPTURE(deadline_first);
        CAPTURE(res);
        limited_recv subject{by};

        if (deadline_first) subject.reach_deadline();
        subject.root.cancel();
        subject.on.loop.run_ready();
        if (!deadline_first) subject.reach_deadline();
        subject.answer(res);

        CHECK(subject.noted.how == (res > 0 ? ended::with_value : ended::stopped));
        CHECK(subject.on.script.taken_count(IORING_OP_ASYNC_CANCEL) == 1);
      }
    }
  });
}

TEST_CASE("on any clock, a cancel and the deadline in the same turn are a stop") {
  for_each_way([](const way& by) {
    limited_recv subject{by};

    subject.on.script.advance(10ms);
    subject.root.cancel();
    subject.on.loop.run_ready();
    subject.answer(-ECANCELED);

    CHECK(subject.noted.how == ended::stopped);
  });
}

TEST_CASE("on any clock, what was ended by somebody else before its deadline is not timed out") {
  for_each_way([](const way& by) {
    limited_recv subject{by};

    subject.answer(-ECANCELED);

    CHECK(subject.noted.error == std::errc::operation_canceled);
  });
}

TEST_CASE("on any clock, past its time what completes at once is delivered, and anything else is timed out") {
  for_each_way([](const way& by) {
    for (const detail::clock_ns when : {detail::clock_ns{1}, detail::clock_ns{0}, -1'000'000'000L, INT64_MIN}) {
      CAPTURE(when);
      clocked subject{by};
      subject.deadline.move_to(when);
      outcome at_once;
      outcome never;

      subject.on.script.answer = [](const scripted_ring::request&) { return 4; };
      auto first = subject.on.loop.start(recv_until(subject.limit(), at_once));
      subject.on.loop.run_ready();
      subject.on.script.answer = nullptr;
      auto second = subject.on.loop.start(recv_until(subject.limit(), never));
      subject.on.loop.run_ready();

      CHECK(at_once.how == ended::with_value);
      CHECK(never.error == std::errc::timed_out);
      subject.check_clean();
    }
  });
}

TEST_CASE("on any clock, the end of time never ends an operation") {
  for_each_way([](const way& by) {
    clocked subject{by};
    subject.deadline.move_to(INT64_MAX);
    outcome noted;
    auto root = subject.on.loop.start(recv_until(subject.limit(), noted));
    subject.on.loop.run_ready();

    subject.advance(std::chrono::hours{24 * 365 * 100});
    CHECK(noted.how == ended::not_yet);
    subject.on.script.complete(subject.on.script.only(IORING_OP_RECV), 4);
    subject.on.loop.run_ready();

    CHECK(noted.how == ended::with_value);
    subject.check_clean();
  });
}

TEST_CASE("on any clock, a deadline holds for all parts of a transfer, and its time does not begin anew") {
  for_each_way([](const way& by) {
    clocked subject{by};
    outcome noted;
    auto root = subject.on.loop.start(recv_all_until(subject.limit(), noted));
    subject.on.loop.run_ready();
    for (int part = 0; part < 3; ++part) {
      subject.advance(3ms);
      subject.on.script.complete(subject.on.script.only(IORING_OP_RECV), 2);
      subject.on.loop.run_ready();
      CHECK(subject.on.script.only(IORING_OP_RECV).linked == by.linked());
    }

    subject.advance(1ms - 1ns);
    CHECK(noted.how == ended::not_yet);
    subject.advance(1ns);

    CHECK(noted.error == std::errc::timed_out);
    subject.check_clean();
  });
}

TEST_CASE("on any clock, a part that crosses the deadline is the last") {
  for_each_way([](const way& by) {
    clocked subject{by, {.on_cancel = scripted_ring::cancels::by_hand}};
    outcome noted;
    auto root = subject.on.loop.start(recv_all_until(subject.limit(), noted));
    subject.on.loop.run_ready();

    subject.advance(10ms);
    subject.on.script.complete(subject.on.script.only(IORING_OP_RECV), 2);
    subject.on.loop.run_ready();

    CHECK(noted.error == std::errc::timed_out);
    CHECK(subject.on.script.taken_count(IORING_OP_RECV) == 1);
    for (const auto& each : subject.on.script.in_flight(IORING_OP_ASYNC_CANCEL))
      subject.on.script.complete(each, -ENOENT);
    subject.on.loop.run_ready();
  });
}

TEST_CASE("on any clock, a deadline that passes while the operation waits for a place ends it unsubmitted or at once") {
  for_each_way([](const way& by) {
    clocked subject{by, {.sq_entries = 4}};
    outcome noted;
    std::array<outcome, 4> fillers;
    std::vector<std::unique_ptr<root_task<void>>> roots;
    for (auto& each : fillers)
      roots.push_back(std::make_unique<root_task<void>>(subject.on.loop, observe(ops::nop(), each)));
    auto root = subject.on.loop.start(recv_until(subject.limit(), noted));
    subject.on.script.refuse(EBUSY);
    subject.on.loop.turn(/*may_park=*/false);

    subject.on.script.advance(10ms);
    for (const auto& each : subject.on.script.in_flight(IORING_OP_NOP)) subject.on.script.complete(each, 0);
    subject.on.loop.run_ready();
    for (const auto& each : subject.on.script.in_flight(IORING_OP_NOP)) subject.on.script.complete(each, 0);
    subject.on.loop.run_ready();

    CHECK(noted.error == std::errc::timed_out);
    subject.check_clean();
  });
}

TEST_CASE("on any clock, an operation that a kernel worker may run is never linked") {
  for_each_way([](const way& by) {
    clocked subject{by};
    outcome noted;
    auto root = subject.on.loop.start([](detail::clocked_limit when, outcome& to) -> task<> {
      std::vector<std::byte> buffer(4);
      co_await observe(with_deadline(when, ops::read(some_socket, buffer)), to);
    }(subject.limit(), noted));
    subject.on.loop.run_ready();

    CHECK(!subject.on.script.only(IORING_OP_READ).linked);
    subject.advance(10ms);
    CHECK(noted.error == std::errc::timed_out);
  });
}

TEST_CASE("on any clock, link_timeout() links whatever the options say") {
  for_each_way([](const way& by) {
    clocked subject{by};
    outcome noted;
    auto root = subject.on.loop.start([](clocked& limiting, outcome& to) -> task<> {
      std::vector<std::byte> buffer(4);
      if (limiting.by.movable)
        co_await observe(ops::link_timeout(ops::recv(some_socket, buffer), limiting.deadline), to);
      else co_await observe(ops::link_timeout(ops::recv(some_socket, buffer), limiting.deadline.when()), to);
    }(subject, noted));
    subject.on.loop.run_ready();

    CHECK(subject.on.script.only(IORING_OP_RECV).linked);
    subject.advance(10ms);
    CHECK(noted.error == std::errc::timed_out);
    subject.check_clean();
  });
}

TEST_CASE("on any clock, a time that is farther than linked_timeout_max goes to the timers of the clock") {
  for_each_way([](way by) {
    by.linked_timeout_max = 1s;
    clocked subject{by};
    outcome soon;
    outcome late;
    auto first = subject.on.loop.start(recv_until(subject.limit(), soon));
    subject.on.loop.run_ready();
    CHECK(subject.on.script.only(IORING_OP_RECV).linked);
    subject.advance(10ms);
    CHECK(soon.error == std::errc::timed_out);

    subject.move(1s + 1ns);
    auto second = subject.on.loop.start(recv_until(subject.limit(), late));
    subject.on.loop.run_ready();
    CHECK(!subject.on.script.only(IORING_OP_RECV).linked);
    subject.advance(1s + 1ns);
    CHECK(late.error == std::errc::timed_out);
  });
}

TEST_CASE("in a time namespace, a deadline on any clock comes at its time") {
  for_each_way([](const way& by) {
    for (const detail::clock_ns shift : {100'000'000'000'000L, -900'000'000L}) {
      CAPTURE(shift);
      clocked subject{by, {.clock_shift = shift}};
      outcome noted;
      auto root = subject.on.loop.start(recv_until(subject.limit(), noted));
      subject.on.loop.run_ready();

      subject.advance(10ms - 1ns);
      CHECK(noted.how == ended::not_yet);
      subject.advance(1ns);
      CHECK(noted.error == std::errc::timed_out);
    }
  });
}

TEST_CASE("on any clock, an operation whose linked timeout the kernel lost is timed out at its time all the same") {
  for_each_way([](const way& by) {
    if (!by.linked()) return;
    for (const bool completes : {false, true}) {
      CAPTURE(completes);
      clocked subject{by};
      outcome noted;
      auto root = subject.on.loop.start(recv_until(subject.limit(), noted));
      subject.on.script.refuse(EAGAIN, /*taken_count=*/1);
      subject.on.loop.run_ready();
      CHECK(!subject.on.script.only(IORING_OP_RECV).linked);
      CHECK(subject.on.script.taken_count(IORING_OP_LINK_TIMEOUT) == 0);

      subject.advance(10ms - 1ns);
      CHECK(noted.how == ended::not_yet);
      if (completes) subject.on.script.complete(subject.on.script.only(IORING_OP_RECV), 4);
      subject.advance(1ns);

      if (completes) CHECK(noted.how == ended::with_value);
      else CHECK(noted.error == std::errc::timed_out);
      subject.check_clean();
    }
  });
}

TEST_CASE("on any clock, linked operations that the kernel refused at first have the time that is left") {
  for_each_way([](const way& by) {
    clocked subject{by};
    const auto due = subject.deadline.when().at();
    outcome noted;
    auto root = subject.on.loop.start(recv_until(subject.limit(), noted));
    subject.on.script.refuse(EBUSY);
    subject.on.loop.turn(/*may_park=*/false);
    subject.on.script.advance(4ms);

    subject.on.loop.run_ready();

    if (by.linked()) CHECK(subject.on.script.only(IORING_OP_RECV).due == due);
    else if (by.clock != clock_id::steady) CHECK(subject.on.script.only(IORING_OP_TIMEOUT).due == due);
    subject.advance(6ms - 1ns);
    CHECK(noted.how == ended::not_yet);
    subject.advance(1ns);
    CHECK(noted.error == std::errc::timed_out);
  });
}

TEST_CASE("on any clock, an executor that sleeps wakes for the deadline") {
  for_each_way([](const way& by) {
    for (const parking park : {parking::eventfd, parking::ring_wait}) {
      scripted_executor on{{}, {.park = park, .timer_slack = 0ns, .linked_timeout_max = by.linked_timeout_max}};
      mover deadline{{by.clock, on.script.now_on(by.clock) + 10'000'000}};
      outcome noted;
      auto root = on.loop.start(recv_until(deadline, noted));
      on.script.on_sleep = [&] { on.script.advance_to_next_timeout(); };

      while (!root.done()) on.loop.turn(/*may_park=*/true);

      CHECK(noted.error == std::errc::timed_out);
      CHECK(on.script.now_on(by.clock) == deadline.when().at());
    }
  });
}

TEST_CASE("on any clock, move_on_at() leaves nothing when the deadline ended it, and its value otherwise") {
  for_each_way([](const way& by) {
    clocked subject{by};
    std::vector<std::optional<std::size_t>> got;
    auto root = subject.on.loop.start([](clocked& limiting, auto& to) -> task<> {
      std::vector<std::byte> buffer(4);
      to.push_back(co_await move_on_at(limiting.limit(), ops::recv(some_socket, buffer)));
      to.push_back(co_await move_on_at(limiting.limit(), ops::recv(some_socket, buffer)));
    }(subject, got));
    subject.on.loop.run_ready();

    subject.on.script.complete(subject.on.script.only(IORING_OP_RECV), 3);
    subject.on.loop.run_ready();
    subject.advance(10ms);

    CHECK(got == std::vector<std::optional<std::size_t>>{3, std::nullopt});
    subject.check_clean();
  });
}

TEST_CASE("on any clock, a coroutine of another type can set deadlines, and tells a timeout from a stop") {
  for_each_way([](const way& by) {
    for (const bool cancelled : {true, false}) {
      CAPTURE(cancelled);
      clocked subject{by};
      auto root = subject.on.loop.start([](detail::clocked_limit when) -> task<int> {
        const auto foreign = [](detail::clocked_limit limit) -> foreign_task {
          std::vector<std::byte> buffer(4);
          try {
            co_await with_deadline(limit, ops::recv(some_socket, buffer));
          } catch (const std::system_error& error) {
            co_return error.code().value();
          }
          co_return 0;
        };
        co_return co_await foreign(when);
      }(subject.limit()));
      subject.on.loop.run_ready();

      if (cancelled) root.cancel();
      subject.advance(cancelled ? 0ms : 10ms);

      REQUIRE(root.done());
      CHECK(root.get() == (cancelled ? ECANCELED : ETIMEDOUT));
    }
  });
}

TEST_CASE("an operation in a scope that is cancelled is stopped, and its deadline never armed in the kernel") {
  for_each_way([](const way& by) {
    clocked subject{by};
    outcome noted;
    auto root = subject.on.loop.start([](clocked& limiting, outcome& to) -> task<> {
      co_await with_cancel_scope([&](cancel_scope& scope) -> task<> {
        scope.cancel();
        co_await recv_until(limiting.limit(), to);
      });
    }(subject, noted));

    subject.on.loop.run_ready();

    CHECK(noted.how == ended::stopped);
    CHECK(subject.on.script.taken_count(IORING_OP_RECV) == 0);
    subject.check_clean();
  });
}

// ------------------------------------------------------------------------------------ clocks that go other ways

TEST_CASE("a deadline on the system clock passes when that clock is set to after it") {
  for_each_way([](const way& by) {
    limited_recv subject{by};

    subject.on.script.step_system_clock(1h);
    subject.on.loop.run_ready();
    CHECK(subject.recv().stop_asked == (by.clock == clock_id::system));
    if (by.clock != clock_id::system) subject.advance(10ms);
    subject.answer(-ECANCELED);

    CHECK(subject.noted.error == std::errc::timed_out);
  });
}

TEST_CASE("a deadline on the system clock waits on when that clock is set back, and on no other") {
  for_each_way([](const way& by) {
    limited_recv subject{by};

    subject.advance(4ms);
    subject.on.script.step_system_clock(-1s);
    subject.advance(6ms);
    CHECK(subject.recv().stop_asked == (by.clock != clock_id::system));
    if (by.clock == clock_id::system) subject.advance(1s);
    CHECK(subject.recv().stop_asked);
    subject.answer(-ECANCELED);

    CHECK(subject.noted.error == std::errc::timed_out);
  });
}

TEST_CASE("a linked timeout that has fired is a timeout, also when the clock is set back before anybody looks") {
  for_each_way([](const way& by) {
    if (!by.linked()) return;
    limited_recv subject{by};

    subject.on.script.advance(10ms);  // it fires
    subject.on.script.step_system_clock(-1h);
    subject.on.loop.run_ready();
    subject.answer(-ECANCELED);

    CHECK(subject.noted.error == std::errc::timed_out);
  });
}

TEST_CASE("a timer of the system clock whose timeout fires and whose clock is set back before anybody looks waits on") {
  limited_recv subject{{"system, timers", clock_id::system, false, linked_never}};

  subject.on.script.advance(10ms);
  subject.on.script.step_system_clock(-1s);
  subject.on.loop.run_ready();
  CHECK(!subject.recv().stop_asked);
  subject.advance(1s - 1ns);
  CHECK(!subject.recv().stop_asked);
  subject.advance(1ns);
  CHECK(subject.recv().stop_asked);
  subject.answer(-ECANCELED);

  CHECK(subject.noted.error == std::errc::timed_out);
}

TEST_CASE("time that the machine is suspended counts on the boot clock and the system clock") {
  for_each_way([](const way& by) {
    limited_recv subject{by};

    subject.on.script.suspend(10ms);
    subject.on.loop.run_ready();
    CHECK(subject.recv().stop_asked == (by.clock != clock_id::steady));
    if (by.clock == clock_id::steady) subject.advance(10ms);
    subject.answer(-ECANCELED);

    CHECK(subject.noted.error == std::errc::timed_out);
  });
}

// ------------------------------------------------------------------------------------------------------- moves

TEST_CASE("a deadline that is moved to later ends the operation then, and not before") {
  for_each_movable_way([](const way& by) {
    limited_recv subject{by};

    subject.advance(4ms);
    subject.move(20ms);
    subject.on.loop.run_ready();
    CHECK(subject.on.script.taken_count(IORING_OP_TIMEOUT_REMOVE) == (by.linked() ? 1 : 0));
    subject.advance(20ms - 1ns);
    CHECK(!subject.recv().stop_asked);
    subject.advance(1ns);
    CHECK(subject.recv().stop_asked);
    subject.answer(-ECANCELED);

    CHECK(subject.noted.error == std::errc::timed_out);
  });
}

TEST_CASE("a deadline that is moved to earlier, or into the past, ends the operation then") {
  for_each_movable_way([](const way& by) {
    for (const auto to : {nanoseconds{2ms}, 0ns, nanoseconds{-1h}}) {
      CAPTURE(to.count());
      limited_recv subject{by};

      subject.move(to);
      subject.on.loop.run_ready();
      CHECK(subject.recv().stop_asked == (to <= 0ns));
      subject.advance(std::max(to, 0ns));
      CHECK(subject.recv().stop_asked);
      subject.answer(-ECANCELED);

      CHECK(subject.noted.error == std::errc::timed_out);
    }
  });
}

TEST_CASE("a deadline that is moved on again and again keeps the operation going, at one request a turn") {
  for_each_movable_way([](const way& by) {
    limited_recv subject{by};

    for (int turn = 0; turn < 50; ++turn) {
      for (int move = 0; move < 10; ++move) subject.move(1ms * move + 1ms);
      subject.on.loop.run_ready();
      subject.advance(9ms);
      CHECK(!subject.recv().stop_asked);
    }

    const std::size_t of_timers = by.clock == clock_id::steady ? 0 : 1;  // to earlier: once, and then never again
    CHECK(subject.on.script.taken_count(IORING_OP_TIMEOUT_REMOVE) == (by.linked() ? 50 : of_timers));
    subject.answer(4);
    CHECK(subject.noted.how == ended::with_value);
  });
}

TEST_CASE("a deadline that was moved while nobody waited holds for the next wait, and can be used again") {
  for_each_movable_way([](const way& by) {
    clocked subject{by};
    std::vector<outcome> noted(3);
    auto root = subject.on.loop.start([](clocked& limiting, std::vector<outcome>& to) -> task<> {
      for (outcome& each : to) co_await recv_until(limiting.limit(), each);
    }(subject, noted));
    subject.move(2ms);
    subject.on.loop.run_ready();

    subject.advance(2ms);
    CHECK(noted[0].error == std::errc::timed_out);
    CHECK(noted[1].error == std::errc::timed_out);  // it has passed
    CHECK(noted[2].error == std::errc::timed_out);
    CHECK(root.done());
    subject.check_clean();

    subject.move(5ms);
    auto again = subject.on.loop.start(recv_until(subject.limit(), noted[0]));
    subject.on.loop.run_ready();
    subject.advance(5ms - 1ns);
    CHECK(noted[0].how == ended::not_yet);
    subject.advance(1ns);
    CHECK(noted[0].error == std::errc::timed_out);
  });
}

TEST_CASE("a deadline that is moved while the operation is described, and not submitted, is moved behind it") {
  for_each_movable_way([](const way& by) {
    clocked subject{by};
    outcome noted;
    auto root = subject.on.loop.start(recv_until(subject.limit(), noted));
    auto moves = subject.on.loop.start([](clocked& limiting) -> task<> {
      limiting.move(20ms);
      co_return;
    }(subject));

    subject.on.loop.run_ready();
    subject.advance(20ms - 1ns);
    CHECK(noted.how == ended::not_yet);
    subject.advance(1ns);

    CHECK(noted.error == std::errc::timed_out);
    subject.check_clean();
  });
}

TEST_CASE("a deadline that is moved while the operation waits for a place is what it is submitted with") {
  for_each_movable_way([](const way& by) {
    clocked subject{by, {.sq_entries = 4}};
    std::array<outcome, 4> fillers;
    std::vector<std::unique_ptr<root_task<void>>> roots;
    for (auto& each : fillers)
      roots.push_back(std::make_unique<root_task<void>>(subject.on.loop, observe(ops::nop(), each)));
    outcome noted;
    auto root = subject.on.loop.start(recv_until(subject.limit(), noted));
    subject.on.script.refuse(EBUSY);
    subject.on.loop.turn(/*may_park=*/false);
    CHECK(subject.on.script.taken_count(IORING_OP_RECV) == 0);

    subject.move(20ms);
    subject.on.loop.run_ready();
    for (const auto& each : subject.on.script.in_flight(IORING_OP_NOP)) subject.on.script.complete(each, 0);
    subject.on.loop.run_ready();
    subject.advance(20ms - 1ns);
    CHECK(noted.how == ended::not_yet);
    subject.advance(1ns);

    CHECK(noted.error == std::errc::timed_out);
    CHECK(subject.on.script.taken_count(IORING_OP_TIMEOUT_REMOVE) == 0);
  });
}

TEST_CASE("a move that comes when the deadline has passed is too late: timed out, or the result that crossed") {
  for_each_movable_way([](const way& by) {
    for (const int res : {-ECANCELED, 4}) {
      CAPTURE(res);
      limited_recv subject{by};

      subject.reach_deadline();
      subject.move(20ms);
      subject.on.loop.run_ready();
      subject.answer(res);

      if (res > 0) CHECK(subject.noted.how == ended::with_value);
      else CHECK(subject.noted.error == std::errc::timed_out);
    }
  });
}

TEST_CASE("a move that comes when the linked timeout has fired, and nobody has heard of it, is too late") {
  for_each_movable_way([](const way& by) {
    if (!by.linked()) return;
    limited_recv subject{by};

    subject.on.script.advance(10ms);  // it fires
    subject.move(20ms);
    subject.on.loop.run_ready();
    subject.answer(-ECANCELED);

    CHECK(subject.noted.error == std::errc::timed_out);
  });
}

TEST_CASE("a linked timeout that fires between the move and the kernel's taking it ends the operation as timed out") {
  for_each_movable_way([](const way& by) {
    if (!by.linked()) return;
    limited_recv subject{by};

    subject.move(20ms);
    subject.on.script.on_enter = [&] {
      subject.on.script.on_enter = nullptr;
      subject.on.script.advance(10ms);
    };
    subject.on.loop.run_ready();
    CHECK(subject.on.script.taken_count(IORING_OP_TIMEOUT_REMOVE) == 1);
    CHECK(subject.recv().stop_asked);
    subject.answer(-ECANCELED);

    CHECK(subject.noted.error == std::errc::timed_out);
  });
}

TEST_CASE("a move between the deadline's coming and the turn that sees it is in time where the executor keeps it") {
  limited_recv subject{{"movable, timers", clock_id::steady, true, linked_never}};

  subject.on.script.advance(10ms);
  subject.move(20ms);
  subject.on.loop.run_ready();
  CHECK(!subject.recv().stop_asked);
  subject.advance(20ms);
  CHECK(subject.recv().stop_asked);
  subject.answer(-ECANCELED);

  CHECK(subject.noted.error == std::errc::timed_out);
}

TEST_CASE("a move and the completion, in either order and in the same turn: the result, and nothing is left") {
  for_each_movable_way([](const way& by) {
    for (const int order : {0, 1, 2}) {
      if (order == 2 && !by.linked()) continue;  // it is not submitted
      CAPTURE(order);
      limited_recv subject{by};

      if (order == 1) subject.on.script.complete(subject.recv(), 4);  // posted, not taken
      subject.move(20ms);
      if (order == 0) subject.on.loop.run_ready();  // the kernel has taken the move
      if (order == 2)
        subject.on.script.on_enter = [&] {
          subject.on.script.on_enter = nullptr;
          subject.on.script.complete(subject.recv(), 4);  // before it takes it
        };
      if (order == 0) subject.on.script.complete(subject.recv(), 4);
      subject.on.loop.run_ready();

      CHECK(subject.noted.how == ended::with_value);
      subject.check_clean();
      subject.advance(1h);
      CHECK(subject.on.script.in_flight().empty());
    }
  });
}

TEST_CASE("a move of what was completed, but not resumed, changes nothing") {
  for_each_movable_way([](const way& by) {
    limited_recv subject{by, /*turn_budget=*/2};
    auto ready_before = subject.on.loop.start(do_nothing());
    auto ready_too = subject.on.loop.start(do_nothing());
    subject.on.script.complete(subject.recv(), 4);
    subject.on.loop.turn(/*may_park=*/false);
    CHECK(subject.noted.how == ended::not_yet);

    subject.move(-1s);
    subject.on.loop.run_ready();

    CHECK(subject.noted.how == ended::with_value);
    CHECK(subject.on.script.taken_count(IORING_OP_ASYNC_CANCEL) == 0);
    subject.check_clean();
  });
}

TEST_CASE("a cancel and a move, in either order and in the same turn, are a stop") {
  for_each_movable_way([](const way& by) {
    for (const bool move_first : {true, false}) {
      for (const bool same_turn : {true, false}) {
        CAPTURE(move_first);
        CAPTURE(same_turn);
        limited_recv subject{by};

        if (move_first) subject.move(-1s);
        else subject.root.cancel();
        if (!same_turn) subject.on.loop.run_ready();
        if (move_first) subject.root.cancel();
        else subject.move(-1s);
        subject.on.loop.run_ready();
        subject.answer(-ECANCELED);

        CHECK(subject.noted.how == ended::stopped);
      }
    }
  });
}

TEST_CASE("what was moved on, and is ended by somebody else after its old time, is not timed out") {
  for_each_movable_way([](const way& by) {
    limited_recv subject{by};

    subject.move(20ms);
    subject.on.loop.run_ready();
    subject.advance(15ms);
    subject.answer(-ECANCELED);

    CHECK(subject.noted.error == std::errc::operation_canceled);
  });
}

TEST_CASE("moves that find the queue full follow when there is room, for the time that is left then") {
  for_each_movable_way([](const way& by) {
    clocked subject{by, {.sq_entries = 2}};
    outcome noted;
    auto root = subject.on.loop.start(recv_until(subject.limit(), noted));
    subject.on.loop.run_ready();
    std::array<outcome, 2> fillers;
    auto first = subject.on.loop.start(observe(ops::nop(), fillers[0]));
    auto second = subject.on.loop.start(observe(ops::nop(), fillers[1]));
    auto moves = subject.on.loop.start([](clocked& limiting) -> task<> {
      limiting.move(20ms);
      co_return;
    }(subject));
    subject.on.script.on_enter = [&] {
      subject.on.script.on_enter = nullptr;
      subject.on.script.advance(4ms);
    };

    subject.on.loop.run_ready();
    for (const auto& each : subject.on.script.in_flight(IORING_OP_NOP)) subject.on.script.complete(each, 0);
    subject.on.loop.run_ready();
    subject.advance(16ms - 1ns);
    CHECK(noted.how == ended::not_yet);
    subject.advance(1ns);

    CHECK(noted.error == std::errc::timed_out);
  });
}

TEST_CASE("a move that the kernel refused at first is for the time that is left when it takes it") {
  for_each_movable_way([](const way& by) {
    limited_recv subject{by};

    subject.move(20ms);
    subject.on.script.refuse(EBUSY);
    subject.on.loop.turn(/*may_park=*/false);
    subject.on.script.advance(4ms);
    subject.on.loop.run_ready();
    subject.advance(16ms - 1ns);
    CHECK(!subject.recv().stop_asked);
    subject.advance(1ns);
    CHECK(subject.recv().stop_asked);
    subject.answer(-ECANCELED);

    CHECK(subject.noted.error == std::errc::timed_out);
  });
}

TEST_CASE("a move of an operation whose linked timeout the kernel lost holds in the timers") {
  for_each_movable_way([](const way& by) {
    if (!by.linked()) return;
    for (const bool before_it_is_lost : {true, false}) {
      CAPTURE(before_it_is_lost);
      clocked subject{by};
      outcome noted;
      auto root = subject.on.loop.start(recv_until(subject.limit(), noted));
      auto moves = subject.on.loop.start([](clocked& limiting, bool now) -> task<> {
        if (now) limiting.move(20ms);
        co_return;
      }(subject, before_it_is_lost));
      subject.on.script.refuse(EAGAIN, /*taken_count=*/1);
      subject.on.loop.run_ready();
      if (!before_it_is_lost) subject.move(20ms);

      subject.advance(20ms - 1ns);
      CHECK(noted.how == ended::not_yet);
      subject.advance(1ns);

      CHECK(noted.error == std::errc::timed_out);
      subject.check_clean();
    }
  });
}

TEST_CASE("a move between the parts of a transfer holds for the parts that follow") {
  for_each_movable_way([](const way& by) {
    clocked subject{by};
    outcome noted;
    auto root = subject.on.loop.start(recv_all_until(subject.limit(), noted));
    subject.on.loop.run_ready();
    subject.on.script.complete(subject.on.script.only(IORING_OP_RECV), 2);
    subject.move(20ms);
    subject.on.loop.run_ready();

    subject.advance(20ms - 1ns);
    CHECK(noted.how == ended::not_yet);
    subject.advance(1ns);

    CHECK(noted.error == std::errc::timed_out);
    subject.check_clean();
  });
}

// ------------------------------------------------------------------------------- what the linked timeout itself says

namespace {

constexpr way heard{"movable, linked", clock_id::steady, true, linked_always};

}  // namespace

TEST_CASE("each answer of a linked timeout that has fired means timed out, also where time does not show it") {
  for (const int res : {-ETIME, -EALREADY, 1}) {
    CAPTURE(res);
    limited_recv subject{heard};
    subject.on.script.links_by_hand = true;

    subject.on.script.complete(subject.on.script.only(IORING_OP_LINK_TIMEOUT), res);
    subject.on.loop.run_ready();
    subject.move(1h);
    subject.answer(-ECANCELED);

    CHECK(subject.noted.error == std::errc::timed_out);
  }
}

TEST_CASE("an answer of a linked timeout that has not fired means nothing") {
  for (const int res : {-ECANCELED, -ENOENT}) {
    CAPTURE(res);
    limited_recv subject{heard};
    subject.on.script.links_by_hand = true;

    subject.on.script.complete(subject.on.script.only(IORING_OP_LINK_TIMEOUT), res);
    subject.on.loop.run_ready();
    subject.answer(-ECANCELED);

    CHECK(subject.noted.error == std::errc::operation_canceled);
  }
}

TEST_CASE("a linked timeout that ends long after its operation touches nothing of it, nor of the one that came after") {
  for (const int res : {-ETIME, -ECANCELED}) {
    CAPTURE(res);
    clocked subject{heard};
    subject.on.script.links_by_hand = true;
    outcome first;
    outcome second;
    auto one = subject.on.loop.start(recv_until(subject.limit(), first));
    subject.on.loop.run_ready();
    const auto late = subject.on.script.only(IORING_OP_LINK_TIMEOUT);
    subject.on.script.complete(subject.on.script.only(IORING_OP_RECV), 4);
    subject.on.loop.run_ready();
    CHECK(first.how == ended::with_value);

    auto other = subject.on.loop.start(recv_until(subject.limit(), second));
    subject.on.loop.run_ready();
    subject.on.script.complete(late, res);
    subject.on.loop.run_ready();
    subject.on.script.complete(subject.on.script.only(IORING_OP_RECV), -ECANCELED);
    subject.on.script.links_by_hand = false;
    subject.on.script.complete(subject.on.script.only(IORING_OP_LINK_TIMEOUT), -ECANCELED);
    subject.on.loop.run_ready();

    CHECK(second.error == std::errc::operation_canceled);
    CHECK(subject.on.loop.in_kernel_count() == 0);
  }
}

TEST_CASE("an executor that ends waits for linked timeouts whose operations have ended") {
  scripted_ring::request late;
  clocked subject{heard};
  subject.on.script.links_by_hand = true;
  outcome noted;
  auto root = subject.on.loop.start(recv_until(subject.limit(), noted));
  subject.on.loop.run_ready();
  late = subject.on.script.only(IORING_OP_LINK_TIMEOUT);
  subject.on.script.complete(subject.on.script.only(IORING_OP_RECV), 4);
  subject.on.loop.run_ready();
  REQUIRE(root.done());
  CHECK(subject.on.loop.in_kernel_count() == 1);

  subject.on.script.on_sleep = [&] { subject.on.script.complete(late, -ECANCELED); };
}

// ------------------------------------------------------------------------------------------------------ on tasks

namespace {

task<int> recv_in_task() {
  std::vector<std::byte> buffer(4);
  co_await ops::recv(some_socket, buffer);
  co_return 7;
}

task<> run_until(detail::clocked_limit when, outcome& noted) {
  co_await observe(with_deadline(when, recv_in_task()), noted);
}

}  // namespace

TEST_CASE("on any clock, a task is timed out at its time, or gives the value that came first") {
  for_each_way([](const way& by) {
    for (const bool completes : {true, false}) {
      CAPTURE(completes);
      clocked subject{by};
      outcome noted;
      auto root = subject.on.loop.start(run_until(subject.limit(), noted));
      subject.on.loop.run_ready();

      subject.advance(10ms - 1ns);
      CHECK(noted.how == ended::not_yet);
      if (completes) subject.on.script.complete(subject.on.script.only(IORING_OP_RECV), 4);
      subject.advance(1ns);

      if (completes) CHECK(noted.how == ended::with_value);
      else CHECK(noted.error == std::errc::timed_out);
      subject.check_clean();
    }
  });
}

TEST_CASE("a task whose deadline is moved is timed out then; when it has ended, the next one is") {
  for_each_movable_way([](const way& by) {
    clocked subject{by};
    outcome noted;
    auto root = subject.on.loop.start(run_until(subject.limit(), noted));
    subject.on.loop.run_ready();

    subject.move(20ms);
    subject.advance(20ms - 1ns);
    CHECK(noted.how == ended::not_yet);
    subject.advance(1ns);
    CHECK(noted.error == std::errc::timed_out);

    subject.move(5ms);
    auto next = subject.on.loop.start(run_until(subject.limit(), noted));
    subject.on.loop.run_ready();
    subject.advance(5ms);
    CHECK(noted.error == std::errc::timed_out);
    subject.check_clean();
  });
}

TEST_CASE("a move of a task's deadline that has passed comes too late, also where it passes again") {
  for_each_movable_way([](const way& by) {
    for (const auto to : {nanoseconds{1h}, nanoseconds{-1s}}) {
      CAPTURE(to.count());
      clocked subject{by, {.on_cancel = scripted_ring::cancels::by_hand}};
      outcome noted;
      auto root = subject.on.loop.start(run_until(subject.limit(), noted));
      subject.on.loop.run_ready();
      subject.advance(10ms);

      subject.move(to);
      subject.on.loop.run_ready();
      subject.on.script.complete(subject.on.script.only(IORING_OP_RECV), -ECANCELED);
      subject.on.loop.run_ready();

      CHECK(noted.error == std::errc::timed_out);
      for (const auto& each : subject.on.script.in_flight(IORING_OP_ASYNC_CANCEL)) subject.on.script.complete(each, 0);
      subject.on.loop.run_ready();
    }
  });
}

TEST_CASE("on any clock, a task with a deadline that is cancelled from outside is stopped") {
  for_each_way([](const way& by) {
    clocked subject{by};
    outcome noted;
    auto root = subject.on.loop.start(run_until(subject.limit(), noted));
    subject.on.loop.run_ready();

    root.cancel();
    subject.on.loop.run_ready();

    CHECK(noted.how == ended::stopped);
    subject.check_clean();
  });
}

TEST_CASE("of deadlines on several clocks that nest, the nearest one wins") {
  scripted_executor on;
  outcome inner;
  outcome outer;
  auto root = on.loop.start([](scripted_executor& loop, outcome& in, outcome& out) -> task<> {
    const auto at = [&](clock_id clock, nanoseconds from_now) {
      return detail::clocked_limit{point_in_time{clock, loop.script.now_on(clock) + from_now.count()}};
    };
    const auto nested = [&](nanoseconds boot, outcome& to) -> task<> {
      co_await observe(with_deadline(at(clock_id::boot, boot), recv_in_task()), to);
      co_await recv_in_task();
    };
    co_await observe(with_deadline(at(clock_id::system, 10ms), nested(5ms, in)), out);
    co_await observe(with_deadline(at(clock_id::system, 10ms), nested(20ms, in)), out);
  }(on, inner, outer));
  on.loop.run_ready();

  on.script.advance(5ms);
  on.loop.run_ready();
  CHECK(inner.error == std::errc::timed_out);
  CHECK(outer.how == ended::not_yet);
  on.script.advance(5ms);
  on.loop.run_ready();
  CHECK(outer.how == ended::not_yet);  // the first has timed out, and the second has begun
  on.script.advance(10ms);
  on.loop.run_ready();

  CHECK(inner.how == ended::stopped);
  CHECK(outer.error == std::errc::timed_out);
}

// --------------------------------------------------------------------------------------------- movable_deadline

TEST_CASE("a movable deadline takes durations and points in time, and tells its expiry") {
  scripted_executor on;
  outcome noted;
  auto root = on.loop.start([](scripted_executor& loop, outcome& to) -> task<> {
    const auto on_steady = [&](nanoseconds from_now) {
      return std::chrono::steady_clock::time_point{nanoseconds{loop.script.now()} + from_now};
    };
    movable_deadline idle{10ms};
    CHECK(idle.expiry() == on_steady(10ms));
    idle.expires_after(20ms);
    CHECK(idle.expiry() == on_steady(20ms));
    idle.expires_at(on_steady(5ms));
    CHECK(idle.expiry() == on_steady(5ms));
    std::vector<std::byte> buffer(4);
    co_await observe(with_deadline(idle, ops::recv(some_socket, buffer)), to);
  }(on, noted));
  on.loop.run_ready();

  on.script.advance(5ms);
  on.loop.run_ready();

  CHECK(noted.error == std::errc::timed_out);
}

TEST_CASE("a movable deadline is on the clock of the point that it is made of, or on the one that is named") {
  scripted_executor on;
  auto root = on.loop.start([](scripted_executor& loop) -> task<> {
    const auto later_today =
        std::chrono::system_clock::time_point{std::chrono::duration_cast<std::chrono::system_clock::duration>(
            nanoseconds{loop.script.now_on(clock_id::system)} + 1h)};
    movable_deadline<std::chrono::system_clock> deduced = movable_deadline{later_today};
    CHECK(deduced.expiry() == later_today);
    movable_deadline<boot_clock> named{1s};
    CHECK(named.expiry().time_since_epoch() == nanoseconds{loop.script.now_on(clock_id::boot)} + 1s);
    named.expires_at(boot_clock::time_point::max());
    CHECK(named.expiry() == boot_clock::time_point::max());
    co_return;
  }(on));

  on.loop.run_ready();

  CHECK(root.done());
}

TEST_CASE("with_deadline() and move_on_at() take time points of the boot clock and the system clock") {
  scripted_executor on{{.boot_ahead = 3'000'000'000}, {.linked_timeout_max = 1s}};
  std::vector<outcome> noted(4);
  auto root = on.loop.start([](scripted_executor& loop, std::vector<outcome>& to) -> task<> {
    const boot_clock::time_point boot{nanoseconds{loop.script.now_on(clock_id::boot)} + 10ms};
    const std::chrono::sys_seconds today{
        std::chrono::ceil<std::chrono::seconds>(nanoseconds{loop.script.now_on(clock_id::system)} + 500ms)};
    std::vector<std::byte> buffer(4);
    co_await observe(with_deadline(boot, ops::recv(some_socket, buffer)), to[0]);
    co_await observe(with_deadline(boot, recv_in_task()), to[1]);
    co_await observe(with_deadline(today, sleep_for(1h)), to[2]);
    const auto received = co_await move_on_at(today, ops::recv(some_socket, buffer));
    to[3].how = received ? ended::with_value : ended::stopped;
  }(on, noted));
  on.loop.run_ready();

  on.script.advance(10ms);
  on.loop.run_ready();
  CHECK(noted[1].error == std::errc::timed_out);
  CHECK(noted[2].how == ended::not_yet);
  on.script.advance(2s);
  on.loop.run_ready();

  CHECK(noted[0].error == std::errc::timed_out);
  CHECK(noted[2].error == std::errc::timed_out);
  CHECK(noted[3].how == ended::stopped);
  CHECK(root.done());
}

}  // namespace gyre
