// SPDX-License-Identifier: MIT
// Every operation against a cancel, in every order: each moment at which the cancel can come, each answer of the kernel
// to the cancel and to the operation, and which of the two answers comes first. On the scripted ring; as far as the
// kernel can be brought into these orders, kernel_cancel_test.cpp shows them there.
#include <gyre/runtime/executor.hpp>
#include <gyre/runtime/operation.hpp>

#include "../support/every_operation.hpp"
#include "../support/scripted.hpp"
#include "../support/turning.hpp"

#include <doctest/doctest.h>
#include <liburing.h>

#include <cerrno>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace gyre {
namespace {

using namespace test;
using detail::scripted_ring;

// What a cancel says of itself; all of them are ordinary.
constexpr int cancel_answers[] = {0, 1, -ENOENT, -EALREADY};

// What an operation says that a cancel ended.
constexpr int stop_answers[] = {-ECANCELED, -EINTR, -512, -513, -514, -516};

task<> fill_place(unsigned opcode) {
  // Of another opcode than the operation under test, so that the script can tell them apart.
  if (opcode == IORING_OP_NOP) static_cast<void>(co_await ops::poll(some_number, POLLIN));
  else co_await ops::nop();
}

// An operation whose task begins in the next turn.
struct about_to_begin {
  explicit about_to_begin(task<> (*observed)(outcome&)) : root{on.loop.start(observed(noted))} {}

  scripted_executor on{by_hand, with_direct_descriptors()};
  outcome noted;
  root_task<void> root;
};

// An operation that the kernel has.
struct in_flight : about_to_begin {
  explicit in_flight(task<> (*observed)(outcome&)) : about_to_begin{observed} { on.loop.run_ready(); }
};

// The same when its scope has been cancelled: the kernel has been asked.
struct asked_to_stop : in_flight {
  explicit asked_to_stop(task<> (*observed)(outcome&)) : in_flight{observed} {
    root.cancel();
    on.loop.run_ready();
  }
};

}  // namespace

TEST_CASE("a cancel that finds the operation in flight asks the kernel once, and waits for its answer") {
  for (const auto& operation : every_operation) {
    if (!operation.is_asked) continue;
    CAPTURE(operation.name);
    asked_to_stop subject{operation.observed};
    auto& [on, noted, root] = subject;

    const auto in_kernel = on.script.only(operation.opcode);
    const auto asking = on.script.only(IORING_OP_ASYNC_CANCEL);
    CHECK(in_kernel.stop_asked);
    CHECK(asking.addr == in_kernel.user_data);
    CHECK((asking.flags & IOSQE_CQE_SKIP_SUCCESS) != 0);
    CHECK(!root.done());
    CHECK(noted.how == ended::not_yet);

    on.script.complete(in_kernel, -ECANCELED);
    on.loop.run_ready();
    CHECK(root.stopped());
    CHECK(noted.how == ended::stopped);
  }
}

TEST_CASE("however cancel and operation answer, and in either order, the operation's own answer decides") {
  const std::size_t open_before = open_descriptors_count();
  enum class expected { stop, good, error };

  for (const auto& operation : every_operation) {
    if (!operation.is_asked) continue;
    const auto one_race = [&](int cancel_answer, int answer, bool cancel_first, expected how) {
      CAPTURE(operation.name);
      CAPTURE(cancel_answer);
      CAPTURE(answer);
      CAPTURE(cancel_first);
      asked_to_stop subject{operation.observed};
      auto& [on, noted, root] = subject;

      const auto answer_cancel = [&] {
        on.script.complete(on.script.only(IORING_OP_ASYNC_CANCEL), cancel_answer);
        on.loop.run_ready();
      };
      if (cancel_first) {
        answer_cancel();
        REQUIRE(!root.done());
      }
      on.script.complete(on.script.only(operation.opcode), answer);
      on.loop.run_ready();

      REQUIRE(root.done());
      CHECK(root.stopped() == (how == expected::stop));
      if (how == expected::stop) CHECK(noted.how == ended::stopped);
      if (how == expected::good) CHECK(noted.how == ended::with_value);
      if (how == expected::error) CHECK(noted.error == std::errc::io_error);
      if (!cancel_first) answer_cancel();
    };

    for (const int cancel_answer : cancel_answers) {
      for (const bool cancel_first : {true, false}) {
        for (const int answer : stop_answers) one_race(cancel_answer, answer, cancel_first, expected::stop);
        one_race(cancel_answer, operation.good_answer(), cancel_first, expected::good);
        one_race(cancel_answer, -EIO, cancel_first, expected::error);
      }
    }
  }

  CHECK(open_descriptors_count() == open_before);
}

