// SPDX-License-Identifier: MIT
// Visitors that end by an error, or are stopped, while who awaits them sleeps: it is woken each time, and hears of it.
// Two executors on threads of their own visit each other; a wake that is lost, here or there, would hang.
// on_test.cpp steps through the orders of one visit; here they come as the threads bring them about.
#include <gyre/runtime/deadline.hpp>
#include <gyre/runtime/executor.hpp>
#include <gyre/runtime/on.hpp>
#include <gyre/runtime/ops/file.hpp>
#include <gyre/runtime/ops/misc.hpp>
#include <gyre/runtime/this_task.hpp>
#include <gyre/runtime/timer.hpp>
#include <gyre/runtime/when_all.hpp>

#include "../support/executor_thread.hpp"
#include "../support/stress.hpp"

#include <doctest/doctest.h>

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <system_error>

namespace gyre {
namespace {

using namespace std::chrono_literals;
using namespace test;

constexpr int rounds_count = 400;
constexpr int no_descriptor = 1'000'000'123;

struct visitor_error : std::runtime_error {
  visitor_error() : std::runtime_error{"thrown over there"} {}
};

// How a visit ended, over all rounds of one executor: each in one way.
struct tally {
  int thrown_count = 0;
  int refused_count = 0;
  int timed_out_count = 0;
  int with_value_count = 0;
  [[nodiscard]] int all() const noexcept { return thrown_count + refused_count + timed_out_count + with_value_count; }
};

enum class ends : std::uint8_t { at_once, in_next_turn, by_kernel, by_kernels_error, when_stopped };
constexpr unsigned ways_count = 5;

void spend_time(unsigned steps_count) noexcept {
  for (unsigned i = 0; i < steps_count; ++i) std::atomic_signal_fence(std::memory_order_seq_cst);
}

// Over there. So long that who awaits it may be asleep by then, or on its way there.
task<> end(ends how, unsigned steps_count, std::atomic<int>& guests_count) {
  struct guest {
    explicit guest(std::atomic<int>& counted) noexcept : count{counted} { ++count; }
    guest(const guest&) = delete;
    guest& operator=(const guest&) = delete;
    ~guest() { --count; }
    std::atomic<int>& count;
  };
  const guest here{guests_count};
  std::array<std::byte, 4> buffer{};
  if (how == ends::in_next_turn) co_await this_task::yield();
  if (how == ends::by_kernel) co_await ops::nop();
  if (how == ends::when_stopped) co_await sleep_for(1h);
  spend_time(steps_count);
  if (how == ends::by_kernels_error) static_cast<void>(co_await ops::read(no_descriptor, buffer));
  throw visitor_error{};
}

task<> visit_once(executor& there, ends how, unsigned steps_count, tally& counted) {
  std::atomic<int> guests_count = 0;
  try {
    if (how == ends::when_stopped) co_await with_timeout(20us, on(there, end(how, steps_count, guests_count)));
    else co_await on(there, end(how, steps_count, guests_count));
    ++counted.with_value_count;
  } catch (const visitor_error&) {
    ++counted.thrown_count;
  } catch (const std::system_error& error) {
    CHECK((error.code() == std::errc::timed_out || error.code() == std::errc::bad_file_descriptor));
    ++(error.code() == std::errc::timed_out ? counted.timed_out_count : counted.refused_count);
  }
  CHECK(guests_count == 0);
}

task<tally> visit_again_and_again(executor& there, std::uint32_t seed) {
  random dice{seed};
  tally counted;
  for (int round = 0; round < rounds_count; ++round) {
    const auto how = static_cast<ends>(dice() % ways_count);
    co_await visit_once(there, how, static_cast<unsigned>(dice() % 3'000), counted);
  }
  co_return counted;
}

// It sleeps as soon as there is nothing to do: so that the error comes to one that is asleep, or about to be.
executor_options soon_asleep(std::uint32_t seed) {
  return {.park = seed % 2 == 0 ? parking::eventfd : parking::ring_wait, .spin_before_park = 0ns};
}

void check(const tally& counted) {
  CHECK(counted.all() == rounds_count);
  CHECK(counted.with_value_count == 0);
  CHECK(counted.thrown_count > 0);
  CHECK(counted.refused_count > 0);
  CHECK(counted.timed_out_count > 0);
}

}  // namespace

TEST_CASE("a visitor that ends by an error wakes who sleeps for it, and no error is lost") {
  run_for_a_while([](std::uint32_t seed) {
    executor_thread other{soon_asleep(seed / 2)};
    executor home{soon_asleep(seed)};

    check(home.run(visit_again_and_again(other.loop(), seed)));

    CHECK(home.statistics().parks > 0);
  });
}

TEST_CASE("the same between two executors that visit each other: both sleep, and both are woken") {
  run_for_a_while([](std::uint32_t seed) {
    executor_thread other{soon_asleep(seed / 2)};
    executor home{soon_asleep(seed)};
    tally theirs;
    const auto both_ways = [&]() -> task<tally> {
      // Their visits to this executor are made by a task of theirs, which this one awaits beside its own.
      const auto visit_here = [&]() -> task<> { theirs = co_await visit_again_and_again(home, seed + 1); };
      tally ours;
      const auto visit_there = [&]() -> task<> { ours = co_await visit_again_and_again(other.loop(), seed); };
      co_await when_all(on(other.loop(), visit_here()), visit_there());
      co_return ours;
    };

    const tally ours = home.run(both_ways());

    check(ours);
    check(theirs);
    CHECK(home.statistics().parks > 0);
  });
}

}  // namespace gyre
