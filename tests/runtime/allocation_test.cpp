// SPDX-License-Identifier: MIT
// What the heap is asked for on the paths that run a million times a second: nothing, once the frame pool is warm.
//
// This program counts every operator new. A sanitizer's build takes each frame from the heap on purpose, so that it
// sees its end: there is nothing to count then, and the sanitizer has an operator new of its own.
#include <gyre/runtime/buffer_pool.hpp>
#include <gyre/runtime/deadline.hpp>
#include <gyre/runtime/detail/frame_pool.hpp>
#include <gyre/runtime/executor.hpp>
#include <gyre/runtime/offload.hpp>
#include <gyre/runtime/ops/link.hpp>
#include <gyre/runtime/ops/misc.hpp>
#include <gyre/runtime/ops/pool_streams.hpp>
#include <gyre/runtime/ops/socket.hpp>
#include <gyre/runtime/scope.hpp>
#include <gyre/runtime/task_group.hpp>
#include <gyre/runtime/this_task.hpp>
#include <gyre/runtime/timer.hpp>
#include <gyre/runtime/when_all.hpp>
#include <gyre/runtime/when_any.hpp>
#include <gyre/sync/event.hpp>
#include <gyre/sync/semaphore.hpp>

#include "../support/skip.hpp"
#include "../support/socket_pair.hpp"

#include <doctest/doctest.h>
#include <sys/socket.h>

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <new>
#include <stop_token>
#include <utility>
#include <vector>

namespace {

std::atomic<std::uint64_t> allocations_count = 0;

constexpr std::align_val_t by_default{__STDCPP_DEFAULT_NEW_ALIGNMENT__};

[[maybe_unused]] void* counted_allocation(std::size_t bytes, std::align_val_t alignment = by_default) {
  ++allocations_count;
  void* memory = nullptr;
  if (::posix_memalign(&memory, std::size_t(alignment), bytes != 0 ? bytes : 1) == 0) return memory;
  throw std::bad_alloc{};
}

}  // namespace

#if GYRE_DETAIL_POOLED_FRAMES
void* operator new(std::size_t bytes) { return counted_allocation(bytes); }
void* operator new[](std::size_t bytes) { return counted_allocation(bytes); }
void* operator new(std::size_t bytes, std::align_val_t alignment) { return counted_allocation(bytes, alignment); }
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::align_val_t) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }
void operator delete[](void* memory) noexcept { std::free(memory); }
void operator delete[](void* memory, std::size_t) noexcept { std::free(memory); }
#endif