TEST_CASE("a cancel before submission goes to the kernel in the enter behind that of its operation") {
  for (const auto& operation : every_operation) {
    if (!operation.is_asked) continue;
    CAPTURE(operation.name);
    about_to_begin subject{operation.observed};
    auto& [on, noted, root] = subject;
    auto canceller = on.loop.start(cancel_other(root));  // runs in the same turn, before anything is submitted

    on.loop.run_ready();

    const auto in_kernel = on.script.only(operation.opcode);
    const auto asking = on.script.only(IORING_OP_ASYNC_CANCEL);
    CHECK(in_kernel.taken_by + 1 == asking.taken_by);
    CHECK(in_kernel.stop_asked);
    on.script.complete(in_kernel, -ECANCELED);
    on.loop.run_ready();
    CHECK(noted.how == ended::stopped);
  }
}

TEST_CASE("what has to be done is not asked to stop once the kernel has it, a close that would leave its file open") {
  for (const auto& operation : every_operation) {
    if (operation.is_asked) continue;
    for (const bool cancel_first : {true, false}) {
      CAPTURE(operation.name);
      about_to_begin subject{operation.observed};
      auto& [on, noted, root] = subject;
      if (!cancel_first) on.loop.run_ready();
      auto canceller = on.loop.start(cancel_other(root));

      on.loop.run_ready();
      CHECK(!root.done());
      CHECK(on.script.taken_count(IORING_OP_ASYNC_CANCEL) == 0);
      on.script.complete(on.script.only(operation.opcode), 0);
      on.loop.run_ready();

      CHECK(noted.how == ended::with_value);
    }
  }
}

TEST_CASE("an operation that finds the queue full and is cancelled there never reaches the kernel") {
  for (const auto& operation : every_operation) {
    CAPTURE(operation.name);
    scripted_executor on{{.sq_entries = 2, .on_cancel = scripted_ring::cancels::by_hand}, with_direct_descriptors()};
    outcome noted;
    auto first = on.loop.start(fill_place(operation.opcode));
    auto second = on.loop.start(fill_place(operation.opcode));
    auto root = on.loop.start(operation.observed(noted));
    auto canceller = on.loop.start(cancel_other(root));

    on.loop.run_ready();

    CHECK(noted.how == ended::stopped);
    CHECK(root.stopped());
    CHECK(on.loop.statistics().backlogged == 1);
    CHECK(on.script.taken_count(operation.opcode) == 0);
    CHECK(on.script.taken_count(IORING_OP_ASYNC_CANCEL) == 0);
    for (const auto& filler : std::vector{on.script.in_flight()}) on.script.complete(filler, 0);
    on.loop.run_ready();
    CHECK(first.done());
    CHECK(second.done());
  }
}

TEST_CASE("an operation awaited in a scope that is cancelled already never reaches the kernel") {
  for (const auto& operation : every_operation) {
    CAPTURE(operation.name);
    about_to_begin subject{operation.observed};
    auto& [on, noted, root] = subject;

    root.cancel();
    on.loop.run_ready();

    CHECK(root.stopped());
    CHECK(noted.how == ended::stopped);
    CHECK(on.script.in_flight().empty());
    CHECK(on.script.taken_count(operation.opcode) == 0);
  }
}

TEST_CASE("a result that was posted before the cancel, and not reaped, is delivered") {
  const std::size_t open_before = open_descriptors_count();

  for (const auto& operation : every_operation) {
    CAPTURE(operation.name);
    in_flight subject{operation.observed};
    auto& [on, noted, root] = subject;

    on.script.complete(on.script.only(operation.opcode), operation.good_answer());
    root.cancel();
    on.loop.run_ready();

    CHECK(noted.how == ended::with_value);
    CHECK(!root.stopped());
    for (const auto& late : on.script.in_flight(IORING_OP_ASYNC_CANCEL)) on.script.complete(late, -ENOENT);
    on.loop.run_ready();
  }

  CHECK(open_descriptors_count() == open_before);
}

task<> cancel_at_once(root_task<void>& cancelled) {
  cancelled.cancel();
  co_return;
}

task<> cancel_after_nop(root_task<void>& cancelled) {
  co_await ops::nop();
  cancelled.cancel();
}

