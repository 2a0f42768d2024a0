// SPDX-License-Identifier: MIT
// What goes on where the heap has nothing left: waits and deadlines, which need none of it, and connections that come.
//
// This program has an operator new that fails on demand.
#include <gyre/runtime/as_result.hpp>
#include <gyre/runtime/buffer_pool.hpp>
#include <gyre/runtime/deadline.hpp>
#include <gyre/runtime/detail/timer_heap.hpp>
#include <gyre/runtime/offload.hpp>
#include <gyre/runtime/ops/accept_stream.hpp>
#include <gyre/runtime/ops/pool_streams.hpp>
#include <gyre/runtime/ops/socket.hpp>
#include <gyre/runtime/runtime.hpp>
#include <gyre/runtime/timer.hpp>

#include "../support/outcome.hpp"
#include "../support/scripted.hpp"

#include <doctest/doctest.h>
#include <liburing.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <chrono>
#include <climits>
#include <cstddef>
#include <cstdlib>
#include <memory>
#include <new>
#include <system_error>
#include <utility>
#include <vector>

namespace {

bool heap_is_empty = false;
std::atomic<long> allocations_until_empty = LONG_MAX;  // on all threads

constexpr std::align_val_t by_default{__STDCPP_DEFAULT_NEW_ALIGNMENT__};

void* scarce_allocation(std::size_t bytes, std::align_val_t alignment = by_default) {
  void* memory = nullptr;
  if (allocations_until_empty-- <= 0) throw std::bad_alloc{};
  if (!heap_is_empty && ::posix_memalign(&memory, std::size_t(alignment), bytes != 0 ? bytes : 1) == 0) return memory;
  throw std::bad_alloc{};
}

}  // namespace

void* operator new(std::size_t bytes) { return scarce_allocation(bytes); }
void* operator new[](std::size_t bytes) { return scarce_allocation(bytes); }
void* operator new(std::size_t bytes, std::align_val_t alignment) { return scarce_allocation(bytes, alignment); }
void* operator new(std::size_t bytes, const std::nothrow_t&) noexcept {
  return heap_is_empty ? nullptr : std::malloc(bytes != 0 ? bytes : 1);
}
void* operator new[](std::size_t bytes, const std::nothrow_t& none) noexcept { return operator new(bytes, none); }
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::align_val_t) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }
void operator delete[](void* memory) noexcept { std::free(memory); }
void operator delete[](void* memory, std::size_t) noexcept { std::free(memory); }

