// SPDX-License-Identifier: MIT
// Who may cancel a scope and when, what its deadline does, and what is told of it.
#include <gyre/runtime/as_result.hpp>
#include <gyre/runtime/cancel_scope.hpp>
#include <gyre/runtime/deadline.hpp>
#include <gyre/runtime/diagnosis.hpp>
#include <gyre/runtime/ops/misc.hpp>
#include <gyre/runtime/ops/socket.hpp>
#include <gyre/runtime/scope.hpp>
#include <gyre/runtime/task_group.hpp>
#include <gyre/runtime/this_task.hpp>
#include <gyre/runtime/timer.hpp>

#include "../support/outcome.hpp"
#include "../support/scripted.hpp"

#include <doctest/doctest.h>
#include <liburing.h>

#include <cerrno>
#include <chrono>
#include <optional>
#include <string>
#include <vector>

namespace gyre {
namespace {

using namespace std::chrono_literals;
using namespace test;
using detail::scripted_ring;
using time_point = std::chrono::steady_clock::time_point;

constexpr int some_socket = 1'000'123;

time_point in(scripted_executor& on, std::chrono::nanoseconds duration) {
  return time_point{std::chrono::nanoseconds{on.script.now()} + duration};
}

task<> receive(outcome& noted) {
  const stop_watch watch{noted};
  std::vector<std::byte> buffer(4);
  co_await ops::recv(some_socket, buffer);
  noted.how = ended::with_value;
}

task<> sleep_long(outcome& noted) {
  const stop_watch watch{noted};
  co_await sleep_for(1h);
  noted.how = ended::with_value;
}

// A scope that somebody outside holds, around a task that receives, and how each ended.
struct scope_in_flight {
  explicit scope_in_flight(scripted_ring::cancels how = scripted_ring::cancels::like_the_kernel)
      : on{{.on_cancel = how}} {
    on.loop.run_ready();
  }

  // Cancels whatever is left, so that the test can end early.
  ~scope_in_flight() {
    root.cancel();
    on.loop.run_ready();
    for (const auto& each : on.script.in_flight(IORING_OP_RECV)) on.script.complete(each, -ECANCELED);
    on.loop.run_ready();
  }

  static task<> run(cancel_scope*& found, outcome& inside, std::optional<bool>& whole) {
    whole = co_await with_cancel_scope([&](cancel_scope& scope) {
      found = &scope;
      return receive(inside);
    });
  }

  scripted_executor on;
  cancel_scope* scope = nullptr;
  outcome noted;
  std::optional<bool> whole;
  root_task<void> root = on.loop.start(run(scope, noted, whole));
};

// Cancels a scope when it is destroyed.
class cancels_at_its_end {
 public:
  explicit cancels_at_its_end(cancel_scope& scope) noexcept : scope_{scope} {}
  cancels_at_its_end(const cancels_at_its_end&) = delete;
  cancels_at_its_end& operator=(const cancels_at_its_end&) = delete;
  ~cancels_at_its_end() { scope_.cancel("a destructor ran"); }