namespace gyre {
namespace {

using namespace std::chrono_literals;
using namespace test;

constexpr int rounds_count = 1000;

// What `rounds_count` rounds of something take from the heap, after a first round that warms the pool.
template <class MakeRound>
std::uint64_t allocations_of(executor& loop, MakeRound make_round) {
  std::uint64_t counted = 0;
  loop.run([&]() -> task<> {
    co_await make_round();
    co_await make_round();
    const std::uint64_t before = allocations_count;
    for (int i = 0; i < rounds_count; ++i) co_await make_round();
    counted = allocations_count - before;
  });
  return counted;
}

bool nothing_to_count() {
  if (GYRE_DETAIL_POOLED_FRAMES) return false;
  SAY_SKIPPED("under this sanitizer each frame is an allocation of its own");
  return true;
}

[[gnu::noinline]] task<int> one() { co_return 1; }

[[gnu::noinline]] task<int> recursion(int levels) {
  if (levels == 0) co_return 0;
  co_return 1 + co_await recursion(levels - 1);
}

}  // namespace

TEST_CASE("this program sees what is allocated") {
  if (nothing_to_count()) return;
  const std::uint64_t before = allocations_count;

  constexpr std::align_val_t line{64};
  ::operator delete(::operator new(8));  // unlike a new-expression, not to be optimised away
  ::operator delete(::operator new(8, line), line);

  CHECK(allocations_count == before + 2);
}

TEST_CASE("a chain of operations allocates nothing, nor does its deadline") {
  if (nothing_to_count()) return;
  executor loop;

  const auto chains = []() -> task<> {
    static_cast<void>(co_await ops::link(ops::nop(), ops::nop(), ops::nop()));
    static_cast<void>(co_await with_timeout(1s, ops::hard_link(ops::nop(), ops::nop())));
    co_await ops::drain(ops::nop());
  };

  CHECK(allocations_of(loop, chains) == 0);
}

TEST_CASE("a stream of buffers allocates itself, and nothing more where each is taken before the next one comes") {
  if (nothing_to_count()) return;
  executor loop;
  const socket_pair pair;
  const buffer_pool pool{loop, {.buffers_count = 8, .buffer_bytes = 16}};
  const std::uint64_t before = allocations_count;
  ops::recv_stream incoming{pair.here, pool};
  CHECK(allocations_count == before + 1);

  const auto messages = [&]() -> task<> {
    if (::send(pair.there.get(), "x", 1, 0) != 1) co_return;
    static_cast<void>(co_await incoming.next());
  };

  CHECK(allocations_of(loop, messages) == 0);
}

TEST_CASE("a co_await of a task allocates nothing") {
  if (nothing_to_count()) return;
  executor loop;

  CHECK(allocations_of(loop, []() -> task<> { co_await one(); }) == 0);
  CHECK(allocations_of(loop, []() -> task<> { co_await recursion(100); }) == 0);
}

TEST_CASE("an operation allocates nothing") {
  if (nothing_to_count()) return;
  executor loop;
  const socket_pair pair;

  const auto echo = [&]() -> task<> {
    std::array<std::byte, 4> buffer{};
    co_await ops::send_all(pair.there, buffer);
    co_await ops::recv_all(pair.here, buffer);
    co_await ops::nop();
  };

  CHECK(allocations_of(loop, echo) == 0);
}

TEST_CASE("a sleep, a deadline and a scope allocate nothing") {
  if (nothing_to_count()) return;
  for (const auto linked_timeout_max : {0ns, std::chrono::nanoseconds{1h}}) {
    executor loop{{.linked_timeout_max = linked_timeout_max}};

    const auto round = []() -> task<> {
      co_await sleep_for(0ns);
      co_await with_timeout(1min, ops::nop());
      static_cast<void>(co_await with_timeout(1min, one()));
      static_cast<void>(co_await with_cancel_scope([](cancel_scope&) { return one(); }));
      static_cast<void>(co_await shield(one()));
    };

    CHECK(allocations_of(loop, round) == 0);
  }
}

TEST_CASE("a task group and its children allocate nothing") {
  if (nothing_to_count()) return;
  executor loop;

  const auto round = []() -> task<> {
    co_await with_task_group([](task_group& group) -> task<> {
      for (int i = 0; i < 10; ++i) group.start([]() -> task<> { co_await ops::nop(); });
      co_return;
    });
  };

  CHECK(allocations_of(loop, round) == 0);
}

TEST_CASE("tasks and operations side by side allocate nothing; a list of them, its two arrays") {
  if (nothing_to_count()) return;
  executor loop;

  const auto of_several_types = []() -> task<> {
    static_cast<void>(co_await when_all(one(), ops::nop(), one()));
    static_cast<void>(co_await when_any(sleep_for(1h), one()));
    static_cast<void>(co_await race(sleep_for(1h), one()));
    static_cast<void>(co_await first_success(sleep_for(1h), one()));
  };
  const auto of_one_type = []() -> task<> {
    std::vector<task<int>> tasks;  // the third array
    tasks.reserve(10);
    for (int i = 0; i < 10; ++i) tasks.push_back(one());
    static_cast<void>(co_await when_all(std::move(tasks)));
  };

  CHECK(allocations_of(loop, of_several_types) == 0);
  CHECK(allocations_of(loop, of_one_type) == 3 * rounds_count);
}

TEST_CASE("an offloaded call allocates nothing, on this thread and on the other; a stop token, its state") {
  if (nothing_to_count()) return;
  offload_pool pool{{.threads_max = 1}};
  executor loop;

  const auto plain = [&]() -> task<> { static_cast<void>(co_await offload(pool, [] { return 1; })); };
  const auto with_token = [&]() -> task<> { co_await offload(pool, [](std::stop_token) {}); };

  CHECK(allocations_of(loop, plain) == 0);
  CHECK(allocations_of(loop, with_token) == rounds_count);
}

task<> set_and_release(sync::semaphore& permits, sync::event& happened) {
  permits.release();
  happened.set();
  co_return;
}

// A permit and an event that another executor releases and sets, beside one that is stopped while it waits.
TEST_CASE("waiting for each other allocates nothing, on one executor or across two") {
  if (nothing_to_count()) return;
  executor loop;
  executor other;
  sync::semaphore permits{0};
  sync::event happened;
  const auto wait_for_both = [&]() -> task<> {
    const auto permit = co_await permits.acquire();
    co_await happened.wait();
  };
  const auto stopped = [&]() -> task<> { static_cast<void>(co_await move_on_after(0ns, permits.acquire(2))); };

  const auto round = [&]() -> task<> {
    happened.reset();
    co_await with_task_group([&](task_group& group) -> task<> {
      group.start(wait_for_both());
      group.start(stopped());
      co_await this_task::yield();
      permits.release();
      co_await this_task::yield();
      happened.set();
    });
    permits.try_acquire()->forget();
  };
  CHECK(allocations_of(loop, round) == 0);

  const auto across = [&] {
    const std::uint64_t before = allocations_count;
    happened.reset();
    auto waits = loop.start(wait_for_both());
    loop.run_ready();
    auto sets = other.start(set_and_release(permits, happened));
    other.run_ready();
    loop.run_ready();
    CHECK(waits.done());
    permits.try_acquire()->forget();
    return allocations_count - before;
  };
  static_cast<void>(across());
  CHECK(across() == 0);
}

TEST_CASE("a cancel allocates nothing") {
  if (nothing_to_count()) return;
  executor loop;

  const auto round = []() -> task<> {
    co_await with_cancel_scope([](cancel_scope& scope) -> task<> {
      scope.cancel();
      co_await sleep_for(1h);
    });
  };

  CHECK(allocations_of(loop, round) == 0);
}

}  // namespace gyre