namespace gyre {
namespace {

using namespace std::chrono_literals;
using namespace test;

constexpr int some_socket = 1'000'123;
constexpr int waits_count = 1'000;

// One turn in which every operator new of the executor and its coroutines fails; the script may go on taking notes.
void turn_without_memory(scripted_executor& on) {
  on.script.on_enter = [] { heap_is_empty = false; };
  heap_is_empty = true;
  on.loop.turn(/*may_park=*/false);
  heap_is_empty = false;
}

// Each is shorter than the one before, so that no two of them come in the order in which they are due.
std::chrono::nanoseconds shorter_each_time(int index) { return 1ms * (waits_count - index); }

using roots = std::vector<std::unique_ptr<root_task<void>>>;

task<> sleep_once(std::chrono::nanoseconds duration) { co_await sleep_for(duration); }

task<> recv_once() {
  std::array<std::byte, 4> buffer;
  co_await ops::recv(some_socket, buffer);
}

bool is_timed_out(const std::system_error& error) { return error.code() == std::errc::timed_out; }

task<> recv_within(std::chrono::nanoseconds duration, int& timed_out_count) {
  try {
    std::array<std::byte, 4> buffer;
    co_await with_timeout(duration, ops::recv(some_socket, buffer));
  } catch (const std::system_error& error) {
    timed_out_count += is_timed_out(error) ? 1 : 0;
  }
}

task<> await_within(std::chrono::nanoseconds duration, task<>& body, int& timed_out_count) {
  try {
    co_await with_timeout(duration, std::move(body));
  } catch (const std::system_error& error) {
    timed_out_count += is_timed_out(error) ? 1 : 0;
  }
}

}  // namespace

TEST_CASE("this program can be without memory") {
  heap_is_empty = true;
  bool failed = false;
  try {
    ::operator delete(::operator new(8));
  } catch (const std::bad_alloc&) {
    failed = true;
  }
  heap_is_empty = false;

  CHECK(failed);
}

TEST_CASE("timers that were armed without memory come out in the order of their times, among the others") {
  static constexpr detail::timer_kind does_nothing{[](detail::timer&) noexcept {}};
  struct some_timer : detail::timer {
    some_timer() noexcept : timer{does_nothing} {}
  };
  constexpr int step = 7;  // visits every index once, as it has no factor in common with their number
  for (const detail::clock_ns unit : {1, 10'000'000, 1'000'000'000}) {
    CAPTURE(unit);
    std::vector<some_timer> timers(waits_count);
    detail::timer_heap heap;
    heap.reach(0);
    const auto arm = [&](int i) { heap.arm(timers[std::size_t(i)], (waits_count - i * step % waits_count) * unit); };

    for (int i = 0; i < waits_count / 2; ++i) arm(i);
    heap_is_empty = true;
    for (int i = waits_count / 2; i < waits_count; ++i) arm(i);
    heap.reach(unit / 2);
    heap_is_empty = false;
    for (int i = 0; i < waits_count; i += 3) heap.disarm(timers[std::size_t(i)]);

    heap_is_empty = true;
    detail::clock_ns last = 0;
    std::size_t popped_count = 0;
    bool in_order = true;
    for (std::size_t looks_left = 2 * waits_count; !heap.empty() && looks_left > 0; --looks_left) {
      const detail::timer* const popped = heap.pop_due(heap.earliest());
      if (popped == nullptr) continue;  // that one was taken out
      in_order = in_order && popped->due() > last;
      last = popped->due();
      ++popped_count;
    }
    heap_is_empty = false;
    CHECK(in_order);
    CHECK(popped_count == waits_count * 2 / 3);
  }
}

TEST_CASE("a sleep begins and ends without memory") {
  scripted_executor on{{}, {.turn_budget = waits_count}};
  roots asleep;
  for (int i = 0; i < waits_count; ++i)
    asleep.push_back(std::make_unique<root_task<void>>(on.loop, sleep_once(shorter_each_time(i))));

  turn_without_memory(on);
  CHECK(on.loop.timers().size() == waits_count);

  on.script.advance(1s);
  for (int i = 0; i < 2; ++i) turn_without_memory(on);  // the timers expire at the end of the first
  for (const auto& each : asleep) CHECK(each->done());
}

TEST_CASE("a deadline on an operation begins and ends without memory") {
  scripted_executor on{{.sq_entries = 4096, .cq_entries = 16384}, {.turn_budget = 4096, .linked_timeout_max = 0ns}};
  int timed_out_count = 0;
  roots timed;
  for (int i = 0; i < waits_count; ++i)
    timed.push_back(std::make_unique<root_task<void>>(on.loop, recv_within(shorter_each_time(i), timed_out_count)));

  turn_without_memory(on);
  CHECK(on.loop.timers().size() == waits_count);

  on.script.advance(1s);
  on.loop.run_ready();
  CHECK(timed_out_count == waits_count);
}

namespace {

struct taken_connections {
  int count = 0;
  std::error_code error;
};

// Takes one, is slow, and then takes all until the first error, and one more.
task<> take_slowly(taken_connections& taken) {
  ops::accept_stream incoming(some_socket);
  static_cast<void>(co_await incoming.next());
  co_await sleep_for(1ms);
  for (taken.count = 1; !taken.error; ++taken.count) {
    const auto next = co_await as_result(incoming.next());
    if (!next) taken.error = next.error();
  }
  static_cast<void>(co_await incoming.next());
}

int new_descriptor() { return ::dup(STDERR_FILENO); }

}  // namespace

TEST_CASE("connections that there is no memory to keep are closed, the reader hears of it, and goes on") {
  constexpr int many = 200;
  const std::size_t open_before = open_descriptors_count();
  scripted_executor on{{}, {.turn_budget = many}};
  taken_connections taken;
  auto root = on.loop.start(take_slowly(taken));
  on.loop.run_ready();
  for (int i = 0; i < many; ++i)
    on.script.complete(on.script.only(IORING_OP_ACCEPT), new_descriptor(), IORING_CQE_F_MORE);

  turn_without_memory(on);
  on.loop.run_ready();
  on.script.advance(1ms);
  on.loop.run_ready();

  CHECK(taken.error == std::errc::not_enough_memory);
  CHECK(taken.count > 1);
  CHECK(taken.count < many);
  CHECK(open_descriptors_count() == open_before);
  on.script.complete(on.script.only(IORING_OP_ACCEPT), new_descriptor(), IORING_CQE_F_MORE);
  on.loop.run_ready();
  CHECK(root.done());
  CHECK(open_descriptors_count() == open_before);
}

namespace {

// Is away while the others come.
task<> count_chunks(ops::recv_stream& incoming, taken_connections& taken) {
  for (; !taken.error; ++taken.count) {
    const auto next = co_await as_result(incoming.next());
    if (!next) taken.error = next.error();
    if (taken.count == 0) co_await sleep_for(1ms);
  }
}

}  // namespace

TEST_CASE("bytes that there is no memory to keep account of are lost, and the reader hears of it; no buffer is") {
  scripted_executor on;
  const buffer_pool pool{on.loop, {.buffers_count = 32, .buffer_bytes = 4}};
  ops::recv_stream incoming{some_socket, pool, {.pause_at = 8}};
  taken_connections taken;
  auto root = on.loop.start(count_chunks(incoming, taken));
  on.loop.run_ready();
  for (int i = 0; i < 20; ++i) on.script.deliver_selected(on.script.only(IORING_OP_RECV), "one");

  turn_without_memory(on);
  CHECK(taken.count == 0);
  on.script.advance(1ms);
  on.loop.run_ready();

  CHECK(root.done());
  CHECK(taken.error == std::errc::not_enough_memory);
  CHECK(taken.count == 1 + 1 + 1);  // the first, the one that the store has room for in itself, and the error
  CHECK(pool.statistics().free_buffers == 32);
}

TEST_CASE("where memory ends while a pool is made, there is none, and its number is free") {
  scripted_executor on;
  const buffer_pool first{on.loop, {.buffers_count = 1}};
  long failed_count = 0;
  for (bool is_made = false; !is_made; ++failed_count) {
    allocations_until_empty = failed_count;
    try {
      const buffer_pool made{on.loop, {.buffers_count = 4, .incremental = true}};
      is_made = true;
    } catch (const std::bad_alloc&) {
    } catch (const std::system_error& error) {  // the script's answer, for want of memory
      CHECK(error.code() == std::errc::not_enough_memory);
    }
    allocations_until_empty = LONG_MAX;
  }

  CHECK(failed_count > 3);
  CHECK(on.script.buffer_groups().size() == 1);
}

TEST_CASE("a deadline on a task begins and ends without memory") {
  scripted_executor on{{.sq_entries = 4096, .cq_entries = 16384}, {.turn_budget = 4096}};
  int timed_out_count = 0;
  std::vector<task<>> bodies;
  roots timed;
  for (int i = 0; i < waits_count; ++i) bodies.push_back(recv_once());
  for (int i = 0; i < waits_count; ++i)
    timed.push_back(std::make_unique<root_task<void>>(
        on.loop, await_within(shorter_each_time(i), bodies[std::size_t(i)], timed_out_count)));

  turn_without_memory(on);
  CHECK(on.loop.timers().size() == waits_count);

  on.script.advance(1s);
  on.loop.run_ready();
  CHECK(timed_out_count == waits_count);
}

TEST_CASE("without memory, a deadline on another clock that the kernel was to keep is kept by the executor") {
  for (const detail::clock_id clock : {detail::clock_id::boot, detail::clock_id::system}) {
    scripted_executor on{{}, {.linked_timeout_max = 1h}};
    int timed_out_count = 0;
    roots receiving;
    receiving.push_back(std::make_unique<root_task<void>>(on.loop, [](detail::clocked_limit when, int& to) -> task<> {
      try {
        std::array<std::byte, 4> buffer;
        co_await with_deadline(when, ops::recv(some_socket, buffer));
      } catch (const std::system_error& error) {
        to += is_timed_out(error) ? 1 : 0;
      }
    }(detail::clocked_limit{point_in_time{clock, on.script.now_on(clock) + 10'000'000}}, timed_out_count)));

    turn_without_memory(on);
    CHECK(!on.script.only(IORING_OP_RECV).linked);
    on.loop.run_ready();
    on.script.advance(10ms - 1ns);
    on.loop.run_ready();
    CHECK(timed_out_count == 0);
    on.script.advance(1ns);
    on.loop.run_ready();

    CHECK(timed_out_count == 1);
  }
}

TEST_CASE("without memory for a first thread an offloaded call fails, and the next one with memory runs") {
  scripted_executor on{{}, one_at_a_time};
  offload_pool pool;
  std::error_code error;
  int value = 0;
  auto root = on.loop.start([](offload_pool& its_pool, std::error_code& noted, int& to) -> task<> {
    try {
      co_await offload(its_pool, [] {});
    } catch (const std::system_error& failure) {
      noted = failure.code();
    }
    to = co_await offload(its_pool, [] { return 3; });
  }(pool, error, value));

  turn_without_memory(on);
  CHECK(pool.statistics().threads == 0);
  while (!root.done()) on.loop.turn(/*may_park=*/false);

  CHECK(error == std::errc::resource_unavailable_try_again);
  CHECK(value == 3);
}

TEST_CASE("where memory ends while a runtime is made, on whatever thread, there is none, and its maker is told") {
  runtime_options options{.executors = 2, .pin = pinning::always, .executor = {.sq_entries = 8, .cq_entries = 64}};
  long failed_count = 0;
  bool is_made = false;
  while (!is_made && failed_count < 1'000) {
    runtime_options asked = options;
    allocations_until_empty = failed_count;
    try {
      const runtime made{std::move(asked)};
      allocations_until_empty = LONG_MAX;
      is_made = true;
    } catch (const std::bad_alloc&) {
      allocations_until_empty = LONG_MAX;
      ++failed_count;
    }
  }

  CHECK(is_made);
  CHECK(failed_count > 10);
}

}  // namespace gyre