// Who waits in the ready queue comes before those whose completions are taken behind it.
TEST_CASE("a result that was taken before the cancel, and not resumed, is delivered, and nobody is asked") {
  const std::size_t open_before = open_descriptors_count();

  for (const auto& operation : every_operation) {
    for (const bool good : {true, false}) {
      CAPTURE(operation.name);
      CAPTURE(good);
      in_flight subject{operation.observed};
      auto& [on, noted, root] = subject;

      on.script.complete(on.script.only(operation.opcode), good ? operation.good_answer() : -EIO);
      auto canceller = on.loop.start(cancel_at_once(root));
      on.loop.run_ready();

      CHECK(canceller.done());
      if (good) CHECK(noted.how == ended::with_value);
      else CHECK(noted.error == std::errc::io_error);
      CHECK(!root.stopped());
      CHECK(on.script.taken_count(IORING_OP_ASYNC_CANCEL) == 0);
    }
  }

  CHECK(open_descriptors_count() == open_before);
}

// The executor resumes who waited for the one completion, who cancels; the other lies in the queue behind it.
TEST_CASE("a result that lies behind the completion of who cancels is delivered, and nobody is asked") {
  const std::size_t open_before = open_descriptors_count();

  for (const auto& operation : every_operation) {
    CAPTURE(operation.name);
    in_flight subject{operation.observed};
    auto& [on, noted, root] = subject;
    auto canceller = on.loop.start(cancel_after_nop(root));
    on.loop.run_ready();

    const auto of_root = on.script.in_flight(operation.opcode).front();
    const auto of_canceller = on.script.in_flight(IORING_OP_NOP).back();
    on.script.complete(of_canceller, 0);
    on.script.complete(of_root, operation.good_answer());
    on.loop.run_ready();

    CHECK(canceller.done());
    CHECK(noted.how == ended::with_value);
    CHECK(!root.stopped());
    CHECK(on.script.taken_count(IORING_OP_ASYNC_CANCEL) == 0);
  }

  CHECK(open_descriptors_count() == open_before);
}

TEST_CASE("a cancel that is queued when its operation is reaped is not sent") {
  for (const auto& operation : every_operation) {
    CAPTURE(operation.name);
    in_flight subject{operation.observed};
    auto& [on, noted, root] = subject;

    // The kernel answers, and somebody cancels, between the flush of a turn and the reap of the next.
    auto other = on.loop.start(fill_place(operation.opcode));
    on.script.after_enter = [&] {
      on.script.after_enter = nullptr;
      on.script.complete(on.script.only(operation.opcode), -ECANCELED);
      root.cancel();
    };
    on.loop.turn(/*may_park=*/false);
    on.loop.turn(/*may_park=*/false);

    CHECK(noted.how == ended::stopped);
    CHECK(on.script.taken_count(IORING_OP_ASYNC_CANCEL) == 0);
    for (const auto& left : std::vector{on.script.in_flight()}) on.script.complete(left, 0);
    on.loop.run_ready();
  }
}

TEST_CASE("what looks like a cancel in a scope that nobody cancelled is an error like any other") {
  for (const auto& operation : every_operation) {
    for (const int answer : stop_answers) {
      CAPTURE(operation.name);
      CAPTURE(answer);
      in_flight subject{operation.observed};
      auto& [on, noted, root] = subject;

      on.script.complete(on.script.only(operation.opcode), answer);
      on.loop.run_ready();

      CHECK(!root.stopped());
      REQUIRE(noted.how == ended::with_error);
      CHECK(noted.error == (answer == -ECANCELED ? std::errc::operation_canceled : std::errc::interrupted));
    }
  }
}

namespace {

task<> cancel_and_note(root_task<void>& cancelled, const outcome& of_it, ended& how_it_was) {
  how_it_was = of_it.how;
  cancelled.cancel();
  co_return;
}

}  // namespace

// Its completion is taken, and it lies in the ready queue, behind the one that cancels it.
TEST_CASE("an operation that failed before the cancel fails, although the scope is cancelled when it resumes") {
  for (const auto& operation : every_operation) {
    CAPTURE(operation.name);
    in_flight subject{operation.observed};
    auto& [on, noted, root] = subject;
    ended how_it_was = ended::not_begun;

    on.script.complete(on.script.only(operation.opcode), -ECANCELED);
    auto canceller = on.loop.start(cancel_and_note(root, noted, how_it_was));
    on.loop.turn(/*may_park=*/false);

    CHECK(how_it_was == ended::not_yet);
    CHECK(on.script.taken_count(IORING_OP_ASYNC_CANCEL) == 0);
    CHECK(noted.how == ended::with_error);
    CHECK(noted.error == std::errc::operation_canceled);
  }
}

