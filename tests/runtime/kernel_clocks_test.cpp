// SPDX-License-Identifier: MIT
// Sleeps, deadlines and moves of them on the kernel, on each of its clocks. In what order they meet what:
// clocked_deadline_test.cpp.
#include <gyre/runtime/as_result.hpp>
#include <gyre/runtime/boot_clock.hpp>
#include <gyre/runtime/deadline.hpp>
#include <gyre/runtime/ops/socket.hpp>
#include <gyre/runtime/ops/timeout.hpp>
#include <gyre/runtime/task_group.hpp>
#include <gyre/runtime/timer.hpp>

#include "../support/socket_pair.hpp"

#include <doctest/doctest.h>
#include <time.h>

#include <array>
#include <chrono>
#include <cstddef>

namespace gyre {
namespace {

using namespace std::chrono_literals;
using namespace test;

constexpr std::array<std::chrono::nanoseconds, 2> keepers{0ns, std::chrono::nanoseconds{1h}};

// Calls `check(executor&, Clock{})` for both keepers, both ways to park and all clocks.
template <class Check>
void for_each_clock(Check check) {
  for (const auto linked_timeout_max : keepers) {
    for (const parking park : {parking::eventfd, parking::ring_wait}) {
      CAPTURE(linked_timeout_max.count());
      executor loop{{.park = park, .linked_timeout_max = linked_timeout_max}};
      check(loop, std::chrono::steady_clock{});
      check(loop, boot_clock{});
      check(loop, std::chrono::system_clock{});
    }
  }
}

std::chrono::nanoseconds boot_time() {
  timespec time{};
  ::clock_gettime(CLOCK_BOOTTIME, &time);
  return std::chrono::seconds{time.tv_sec} + std::chrono::nanoseconds{time.tv_nsec};
}

}  // namespace

TEST_CASE("boot_clock tells CLOCK_BOOTTIME, and is a clock of the standard library's kind") {
  static_assert(std::chrono::is_clock_v<boot_clock>);
  const auto before = boot_time();
  const auto told = boot_clock::now().time_since_epoch();
  const auto after = boot_time();

  CHECK(before <= told);
  CHECK(told <= after);
}

TEST_CASE("sleep_until() ends on each clock, and not before its time") {
  for_each_clock([]<class Clock>(executor& loop, Clock) {
    const auto when = Clock::now() + 5ms;

    loop.run([&]() -> task<> { co_await sleep_until(when); });

    CHECK(Clock::now() >= when);
  });
}

TEST_CASE("a time that is past ends a sleep, and what does not complete at once, on each clock") {
  for_each_clock([]<class Clock>(executor& loop, Clock) {
    for (const auto when : {Clock::now() - 1h, typename Clock::time_point{}, Clock::time_point::min()}) {
      const socket_pair sockets;
      loop.run([&]() -> task<> {
        std::array<std::byte, 4> buffer;
        co_await sleep_until(when);
        const auto none = co_await as_result(with_deadline(when, ops::recv(sockets.here, buffer)));
        CHECK(none.error() == std::errc::timed_out);

        co_await ops::send(sockets.there, buffer);
        CHECK(co_await with_deadline(when, ops::recv(sockets.here, buffer)) == 4);
      });
    }
  });
}

TEST_CASE("a deadline on each clock ends an operation, a linked one, and a task, and not before its time") {
  for_each_clock([]<class Clock>(executor& loop, Clock) {
    const socket_pair sockets;
    loop.run([&]() -> task<> {
      std::array<std::byte, 4> buffer;
      auto when = Clock::now() + 2ms;
      const auto of_operation = co_await as_result(with_deadline(when, ops::recv(sockets.here, buffer)));
      CHECK(of_operation.error() == std::errc::timed_out);
      CHECK(Clock::now() >= when);

      when = Clock::now() + 2ms;
      const auto linked = co_await as_result(ops::link_timeout(ops::recv(sockets.here, buffer), when));
      CHECK(linked.error() == std::errc::timed_out);
      CHECK(Clock::now() >= when);

      when = Clock::now() + 2ms;
      const auto of_task = co_await as_result(with_deadline(when, sleep_for(1h)));
      CHECK(of_task.error() == std::errc::timed_out);
      CHECK(Clock::now() >= when);
    });
    CHECK(loop.in_kernel_count() <= 4);  // timeouts of the clocks, the wake poll, and nothing of what has ended
  });
}

TEST_CASE("what comes before the deadline is delivered on each clock, a thousand times with the same movable one") {
  for_each_clock([]<class Clock>(executor& loop, Clock) {
    const socket_pair sockets;
    loop.run([&]() -> task<> {
      std::array<std::byte, 4> buffer;
      movable_deadline<Clock> idle{10s};
      for (int i = 0; i < 1000; ++i) {
        if (i % 3 == 0) co_await ops::send(sockets.there, buffer);
        co_await with_task_group([&](task_group& group) -> task<> {
          group.start([](const socket_pair& on, auto& deadline, bool sends) -> task<> {
            deadline.expires_after(20s);
            std::array<std::byte, 4> bytes{};
            if (sends) co_await ops::send(on.there, bytes);
          }(sockets, idle, i % 3 != 0));
          CHECK(co_await with_deadline(idle, ops::recv(sockets.here, buffer)) == 4);
        });
      }
    });
  });
}

TEST_CASE("a movable deadline is moved on while the kernel or the executor keeps it, and then passes") {
  for_each_clock([]<class Clock>(executor& loop, Clock) {
    const socket_pair sockets;
    loop.run([&]() -> task<> {
      movable_deadline<Clock> idle{1h};
      const auto began = Clock::now();
      co_await with_task_group([&](task_group& group) -> task<> {
        group.start([](auto& deadline) -> task<> {
          for (int i = 0; i < 5; ++i) {
            co_await sleep_for(1ms);
            deadline.expires_after(10s);
          }
          deadline.expires_after(1ms);
        }(idle));
        std::array<std::byte, 4> buffer;
        const auto ended = co_await as_result(with_deadline(idle, ops::recv(sockets.here, buffer)));
        CHECK(ended.error() == std::errc::timed_out);
        CHECK(Clock::now() >= began + 6ms);
        CHECK(Clock::now() >= idle.expiry());
      });
    });
  });
}

TEST_CASE("very many deadlines on each clock come and go, in the kernel and in the executor") {
  for_each_clock([]<class Clock>(executor& loop, Clock) {
    constexpr int count = 300;
    const socket_pair sockets;
    int timed_out_count = 0;
    loop.run([&]() -> task<> {
      co_await with_task_group([&](task_group& group) -> task<> {
        for (int i = 0; i < count; ++i)
          group.start([](const socket_pair& on, auto when, int& ended_count) -> task<> {
            std::array<std::byte, 4> buffer;
            const auto ended = co_await as_result(with_deadline(when, ops::recv(on.here, buffer)));
            ended_count += ended.error() == std::errc::timed_out ? 1 : 0;
          }(sockets, Clock::now() + (i * 7 % count) * 20us, timed_out_count));
        co_return;
      });
    });
    CHECK(timed_out_count == count);
  });
}

}  // namespace gyre
