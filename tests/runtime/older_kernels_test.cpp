// SPDX-License-Identifier: MIT
// An executor on each rung of the ladder: parked, woken, cancelled and timed out where newer set-up flags are refused.
//
// The kernel is this one all the same; only its set-up is made to know fewer flags.
#include <gyre/runtime/deadline.hpp>
#include <gyre/runtime/executor.hpp>
#include <gyre/runtime/ops/socket.hpp>
#include <gyre/runtime/scope.hpp>
#include <gyre/runtime/task.hpp>
#include <gyre/runtime/unique_fd.hpp>

#include "../support/forbidden.hpp"
#include "../support/socket_pair.hpp"

#include <doctest/doctest.h>
#include <sys/socket.h>

#include <array>
#include <chrono>
#include <cstddef>
#include <string>
#include <system_error>
#include <thread>

namespace gyre {
namespace {

using namespace gyre::test;

constexpr unsigned linux_5_18 = IORING_SETUP_CQSIZE | IORING_SETUP_CLAMP | IORING_SETUP_SUBMIT_ALL;
constexpr unsigned linux_5_19 = linux_5_18 | IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG;
constexpr unsigned linux_6_0 = linux_5_19 | IORING_SETUP_SINGLE_ISSUER;

// Sends back each byte, by blocking calls, until the other end has closed.
void echo_until_closed(int socket) {
  for (char byte = 0; ::recv(socket, &byte, 1, 0) == 1;) ::send(socket, &byte, 1, MSG_NOSIGNAL);
}

task<int> play_ping_pong(fd_ref socket, int rounds_count) {
  int rounds_done = 0;
  std::array<std::byte, 1> byte{};
  while (rounds_done < rounds_count) {
    co_await ops::send(socket, byte);
    if (co_await ops::recv(socket, byte) != 1) break;
    ++rounds_done;
  }
  co_return rounds_done;
}

task<> receive_one(fd_ref socket) {
  std::array<std::byte, 1> byte{};
  co_await ops::recv(socket, byte);
}

task<bool> ends_when_cancelled(fd_ref silent, executor& loop, std::thread& canceller) {
  const bool ran_to_its_end = co_await with_cancel_scope([&](cancel_scope& scope) {
    canceller = std::thread{[&] { loop.post([&scope] { scope.cancel(); }); }};
    return receive_one(silent);
  });
  co_return !ran_to_its_end;
}

task<bool> times_out(fd_ref silent) {
  std::array<std::byte, 1> byte{};
  try {
    co_await with_timeout(std::chrono::nanoseconds{1}, ops::recv(silent, byte));
  } catch (const std::system_error& error) {
    co_return error.code() == std::errc::timed_out;
  }
  co_return false;
}

std::string what_fails(parking park) {
  executor loop{{.park = park}};
  socket_pair pair;
  std::thread echoing{echo_until_closed, pair.there.get()};
  const int rounds = loop.run(play_ping_pong(pair.here, 100));
  // On a busy machine every answer may have come before there was time to park.
  for (int tries_left = 1'000; loop.statistics().parks == 0 && tries_left > 0; --tries_left)
    loop.run(play_ping_pong(pair.here, 100));
  ::shutdown(pair.here.get(), SHUT_RDWR);
  echoing.join();

  const socket_pair silent;
  std::thread canceller;
  const bool cancelled = loop.run(ends_when_cancelled(silent.here, loop, canceller));
  canceller.join();
  const bool timed_out = loop.run(times_out(silent.here));

  std::string failures;
  if (rounds != 100) failures += "ping-pong ";
  if (loop.statistics().parks == 0) failures += "parking ";
  if (!cancelled) failures += "cancel ";
  if (!timed_out) failures += "timeout ";
  return failures;
}

}  // namespace

TEST_CASE("an executor parks, wakes, cancels and times out whichever set-up flags the kernel knows") {
  for (const unsigned known : {linux_6_0, linux_5_19}) {
    for (const parking park : {parking::eventfd, parking::ring_wait}) {
      CAPTURE(known);
      CHECK(on_a_kernel_that(knows_only(known), [&] { return what_fails(park); }) == "");
    }
  }
}

TEST_CASE("a kernel whose accept is no stream yet is refused, with the reason and the cure") {
  const auto told = on_a_kernel_that(knows_only(linux_5_18), []() -> std::string {
    try {
      const executor refused;
      return "an executor on Linux 5.18";
    } catch (const std::system_error& error) {
      return error.what();
    }
  });

  CHECK(told.find("is too old: its io_uring is less than that of Linux 5.19") != std::string::npos);
  CHECK(told.find("Run a newer kernel") != std::string::npos);
}

TEST_CASE("an executor that had to make do says with what") {
  const auto notes = on_a_kernel_that(knows_only(linux_5_19), [] { return executor{}.notes(); });

  CHECK(notes.find("No IORING_SETUP_DEFER_TASKRUN") != std::string::npos);
  CHECK(notes.find("No IORING_SETUP_SINGLE_ISSUER") != std::string::npos);
}

}  // namespace gyre