TEST_CASE("cancelling again, from inside and outside, sends one request") {
  in_flight subject{&of_recv};
  auto& [on, noted, root] = subject;

  root.cancel();
  root.cancel();
  on.loop.run_ready();
  root.cancel();
  on.loop.root_scope().cancel();
  on.loop.run_ready();

  CHECK(on.script.taken_count(IORING_OP_ASYNC_CANCEL) == 1);
  CHECK(on.loop.statistics().cancels == 1);
  on.script.complete(on.script.only(IORING_OP_RECV), -ECANCELED);
  on.loop.run_ready();
  CHECK(noted.how == ended::stopped);
}

TEST_CASE("cancel_fd answers with how many it found, and none is no error") {
  for (const auto& [answer, found] : {std::pair{3, 3}, std::pair{0, 0}, std::pair{-ENOENT, 0}}) {
    scripted_executor on{by_hand};
    auto root = on.loop.start([]() -> task<std::size_t> { co_return co_await ops::cancel_fd(some_number); }());
    on.loop.run_ready();

    on.script.complete(on.script.only(IORING_OP_ASYNC_CANCEL), answer);
    on.loop.run_ready();

    CHECK(root.get() == static_cast<std::size_t>(found));
  }
}

TEST_CASE("a cancel frees the queue for itself: a thousand in flight, and a queue of four") {
  constexpr int count = 1000;
  scripted_executor on{{.sq_entries = 4}};
  std::vector<outcome> noted(count);
  {
    std::vector<std::unique_ptr<root_task<void>>> roots;
    for (auto& each : noted) roots.push_back(std::make_unique<root_task<void>>(on.loop, of_recv(each)));
    on.loop.run_ready();
    REQUIRE(on.script.in_flight().size() == count);

    on.loop.root_scope().cancel();
    on.loop.run_ready();
  }

  for (const auto& each : noted) CHECK(each.how == ended::stopped);
  CHECK(on.script.taken_count(IORING_OP_ASYNC_CANCEL) == count);
}

TEST_CASE("a cancel that comes as the kernel is about to try the operation again finds it, when that was done") {
  for (const auto& operation : every_operation) {
    if (!operation.is_asked) continue;
    CAPTURE(operation.name);
    scripted_executor on{{}, with_direct_descriptors()};
    outcome noted;
    auto root = on.loop.start(operation.observed(noted));
    on.loop.run_ready();

    on.script.try_again_on_enter(on.script.only(operation.opcode));
    on.stop(root);

    CHECK(noted.how == ended::stopped);
    CHECK(on.script.in_flight().empty());
  }
}

TEST_CASE("a cancel in the turn in which an operation begins comes after what the kernel tries at first") {
  for (const auto& operation : every_operation) {
    if (!operation.is_asked) continue;
    CAPTURE(operation.name);
    scripted_executor on{{}, with_direct_descriptors()};
    on.script.answer = [&](const scripted_ring::request& taken) -> std::optional<std::int32_t> {
      if (taken.opcode == operation.opcode) on.script.try_again_on_enter(taken);
      return std::nullopt;
    };
    outcome noted;
    auto root = on.loop.start(operation.observed(noted));
    auto cancels = on.loop.start([](root_task<void>& begun) -> task<> {
      begun.cancel();
      co_return;
    }(root));

    on.loop.run_ready();

    CHECK(noted.how == ended::stopped);
    CHECK(on.script.in_flight().empty());
  }
}

TEST_CASE("no cancel is lost when the kernel refuses submissions in between") {
  constexpr int count = 100;
  scripted_executor on{{.sq_entries = 4}};
  std::vector<outcome> noted(count);
  {
    std::vector<std::unique_ptr<root_task<void>>> roots;
    for (auto& each : noted) roots.push_back(std::make_unique<root_task<void>>(on.loop, of_recv(each)));
    on.loop.run_ready();

    on.loop.root_scope().cancel();
    for (unsigned i = 0; i < 40; ++i) on.script.refuse(i % 2 == 0 ? EBUSY : EAGAIN, i % 4);
    on.loop.run_ready();
  }

  for (const auto& each : noted) CHECK(each.how == ended::stopped);
  CHECK(on.loop.statistics().refusals == 40);
}

}  // namespace gyre