 private:
  cancel_scope& scope_;
};

bool contains(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

}  // namespace

// ---------------------------------------------------------------------------------------------------- who cancels it

TEST_CASE("a scope can be cancelled by the task that runs in it") {
  scripted_executor on;
  std::optional<bool> whole;
  outcome noted;
  auto root = on.loop.start([](std::optional<bool>& to, outcome& inside) -> task<> {
    to = co_await with_cancel_scope([&](cancel_scope& scope) -> task<> {
      scope.cancel();
      co_await sleep_long(inside);
    });
  }(whole, noted));

  on.loop.run_ready();

  CHECK(noted.how == ended::stopped);
  CHECK(whole == false);
}

TEST_CASE("a scope can be cancelled by a child of a group inside it, and its siblings are stopped") {
  scripted_executor on;
  std::optional<bool> whole;
  outcome sibling;
  outcome cancels;
  auto root = on.loop.start([](std::optional<bool>& to, outcome& other, outcome& self) -> task<> {
    to = co_await with_cancel_scope([&](cancel_scope& scope) -> task<> {
      co_await with_task_group([&](task_group& group) -> task<> {
        group.start(sleep_long(other));
        group.start([&]() -> task<> {
          co_await this_task::yield();
          scope.cancel();
          co_await sleep_long(self);
        });
        co_return;
      });
    });
  }(whole, sibling, cancels));

  on.loop.run_ready();

  CHECK(sibling.how == ended::stopped);
  CHECK(cancels.how == ended::stopped);
  CHECK(whole == false);
  CHECK(root.done());
}

TEST_CASE("a child can cancel one sibling's scope, and the others go on") {
  scripted_executor on;
  outcome cancelled;
  outcome other;
  auto root = on.loop.start([](outcome& one, outcome& two) -> task<> {
    co_await with_task_group([&](task_group& group) -> task<> {
      cancel_scope* of_one = nullptr;
      group.start([&]() -> task<> {
        (void)co_await with_cancel_scope([&](cancel_scope& mine) {
          of_one = &mine;
          return sleep_long(one);
        });
      });
      group.start(sleep_long(two));
      co_await this_task::yield();
      of_one->cancel();
    });
  }(cancelled, other));

  on.loop.run_ready();
  CHECK(cancelled.how == ended::stopped);
  CHECK(other.how == ended::not_yet);

  on.script.advance(1h);
  on.loop.run_ready();
  CHECK(other.how == ended::with_value);
  CHECK(root.done());
}

TEST_CASE("a destructor that runs in a stop can cancel the scope that is being left, and one around it") {
  for (const bool cancels_outer : {false, true}) {
    CAPTURE(cancels_outer);
    scripted_executor on;
    cancel_scope* inner = nullptr;
    outcome sibling;
    bool went_on = false;
    auto root = on.loop.start([](bool outer, cancel_scope*& found, outcome& other, bool& after) -> task<> {
      cancel_scope& around = co_await this_task::scope();
      co_await with_task_group([&](task_group& group) -> task<> {
        group.start(sleep_long(other));
        (void)co_await with_cancel_scope([&](cancel_scope& mine) -> task<> {
          found = &mine;
          const cancels_at_its_end at_the_end{outer ? around : mine};
          co_await sleep_for(1h);
        });
        after = true;
        group.cancel();
      });
    }(cancels_outer, inner, sibling, went_on));
    on.loop.run_ready();

    inner->cancel();
    on.loop.run_ready();

    CHECK(sibling.how == ended::stopped);
    CHECK(went_on == !cancels_outer);
    CHECK(root.stopped() == cancels_outer);
  }
}

TEST_CASE("a destructor of a task that ends well can cancel the scope, and the value is delivered") {
  scripted_executor on;
  std::optional<int> got;
  auto root = on.loop.start([](std::optional<int>& to) -> task<> {
    to = co_await with_cancel_scope([](cancel_scope& scope) -> task<int> {
      const cancels_at_its_end at_the_end{scope};
      co_return 42;
    });
  }(got));

  on.loop.run_ready();

  CHECK(got == 42);
}

// ------------------------------------------------------------------------------------------------------- its reason

TEST_CASE("the reason of a cancel is told beside whoever does not stop") {
  scope_in_flight subject{scripted_ring::cancels::by_hand};
  CHECK(!contains(dump_tasks(subject.on.loop), "asked to stop"));

  subject.scope->cancel("the user has left");
  subject.on.loop.run_ready();

  CHECK(subject.noted.how == ended::not_yet);
  CHECK(subject.scope->stop_reason() == "the user has left");
  CHECK(contains(dump_tasks(subject.on.loop), "; asked to stop: the user has left\n"));
}

TEST_CASE("without a reason it is told that a stop was asked for, and no more") {
  scope_in_flight subject{scripted_ring::cancels::by_hand};

  subject.scope->cancel();
  subject.on.loop.run_ready();

  CHECK(subject.scope->stop_reason().empty());
  CHECK(contains(dump_tasks(subject.on.loop), "; asked to stop\n"));
}

TEST_CASE("the cancel that came first gives the reason, at whichever scope it came") {
  for (const bool outer_first : {true, false}) {
    CAPTURE(outer_first);
    scope_in_flight subject{scripted_ring::cancels::by_hand};

    if (outer_first) subject.root.cancel("outer");
    subject.scope->cancel("inner");
    subject.scope->cancel("inner once more");
    subject.root.cancel("outer too late");

    CHECK(subject.scope->stop_reason() == (outer_first ? "outer" : "inner"));
  }
}

TEST_CASE("a scope that is opened in a cancelled one has its reason; a shield has none") {
  scripted_executor on;
  std::string in_scope;
  std::string in_shield = "unset";
  auto root = on.loop.start([](std::string& scope_says, std::string& shield_says) -> task<> {
    (co_await this_task::scope()).cancel("enough");
    (void)co_await with_cancel_scope([&](cancel_scope& inner) -> task<> {
      scope_says = inner.stop_reason();
      co_return;
    });
    const auto looks = [&]() -> task<> { shield_says = (co_await this_task::scope()).stop_reason(); };
    co_await shield(looks());
  }(in_scope, in_shield));

  on.loop.run_ready();

  CHECK(in_scope == "enough");
  CHECK(in_shield.empty());
}

TEST_CASE("a deadline and a failed sibling are reasons, too") {
  scripted_executor on;
  std::string of_deadline;
  std::string of_sibling;
  auto root = on.loop.start([](std::string& deadline_says, std::string& group_says) -> task<> {
    const auto waits = [](std::string& to) -> task<> {
      (void)co_await as_result(stopped_as_error(sleep_for(1h)));
      to = (co_await this_task::scope()).stop_reason();
    };
    (void)co_await as_result(with_timeout(1s, waits(deadline_says)));
    (void)co_await as_result(with_task_group([&](task_group& group) -> task<> {
      group.start(waits(group_says));
      co_await this_task::yield();
      throw std::system_error{std::make_error_code(std::errc::io_error)};
    }));
  }(of_deadline, of_sibling));
  on.loop.run_ready();

  on.script.advance(1s);
  on.loop.run_ready();

  CHECK(of_deadline == "its deadline has passed");
  CHECK(of_sibling == "another task of its group has failed");
}

// ----------------------------------------------------------------------------------------------------- its deadline

TEST_CASE("a scope can be given a deadline, which cancels it") {
  scope_in_flight subject;
  CHECK(!subject.scope->deadline());
  const time_point when = in(subject.on, 10ms);

  subject.scope->set_deadline(when);
  CHECK(subject.scope->deadline() == when);
  subject.on.script.advance(10ms - 1ns);
  subject.on.loop.run_ready();
  CHECK(subject.noted.how == ended::not_yet);

  subject.on.script.advance(1ns);
  subject.on.loop.run_ready();
  CHECK(subject.noted.how == ended::stopped);
  CHECK(subject.whole == false);
}

TEST_CASE("a deadline can be moved, to earlier and to later, and taken away") {
  scope_in_flight subject;
  subject.scope->set_deadline(in(subject.on, 10ms));
  subject.scope->set_deadline(in(subject.on, 30ms));
  subject.on.script.advance(20ms);
  subject.on.loop.run_ready();
  CHECK(!subject.scope->stop_requested());

  subject.scope->clear_deadline();
  CHECK(!subject.scope->deadline());
  subject.on.script.advance(20ms);
  subject.on.loop.run_ready();
  CHECK(!subject.scope->stop_requested());

  subject.scope->set_deadline(in(subject.on, 10s));
  subject.scope->set_deadline(in(subject.on, 5ms));
  subject.on.script.advance(5ms);
  subject.on.loop.run_ready();
  CHECK(subject.noted.how == ended::stopped);
}

TEST_CASE("a deadline in the past cancels in the next turn, not inside the call") {
  scope_in_flight subject;

  subject.scope->set_deadline(in(subject.on, -1s));
  CHECK(!subject.scope->stop_requested());
  subject.on.loop.run_ready();

  CHECK(subject.noted.how == ended::stopped);
}

TEST_CASE("of nested scopes the nearest deadline comes first: a later one inside does not put it off") {
  scripted_executor on;
  outcome noted;
  std::optional<time_point> told;
  const time_point nearest = in(on, 1s);
  auto root = on.loop.start([](auto outer_due, outcome& to, auto& nearest_told) -> task<> {
    const bool whole = co_await with_cancel_scope([&](cancel_scope& outer) -> task<> {
      outer.set_deadline(outer_due);
      (void)co_await with_cancel_scope([&](cancel_scope& inner) -> task<> {
        inner.set_deadline(outer_due + 1h);
        nearest_told = inner.nearest_deadline();
        co_await sleep_long(to);
      });
    });
    CHECK(!whole);
  }(nearest, noted, told));
  on.loop.run_ready();

  on.script.advance(1s);
  on.loop.run_ready();

  CHECK(told == nearest);
  CHECK(noted.how == ended::stopped);
  CHECK(root.done());
}

TEST_CASE("with_timeout() can be given more time from inside") {
  scripted_executor on;
  outcome noted;
  const time_point more = in(on, 2s);
  auto root = on.loop.start([](time_point until, outcome& to) -> task<> {
    const auto takes_more = [&]() -> task<> {
      cancel_scope& scope = co_await this_task::scope();
      scope.set_deadline(until);
      co_await sleep_for(1500ms);
    };
    co_await observe(with_timeout(1s, takes_more()), to);
  }(more, noted));
  on.loop.run_ready();

  on.script.advance(1500ms);
  on.loop.run_ready();

  CHECK(noted.how == ended::with_value);
}

namespace {

// A task that receives, with a second to go, and somebody who knows its scope. The script answers cancels.
struct deadline_in_flight {
  deadline_in_flight() { on.loop.run_ready(); }

