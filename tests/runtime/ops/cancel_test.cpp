// SPDX-License-Identifier: MIT
// What is in flight, and is ended by descriptor, by opcode, by itself, or whatever it is.
#include <gyre/runtime/as_result.hpp>
#include <gyre/runtime/executor.hpp>
#include <gyre/runtime/ops/accept_stream.hpp>
#include <gyre/runtime/ops/cancel.hpp>
#include <gyre/runtime/ops/direct.hpp>
#include <gyre/runtime/ops/misc.hpp>
#include <gyre/runtime/ops/poll.hpp>
#include <gyre/runtime/ops/socket.hpp>
#include <gyre/runtime/timer.hpp>

#include "../../support/outcome.hpp"
#include "../../support/skip.hpp"
#include "../../support/socket_pair.hpp"
#include "../../support/turning.hpp"

#include <doctest/doctest.h>
#include <liburing.h>

#include <array>
#include <chrono>
#include <cstddef>
#include <list>

namespace gyre {
namespace {

using namespace std::chrono_literals;
using namespace test;

// Operations that wait, on both ends of a pair.
struct waiting_operations {
  waiting_operations() {
    roots.emplace_back(loop, observe(ops::recv(pair.here, buffer), received));
    roots.emplace_back(loop, observe(ops::poll(pair.here, POLLIN), polled));
    roots.emplace_back(loop, observe(ops::poll(pair.there, POLLIN), polled_there));
    loop.run_ready();
  }
  ~waiting_operations() {
    for (auto& each : roots) each.cancel();
    for (auto& each : roots) turn_until_done(loop, each);
  }

  std::size_t run(task<std::size_t> cancelling) {
    const std::size_t found = loop.run(std::move(cancelling));
    loop.run_ready();
    return found;
  }
  int ended_count() const {
    int count = 0;
    for (const outcome* each : {&received, &polled, &polled_there})
      if (each->error == std::errc::operation_canceled) ++count;
    return count;
  }

  socket_pair pair;
  std::array<std::byte, 4> buffer{};
  outcome received, polled, polled_there;
  executor loop;
  std::list<root_task<void>> roots;
};

template <class Op>
task<std::size_t> count_of(Op cancelling) {
  co_return co_await std::move(cancelling);
}

bool kernel_cancels_by_opcode() {
  executor loop;
  const bool has_it =
      loop.run([]() -> task<bool> { co_return (co_await as_result(ops::cancel_opcode(IORING_OP_RECV))).has_value(); });
  if (!has_it) SAY_SKIPPED("this kernel does not cancel by opcode");
  return has_it;
}

}  // namespace

TEST_CASE("by descriptor all end that wait for it, or one") {
  waiting_operations subject;

  CHECK(subject.run(count_of(ops::cancel_fd(subject.pair.here, ops::how_many::one))) == 1);
  CHECK(subject.ended_count() == 1);
  CHECK(subject.run(count_of(ops::cancel_fd(subject.pair.here))) == 1);
  CHECK(subject.ended_count() == 2);
  CHECK(subject.run(count_of(ops::cancel_fd(subject.pair.here))) == 0);
  CHECK(subject.run(count_of(ops::cancel_fd(subject.pair.here, ops::how_many::one))) == 0);
  CHECK(subject.polled_there.how == ended::not_yet);
}

TEST_CASE("by opcode all end that have it, on one descriptor or on any") {
  if (!kernel_cancels_by_opcode()) return;
  waiting_operations subject;

  CHECK(subject.run(count_of(ops::cancel_opcode(IORING_OP_POLL_ADD, subject.pair.here))) == 1);
  CHECK(subject.polled.error == std::errc::operation_canceled);
  CHECK(subject.run(count_of(ops::cancel_opcode(IORING_OP_SEND))) == 0);
  CHECK(subject.run(count_of(ops::cancel_opcode(IORING_OP_RECV, ops::how_many::one))) == 1);
  CHECK(subject.received.error == std::errc::operation_canceled);
  CHECK(subject.run(count_of(ops::cancel_opcode(IORING_OP_POLL_ADD, ops::how_many::all))) >=
        1);  // the executor's own, too
  CHECK(subject.ended_count() == 3);
}

TEST_CASE("by opcode and direct descriptor, too; and what is no descriptor is an error") {
  if (!kernel_cancels_by_opcode()) return;
  const socket_pair pair;
  executor loop{{.direct_descriptors = 1}};
  outcome noted;
  loop.run([&]() -> task<> {
    const auto direct = co_await ops::to_direct(pair.here);
    auto waiting = executor::current().start(observe(ops::poll(direct, POLLIN), noted));
    while (noted.how != ended::not_yet) co_await ops::nop();
    CHECK(co_await ops::cancel_opcode(IORING_OP_POLL_ADD, pair.there) == 0);
    CHECK(co_await ops::cancel_opcode(IORING_OP_POLL_ADD, direct) == 1);
    while (!waiting.done()) co_await ops::nop();
    CHECK((co_await as_result(ops::cancel_opcode(IORING_OP_POLL_ADD, -1))).error() == std::errc::bad_file_descriptor);
  });
  CHECK(noted.error == std::errc::operation_canceled);
}

TEST_CASE("whatever is in flight ends, also what the executor may have there for itself") {
  waiting_operations subject;

  CHECK(subject.run(count_of(ops::cancel_any())) >= 3);
  CHECK(subject.ended_count() == 3);
}

TEST_CASE("an executor whose own requests were ended goes on: it sleeps in its ring, and keeps times") {
  executor loop{{.park = parking::ring_wait}};

  loop.run([]() -> task<> {
    co_await sleep_for(1ms);  // by now it polls its eventfd
    co_await ops::cancel_any();
    co_await sleep_for(1ms);
    co_await sleep_until(std::chrono::system_clock::now() + 1ms);
  });
}

TEST_CASE("one operation is ended by who knows it, and no other") {
  const socket_pair pair;
  executor loop;
  outcome noted;
  outcome other;
  ops::poll running(pair.here, POLLIN);
  auto awaiting = loop.start([](ops::poll& awaited, outcome& told) -> task<> {
    const stop_watch watch{told};
    told.how = ended::with_value;
    try {
      co_await awaited;
    } catch (const std::system_error& error) {
      told.how = ended::with_error;
      told.error = error.code();
    }
  }(running, noted));
  auto waiting = loop.start(observe(ops::poll(pair.here, POLLIN), other));
  loop.run_ready();

  loop.run([&]() -> task<> { CHECK(co_await ops::cancel_operation(running)); });
  turn_until_done(loop, awaiting);

  CHECK(noted.error == std::errc::operation_canceled);
  CHECK(other.how == ended::not_yet);
  loop.run([&]() -> task<> {
    CHECK(!co_await ops::cancel_operation(running));  // it has ended
    const ops::nop never_awaited;
    CHECK(!co_await ops::cancel_operation(never_awaited));
  });
  waiting.cancel();
  turn_until_done(loop, waiting);
}

}  // namespace gyre
