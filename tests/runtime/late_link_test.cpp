// SPDX-License-Identifier: MIT
// A linked timeout that fires when the result of its operation is there already, and is heard of after the next
// operation has begun where that one was: it ends nothing but its own.
#include <gyre/runtime/as_result.hpp>
#include <gyre/runtime/deadline.hpp>
#include <gyre/runtime/ops/socket.hpp>
#include <gyre/runtime/ops/timeout.hpp>

#include "../support/scripted.hpp"
#include "../support/socket_pair.hpp"

#include <doctest/doctest.h>
#include <liburing.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <system_error>
#include <vector>

namespace gyre {
namespace {

using namespace std::chrono_literals;
using namespace test;

struct tally {
  int first_count = 0;   // that had a result
  int second_count = 0;  // the same
  std::vector<std::error_code> errors_of_second;
};

// One byte soon, and another one when it comes: the same operation, at the same place.
template <class Soon, class Later>
task<> receive_twice(fd_ref socket, Soon soon, Later later, tally& noted) {
  std::array<std::byte, 1> buffer;
  for (const auto until : {soon, later}) {
    const auto received = co_await as_result(with_deadline(until, ops::recv(socket, buffer)));
    if (until == soon) noted.first_count += received ? 1 : 0;
    else if (received) ++noted.second_count;
    else noted.errors_of_second.push_back(received.error());
  }
}

// Each has its byte before its deadline, the executor looks when all of them have passed, and the kernel hands out in
// several portions what happened meanwhile.
template <class Clock>
void receive_past_deadlines(parking park) {
  constexpr int sockets_count = 60;
  executor loop{{.park = park, .linked_timeout_max = 1h}};
  const auto soon = Clock::now() + 5ms;
  tally noted;
  std::vector<std::unique_ptr<socket_pair>> sockets;
  std::vector<std::unique_ptr<root_task<void>>> roots;
  for (int i = 0; i < sockets_count; ++i) {
    const auto& pair = *sockets.emplace_back(std::make_unique<socket_pair>());
    roots.push_back(std::make_unique<root_task<void>>(loop, receive_twice(pair.here, soon, soon + 30min, noted)));
  }
  loop.turn(/*may_park=*/false);
  loop.run_ready();
  for (const auto& pair : sockets) REQUIRE(::send(pair->there.get(), "x", 1, 0) == 1);
  while (Clock::now() < soon + 1ms) {
  }
  loop.run_ready();
  for (const auto& pair : sockets) REQUIRE(::send(pair->there.get(), "y", 1, 0) == 1);
  for (const auto& root : roots)
    while (!root->done()) loop.turn(/*may_park=*/true);

  CHECK(noted.second_count == sockets_count);
  CHECK(noted.errors_of_second == std::vector<std::error_code>{});
  MESSAGE(noted.first_count, " of ", sockets_count, " were there before their deadline");
}

constexpr int some_socket = 1'000'123;
constexpr int other_socket = 1'000'124;

task<> receive_on_and_on(int socket) {
  std::array<std::byte, 4> buffer;
  for (;;) co_await ops::recv(socket, buffer);
}

template <class Limit>
task<> receive_within(Limit& until) {
  std::array<std::byte, 4> buffer;
  for (;;) co_await with_deadline(until, ops::recv(some_socket, buffer));
}

detail::scripted_ring::request recv_on(scripted_executor& on, int socket) {
  for (const auto& each : on.script.in_flight(IORING_OP_RECV))
    if (each.fd == socket) return each;
  FAIL("no recv is in flight on the socket");
  return {};
}

bool is_in_flight(scripted_executor& on, std::uint64_t id) {
  const auto all = on.script.in_flight();
  return std::any_of(all.begin(), all.end(), [&](const auto& each) { return each.id == id; });
}

// A recv with 10 ms to go, and others without. The first has its result, then all others but one, which is left as work
// of the kernel's.
template <class Limit>
struct completed_with_work_left {
  explicit completed_with_work_left(Limit& until, int others_count = 0,
                                    const scripted_executor::ring_options& ring = {},
                                    const executor_options& options = {})
      : on{ring, options}, limited{on.loop.start(receive_within(until))} {
    for (int i = 0; i <= others_count; ++i)
      others.push_back(std::make_unique<root_task<void>>(on.loop, receive_on_and_on(other_socket + i)));
    on.loop.run_ready();
    CHECK(recv_on(on, some_socket).linked);
    on.script.complete(recv_on(on, some_socket), 4);
    for (int i = 1; i <= others_count; ++i) on.script.complete(recv_on(on, other_socket + i), 4);
    left = recv_on(on, other_socket).id;
    on.script.complete_on_enter(recv_on(on, other_socket), 4);
    on.script.on_enter = [this] { submits_too_early = submits_too_early || is_in_flight(on, left); };
  }
  ~completed_with_work_left() {
    on.script.on_enter = nullptr;
    for (const auto& each : others) each->cancel();
    on.stop(limited);
    CHECK(limited.done());
  }

  scripted_executor on;
  root_task<void> limited;
  std::vector<std::unique_ptr<root_task<void>>> others;
  std::uint64_t left = 0;
  bool submits_too_early = false;
};

std::chrono::steady_clock::time_point soon_by_script() { return detail::time_point_of(1'010'000'000); }

}  // namespace

TEST_CASE("an operation that won against its deadline has the kernel's work run before anything is submitted") {
  const auto until = soon_by_script();
  completed_with_work_left at{until};
  at.on.script.advance(10ms);

  at.on.loop.turn(/*may_park=*/false);

  CHECK(!is_in_flight(at.on, at.left));
  CHECK(!at.submits_too_early);
}

TEST_CASE("the same where the deadline was put off in the moment in which it passed") {
  movable_deadline until{soon_by_script()};
  completed_with_work_left at{until};
  at.on.script.advance(10ms);
  until.expires_at(soon_by_script() + 1h);

  at.on.loop.turn(/*may_park=*/false);

  CHECK(!is_in_flight(at.on, at.left));
  CHECK(!at.submits_too_early);
}

TEST_CASE("an operation that completed before its deadline costs no enter more") {
  const auto until = soon_by_script();
  completed_with_work_left at{until};
  at.on.script.advance(9ms);
  const auto enters_before = at.on.loop.statistics().enters;

  at.on.loop.turn(/*may_park=*/false);

  CHECK(at.on.loop.statistics().enters == enters_before + 1);
  CHECK(!is_in_flight(at.on, at.left));
}

TEST_CASE("where completions leave no room for the kernel's work, they are taken before anything is submitted") {
  const auto until = soon_by_script();
  completed_with_work_left at{until, /*others_count=*/5, {.sq_entries = 4, .cq_entries = 8}, {.turn_budget = 1}};
  at.on.script.advance(10ms);
  const auto enters_before = at.on.loop.statistics().enters;

  at.on.loop.turn(/*may_park=*/false);
  CHECK(at.on.loop.statistics().enters == enters_before);
  CHECK(is_in_flight(at.on, at.left));

  at.on.loop.run_ready();
  CHECK(!is_in_flight(at.on, at.left));
  CHECK(!at.submits_too_early);
}

TEST_CASE("on the kernel, a deadline that passed as its operation won does not end the next one at the same place") {
  for (const parking park : {parking::eventfd, parking::ring_wait}) {
    receive_past_deadlines<std::chrono::steady_clock>(park);
    receive_past_deadlines<boot_clock>(park);
    receive_past_deadlines<std::chrono::system_clock>(park);
  }
}

}  // namespace gyre