  static task<> run(cancel_scope*& found, outcome& inside, outcome& noted) {
    const auto waits = [&]() -> task<> {
      found = &co_await this_task::scope();
      co_await receive(inside);
    };
    co_await observe(with_timeout(1s, waits()), noted);
  }

  // The kernel has ended it.
  void end() {
    on.loop.run_ready();
    on.script.complete(on.script.only(IORING_OP_RECV), -ECANCELED);
    on.loop.run_ready();
  }

  scripted_executor on{by_hand};
  cancel_scope* scope = nullptr;
  outcome inside;
  outcome noted;
  root_task<void> root = on.loop.start(run(scope, inside, noted));
};

}  // namespace

TEST_CASE("who cancels the scope of with_timeout() by hand is told so: that is no timeout, and no stop outside") {
  for (const bool deadline_comes_too : {false, true}) {
    CAPTURE(deadline_comes_too);
    deadline_in_flight subject;

    subject.scope->cancel();
    if (deadline_comes_too) subject.on.script.advance(1s);
    subject.end();

    CHECK(subject.inside.how == ended::stopped);
    CHECK(subject.noted.error == std::errc::operation_canceled);
    CHECK(!subject.root.stopped());
  }
}

TEST_CASE("the deadline that came before a cancel by hand is a timeout") {
  deadline_in_flight subject;

  subject.on.script.advance(1s);
  subject.on.loop.run_ready();
  subject.scope->cancel();
  subject.end();

  CHECK(subject.noted.error == std::errc::timed_out);
}

// ------------------------------------------------------------------------------------------ a shield with a deadline

TEST_CASE("a shield with a deadline gives what its task gives, whatever is cancelled outside") {
  scripted_executor on;
  outcome noted;
  auto root = on.loop.start([](outcome& to) -> task<> { co_await observe(shield(1s, receive(to)), to); }(noted));
  on.loop.run_ready();

  root.cancel();
  on.loop.run_ready();
  CHECK(noted.how == ended::not_yet);
  on.script.complete(on.script.only(IORING_OP_RECV), 4);
  on.loop.run_ready();

  CHECK(noted.how == ended::with_value);
}

TEST_CASE("a shield's deadline ends it, as a timeout, also when the scope outside is cancelled by then") {
  for (const bool cancelled_outside : {false, true}) {
    CAPTURE(cancelled_outside);
    scripted_executor on;
    outcome inside;
    outcome noted;
    auto root = on.loop.start([](outcome& in, outcome& to) -> task<> {
      co_await observe(shield(1s, receive(in)), to);
      co_await ops::nop();
    }(inside, noted));
    on.loop.run_ready();
    if (cancelled_outside) root.cancel();
    on.loop.run_ready();

    on.script.advance(1s);
    on.loop.run_ready();

    CHECK(inside.how == ended::stopped);
    CHECK(noted.how == ended::with_error);
    CHECK(noted.error == std::errc::timed_out);
    CHECK(root.stopped() == cancelled_outside);  // at the next wait
    if (!cancelled_outside) on.script.complete(on.script.only(IORING_OP_NOP), 0);
    on.loop.run_ready();
  }
}

TEST_CASE("a shield with a deadline takes an operation, too, and delivers what crossed the deadline") {
  scripted_executor on{{.on_cancel = scripted_ring::cancels::by_hand}};
  outcome noted;
  std::vector<std::byte> buffer(4);
  auto root = on.loop.start([](std::vector<std::byte>& into, outcome& to) -> task<> {
    co_await observe(shield(1s, ops::recv(some_socket, into)), to);
  }(buffer, noted));
  on.loop.run_ready();

  on.script.advance(1s);
  on.loop.run_ready();
  on.script.deliver(on.script.only(IORING_OP_RECV), "late");
  on.loop.run_ready();

  CHECK(noted.how == ended::with_value);
}

TEST_CASE("who cancels a shield from inside is told so, also when the scope outside is cancelled") {
  for (const bool cancelled_outside : {false, true}) {
    CAPTURE(cancelled_outside);
    scripted_executor on;
    outcome noted;
    auto root = on.loop.start([](outcome& to) -> task<> {
      const auto gives_up = []() -> task<> {
        (co_await this_task::scope()).cancel();
        co_await sleep_for(1h);
      };
      co_await observe(shield(gives_up()), to);
    }(noted));
    if (cancelled_outside) root.cancel();

    on.loop.run_ready();

    CHECK(noted.error == std::errc::operation_canceled);
  }
}

// ------------------------------------------------------------------------------------ its deadline on other clocks

TEST_CASE("a scope's deadline can be on the boot clock or the system clock, and be moved from one clock to another") {
  using detail::clock_id;
  const std::array clocks{clock_id::steady, clock_id::boot, clock_id::system};
  for (const clock_id before : clocks) {
    for (const clock_id after : clocks) {
      CAPTURE(static_cast<int>(before));
      CAPTURE(static_cast<int>(after));
      scope_in_flight subject;
      const auto at = [&](clock_id clock, std::chrono::nanoseconds from_now) {
        return point_in_time{clock, subject.on.script.now_on(clock) + from_now.count()};
      };
      subject.scope->set_deadline(at(before, 10ms));
      CHECK(subject.scope->deadline() == in(subject.on, 10ms));
      subject.scope->set_deadline(at(after, 20ms));
      CHECK(subject.scope->deadline() == in(subject.on, 20ms));
      CHECK(subject.scope->nearest_deadline() == in(subject.on, 20ms));

      subject.on.loop.run_ready();
      subject.on.script.advance(20ms - 1ns);
      subject.on.loop.run_ready();
      CHECK(!subject.scope->stop_requested());
      subject.on.script.advance(1ns);
      subject.on.loop.run_ready();

      CHECK(subject.noted.how == ended::stopped);
    }
  }
}

}  // namespace gyre
