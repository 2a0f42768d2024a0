// SPDX-License-Identifier: MIT
// Sleeps and deadlines on the kernel, in a time namespace that shifts the clock which a program reads.
#include <gyre/runtime/as_result.hpp>
#include <gyre/runtime/boot_clock.hpp>
#include <gyre/runtime/deadline.hpp>
#include <gyre/runtime/ops/socket.hpp>
#include <gyre/runtime/task_group.hpp>
#include <gyre/runtime/timer.hpp>

#include "../support/child.hpp"
#include "../support/skip.hpp"

#include <doctest/doctest.h>
#include <sched.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <cstddef>
#include <fstream>
#include <string>

namespace gyre {
namespace {

using namespace std::chrono_literals;
using namespace test;

enum end_of_child : int { all_is_well, no_namespace, clock_not_shifted, sleep_was_short, no_deadline, hung };

constexpr unsigned patience_seconds = 20;

std::chrono::seconds monotonic_clock() {
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  return std::chrono::seconds{now.tv_sec};
}

// Moves the children of this process, from now on, into a time namespace. Returns whether the machine allows it.
bool shift_the_clock_of_children(std::chrono::seconds shift) {
  if (::unshare(CLONE_NEWUSER | CLONE_NEWTIME) != 0) return false;
  std::ofstream offsets{"/proc/self/timens_offsets"};
  offsets << "monotonic " << shift.count() << " 0\nboottime " << shift.count() << " 0" << std::endl;
  return offsets.good();
}

// A long sleep arms the kernel's timeout, and a short one moves it.
task<> sleep_beside_a_longer_sleep() {
  co_await with_task_group([](task_group& group) -> task<> {
    group.start([]() -> task<> { co_await sleep_for(20ms); });
    co_await sleep_for(1ms);
    co_await sleep_for(5ms);
  });
}

template <class Clock>
task<bool> recv_is_timed_out_on_other_clock() {
  std::array<int, 2> ends{};
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()) != 0) co_return false;
  const unique_fd here{ends[0]};
  const unique_fd there{ends[1]};
  std::array<std::byte, 4> buffer;
  const auto when = Clock::now() + 5ms;
  const auto received = co_await as_result(with_deadline(when, ops::recv(here, buffer)));
  co_return received.error() == std::errc::timed_out&& Clock::now() >= when;
}

template <class Clock>
task<bool> sleeps_until_its_time() {
  const auto when = Clock::now() + 5ms;
  co_await sleep_until(when);
  co_return Clock::now() >= when;
}

task<bool> recv_is_timed_out(std::chrono::nanoseconds duration) {
  std::array<int, 2> ends{};
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()) != 0) co_return false;
  const unique_fd here{ends[0]};
  const unique_fd there{ends[1]};
  std::array<std::byte, 4> buffer;
  const auto received = co_await as_result(with_timeout(duration, ops::recv(here, buffer)));
  co_return received.error() == std::errc::timed_out;
}

end_of_child use_every_keeper() {
  for (const parking park : {parking::eventfd, parking::ring_wait}) {
    for (const auto linked_timeout_max : {0ns, std::chrono::nanoseconds{1h}}) {
      executor loop{{.park = park, .linked_timeout_max = linked_timeout_max}};
      const auto began = std::chrono::steady_clock::now();
      loop.run(sleep_beside_a_longer_sleep());
      if (std::chrono::steady_clock::now() - began < 20ms) return sleep_was_short;
      if (!loop.run(recv_is_timed_out(5ms))) return no_deadline;
      if (!loop.run(recv_is_timed_out_on_other_clock<boot_clock>())) return no_deadline;
      if (!loop.run(recv_is_timed_out_on_other_clock<std::chrono::system_clock>())) return no_deadline;
      if (!loop.run(sleeps_until_its_time<boot_clock>())) return sleep_was_short;
      if (!loop.run(sleeps_until_its_time<std::chrono::system_clock>())) return sleep_was_short;
    }
  }
  return all_is_well;
}

// In the namespace. SIGALRM ends who waits for a time that never comes.
end_of_child live_with(std::chrono::seconds shift, std::chrono::seconds clock_before) {
  ::alarm(patience_seconds);
  const auto seen = monotonic_clock() - clock_before - shift;
  if (seen < 0s || seen > std::chrono::seconds{patience_seconds}) return clock_not_shifted;
  return use_every_keeper();
}

int in_a_time_namespace(std::chrono::seconds shift) {
  const auto clock_before = monotonic_clock();
  if (!shift_the_clock_of_children(shift)) return no_namespace;
  const pid_t inside = ::fork();
  if (inside == 0) ::_exit(live_with(shift, clock_before));
  int status = 0;
  ::waitpid(inside, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : hung;
}

}  // namespace

TEST_CASE("whichever way a time namespace shifts the clock, sleeps and deadlines come at their times") {
  for (const auto shift : {std::chrono::seconds{100'000}, -monotonic_clock() / 2}) {
    CAPTURE(shift.count());
    const auto ended = child{[shift] { return in_a_time_namespace(shift); }}.wait();
    if (ended.exit_status == no_namespace) {
      SAY_SKIPPED("this machine lets nobody make a time namespace");
      return;
    }
    CHECK(ended.errors == "");
    CHECK(ended.exit_status == all_is_well);
  }
}

}  // namespace gyre
