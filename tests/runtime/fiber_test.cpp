// SPDX-License-Identifier: MIT
// Ordinary code on stacks of its own: values, exceptions, stops and deadlines cross over, and many take turns.
#include <gyre/runtime/as_result.hpp>
#include <gyre/runtime/deadline.hpp>
#include <gyre/runtime/detail/sanitizers.hpp>
#include <gyre/runtime/executor.hpp>
#include <gyre/runtime/fiber.hpp>
#include <gyre/runtime/offload.hpp>
#include <gyre/runtime/on.hpp>
#include <gyre/runtime/ops/misc.hpp>
#include <gyre/runtime/ops/socket.hpp>
#include <gyre/runtime/scope.hpp>
#include <gyre/runtime/task_group.hpp>
#include <gyre/runtime/this_task.hpp>
#include <gyre/runtime/timer.hpp>
#include <gyre/runtime/when_all.hpp>

#include "../support/child.hpp"
#include "../support/outcome.hpp"
#include "../support/scripted.hpp"
#include "../support/socket_pair.hpp"
#include "../support/turning.hpp"

#include <doctest/doctest.h>
#include <liburing.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <fstream>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

namespace gyre {
namespace {

using namespace std::chrono_literals;
using namespace test;

constexpr int some_socket = 1'000'123;

task<int> give(int value) {
  co_await ops::nop();
  co_return value;
}

task<> fail() {
  co_await ops::nop();
  throw std::runtime_error{"from the task"};
}

// Calls below calls, as a library's would be.
[[gnu::noinline]] int sum_below(int depth) {
  if (depth == 0) return fiber::await(give(1));
  return sum_below(depth - 1) + fiber::await(give(1));
}

struct note_end {
  std::vector<std::string>& ends;
  std::string name;
  ~note_end() { ends.push_back(name); }
};

// Stacks that are mapped: each has a guard below it that nobody may touch.
std::size_t stacks_count() {
  std::ifstream maps{"/proc/self/maps"};
  std::size_t count = 0;
  for (std::string line; std::getline(maps, line);) {
    std::size_t begin = 0;
    std::size_t end = 0;
    std::array<char, 5> rights{};
    if (std::sscanf(line.c_str(), "%zx-%zx %4s", &begin, &end, rights.data()) != 3) continue;
    if (std::string_view{rights.data()} == "---p" && end - begin == detail::fiber_stack::guard_bytes) ++count;
  }
  return count;
}

// Memory that this process has: statm of proc(5).
std::size_t resident_pages() {
  std::ifstream statm{"/proc/self/statm"};
  std::size_t size = 0;
  std::size_t resident = 0;
  statm >> size >> resident;
  return resident;
}

}  // namespace

// ------------------------------------------------------------------------------------------------- values and errors

TEST_CASE("code on a fiber awaits at any depth of calls, and gives a value") {
  executor loop;
  CHECK(loop.run(on_fiber([] { return sum_below(50); })) == 51);
}

TEST_CASE("code that awaits nothing runs to its end at once") {
  executor loop;
  CHECK(loop.run(on_fiber([] { return 7; })) == 7);
  bool has_run = false;
  loop.run(on_fiber([&] { has_run = true; }));
  CHECK(has_run);
}

TEST_CASE("what only moves, and what is a reference, cross over both ways") {
  executor loop;
  int target = 0;
  const auto moved = loop.run(on_fiber([owned = std::make_unique<int>(3)]() mutable {
    auto back = fiber::await([](std::unique_ptr<int> mine) -> task<std::unique_ptr<int>> {
      co_await ops::nop();
      co_return std::move(mine);
    }(std::move(owned)));
    return back;
  }));
  CHECK(*moved == 3);

  int& same = loop.run(on_fiber([&]() -> int& {
    return fiber::await([](int& of) -> task<int&> {
      co_await ops::nop();
      co_return of;
    }(target));
  }));
  CHECK(&same == &target);
}

TEST_CASE("operations are awaited without a task of one's own, and an lvalue of what may be one") {
  executor loop;
  const socket_pair pair;
  REQUIRE(::send(pair.there.get(), "data", 4, 0) == 4);

  loop.run(on_fiber([&] {
    std::array<std::byte, 8> buffer;
    auto receiving = ops::recv(pair.here, buffer);
    CHECK(fiber::await(receiving) == 4);
    const result<std::size_t> refused = fiber::await(as_result(ops::recv(fd_ref{-1}, buffer)));
    CHECK(refused.error() == std::errc::bad_file_descriptor);
  }));
}

TEST_CASE("an exception crosses from the task to the code, and from the code to who awaits it") {
  executor loop;
  bool was_caught = false;

  CHECK_THROWS_WITH_AS(loop.run(on_fiber([&] {
    try {
      fiber::await(fail());
    } catch (const std::runtime_error&) {
      was_caught = true;
    }
    fiber::await(fail());
  })),
                       "from the task", std::runtime_error);
  CHECK(was_caught);
}

TEST_CASE("who awaits while an exception is handled goes on handling that one") {
  executor loop;
  const auto handle_and_wait = [](std::string text, std::chrono::milliseconds wait) {
    return on_fiber([text = std::move(text), wait] {
      try {
        throw std::runtime_error{text};
      } catch (const std::runtime_error& handled) {
        fiber::await(sleep_for(wait));
        CHECK(handled.what() == text);
        try {
          throw;  // the one that is handled here, and not another fiber's
        } catch (const std::exception& again) {
          CHECK(again.what() == text);
        }
      }
      CHECK(std::current_exception() == nullptr);
      CHECK(std::uncaught_exceptions() == 0);
    });
  };

  loop.run([&]() -> task<> {
    co_await when_all(handle_and_wait("first", 3ms), handle_and_wait("second", 1ms), handle_and_wait("third", 2ms));
  });
  CHECK(std::current_exception() == nullptr);
}

TEST_CASE("who awaits in a destructor while an exception is on its way lets that one go on") {
  executor loop;
  struct waits_at_its_end {
    ~waits_at_its_end() { fiber::await(this_task::yield()); }
  };

  CHECK_THROWS_WITH_AS(loop.run(on_fiber([] {
    const waits_at_its_end local;
    throw std::runtime_error{"on its way"};
  })),
                       "on its way", std::runtime_error);
}

// ------------------------------------------------------------------------------------------------------ taking turns

TEST_CASE("a thousand fibers wait at a time, and each goes on where it was") {
  constexpr int fibers_count = 1'000;
  executor loop;
  int sum = 0;

  loop.run([&]() -> task<> {
    co_await with_task_group([&](task_group& group) -> task<> {
      for (int i = 0; i < fibers_count; ++i)
        group.start(on_fiber(
            [&sum, i] {
              const int mine = i;
              for (int round = 0; round < 3; ++round) fiber::await(sleep_for(1ms));
              sum += mine;
            },
            {.stack_bytes = fiber_options::stack_bytes_min}));
      co_return;
    });
  });

  CHECK(sum == fibers_count * (fibers_count - 1) / 2);
}

TEST_CASE("the executor goes on while a fiber waits") {
  scripted_executor on;
  std::vector<std::string> order;
  auto waiting = on.loop.start(on_fiber([&] {
    order.emplace_back("begins");
    fiber::await(sleep_for(1s));
    order.emplace_back("goes on");
  }));
  on.loop.run_ready();
  auto other = on.loop.start([](std::vector<std::string>& noted) -> task<> {
    co_await ops::nop();
    noted.emplace_back("another");
  }(order));
  on.script.answer = [](const auto& asked) -> std::optional<std::int32_t> {
    if (asked.opcode == IORING_OP_NOP) return 0;
    return std::nullopt;
  };
  on.loop.run_ready();
  CHECK(!waiting.done());

  on.advance(1s);

  CHECK(waiting.done());
  CHECK(order == std::vector<std::string>{"begins", "another", "goes on"});
}

TEST_CASE("a fiber awaits what runs on another fiber") {
  executor loop;
  CHECK(!fiber::is_current());
  const int value = loop.run(on_fiber([] {
    CHECK(fiber::is_current());
    return fiber::await(on_fiber([] { return sum_below(3) + fiber::await(on_fiber([] { return sum_below(1); })); })) +
           sum_below(2);
  }));
  CHECK(value == 4 + 2 + 3);
  CHECK(!fiber::is_current());
}

TEST_CASE("a fiber awaits work on other threads, and goes on on its own") {
  executor loop;
  offload_pool pool;
  loop.run(on_fiber([&] {
    const auto home = std::this_thread::get_id();
    const auto elsewhere = fiber::await(offload(pool, [] { return std::this_thread::get_id(); }));
    CHECK(elsewhere != home);
    CHECK(std::this_thread::get_id() == home);
  }));
}

// -------------------------------------------------------------------------------------------------------------- stops

TEST_CASE("a stop unwinds the fiber's stack: destructors run once, innermost first, and nothing after the await") {
  scripted_executor on;
  std::vector<std::string> ends;
  bool went_on = false;
  auto root = on.loop.start([](std::vector<std::string>& noted, bool& goes_on) -> task<> {
    const note_end outside{noted, "coroutine"};
    co_await on_fiber([&] {
      const note_end outer{noted, "outer"};
      const auto wait_below = [&] {
        const note_end inner{noted, "inner"};
        fiber::await([](std::vector<std::string>& of) -> task<> {
          const note_end local{of, "task"};
          std::array<std::byte, 4> buffer;
          co_await ops::recv(some_socket, buffer);
        }(noted));
        goes_on = true;
      };
      try {
        wait_below();
      } catch (const std::exception&) {
        goes_on = true;
      }
      goes_on = true;
    });
    goes_on = true;
  }(ends, went_on));
  on.loop.run_ready();
  CHECK(ends.empty());

  root.cancel();
  on.loop.run_ready();

  CHECK(root.stopped());
  CHECK(!went_on);
  CHECK(ends == std::vector<std::string>{"task", "inner", "outer", "coroutine"});
}

TEST_CASE("a stop that is there before the fiber awaits unwinds it at its first await, and not before") {
  scripted_executor on;
  std::vector<std::string> noted;
  auto asked_before = on.loop.start(on_fiber([&] {
    noted.emplace_back("began");
    fiber::await(ops::recv(some_socket, {}));
    noted.emplace_back("went on");
  }));
  asked_before.cancel();
  on.loop.run_ready();
  CHECK(asked_before.stopped());
  CHECK(on.script.in_flight().empty());

  auto cancels_itself = on.loop.start(on_fiber([&] {
    executor::current().root_scope().cancel("by the fiber");
    noted.emplace_back("cancelled");
    fiber::await(sleep_for(1h));
    noted.emplace_back("went on");
  }));
  on.loop.run_ready();
  CHECK(cancels_itself.stopped());

  CHECK(noted == std::vector<std::string>{"began", "cancelled"});
}

TEST_CASE("a fiber is stopped at whichever of its awaits it waits in, at any depth, and its destructors have run") {
  constexpr int awaits_count = 6;
  struct walk {
    std::vector<std::string>& noted;
    void down(int depth) {
      const note_end local{noted, "left " + std::to_string(depth)};
      if (depth < awaits_count / 2) {
        fiber::await(sleep_for(1s));
        down(depth + 1);
        fiber::await(sleep_for(1s));
      }
    }
  };
  for (int stopped_at = 0; stopped_at < awaits_count; ++stopped_at) {
    CAPTURE(stopped_at);
    scripted_executor on;
    std::vector<std::string> noted;
    auto root = on.loop.start(on_fiber([&] {
      walk{noted}.down(0);
      noted.emplace_back("the end");
    }));
    on.loop.run_ready();
    for (int passed = 0; passed < stopped_at; ++passed) on.advance(1s);
    CHECK(!root.done());

    root.cancel();
    on.loop.run_ready();

    CHECK(root.stopped());
    const int depth_entered = std::min(stopped_at, awaits_count / 2);
    std::vector<std::string> expected;
    for (int depth = depth_entered; depth >= 0; --depth) expected.push_back("left " + std::to_string(depth));
    CHECK(noted == expected);
  }
}

TEST_CASE("code that catches everything hears of the stop again at its next await") {
  scripted_executor on;
  int caught_count = 0;
  auto root = on.loop.start(on_fiber([&] {
    for (int i = 0; i < 3; ++i) {
      try {
        fiber::await(sleep_for(1h));
      } catch (...) {
        ++caught_count;
      }
    }
  }));
  on.loop.run_ready();

  root.cancel();
  on.loop.run_ready();

  CHECK(root.stopped());
  CHECK(caught_count == 3);
}

TEST_CASE("a stop that comes while a destructor awaits, below an exception on its way, waits for the next await") {
  scripted_executor on;
  std::vector<std::string> noted;
  struct waits_at_its_end {
    std::vector<std::string>& noted;
    ~waits_at_its_end() {
      fiber::await(sleep_for(1s));
      noted.emplace_back("destructor");
    }
  };
  auto root = on.loop.start(on_fiber([&] {
    try {
      const waits_at_its_end local{noted};
      throw std::runtime_error{"on its way"};
    } catch (const std::runtime_error& caught) {
      noted.emplace_back(caught.what());
    }
    fiber::await(this_task::yield());
    noted.emplace_back("went on");
  }));
  on.loop.run_ready();

  root.cancel();
  on.loop.run_ready();
  CHECK(noted.empty());
  on.advance(1s);

  CHECK(root.stopped());
  CHECK(noted == std::vector<std::string>{"destructor", "on its way"});
}

TEST_CASE("what the kernel delivered before the stop is delivered to the fiber") {
  scripted_executor on;
  std::size_t received_bytes = 0;
  std::array<std::byte, 4> buffer{};
  auto root = on.loop.start(on_fiber([&] { received_bytes = fiber::await(ops::recv(some_socket, buffer)); }));
  on.loop.run_ready();

  on.script.deliver(on.script.only(IORING_OP_RECV), "data");
  root.cancel();
  on.loop.run_ready();

  CHECK(received_bytes == 4);
}

TEST_CASE("a deadline around a fiber, one in it, and a scope that it opens hold as in a coroutine") {
  scripted_executor on;
  std::vector<std::string> noted;

  auto around = on.loop.start([](std::vector<std::string>& of) -> task<> {
    const auto timed = co_await as_result(with_timeout(1s, on_fiber([&] {
                                                         const note_end unwound{of, "unwound"};
                                                         fiber::await(sleep_for(1h));
                                                       })));
    if (timed.error() == std::errc::timed_out) of.emplace_back("timed out around");
  }(noted));
  on.loop.run_ready();
  on.advance(1s);
  CHECK(around.done());

  auto inside = on.loop.start(on_fiber([&] {
    const auto timed = fiber::await(as_result(with_timeout(1s, sleep_for(1h))));
    if (timed.error() == std::errc::timed_out) noted.emplace_back("timed out inside");
    fiber::await(with_cancel_scope([](cancel_scope& scope) -> task<> {
      scope.cancel("enough");
      co_await sleep_for(1h);
    }));
    noted.emplace_back("after the scope");
  }));
  on.loop.run_ready();
  on.advance(1s);
  CHECK(inside.done());

  CHECK(noted == std::vector<std::string>{"unwound", "timed out around", "timed out inside", "after the scope"});
}

TEST_CASE("a fiber that is stopped stops the fiber that it awaits first") {
  scripted_executor on;
  std::vector<std::string> ends;
  auto root = on.loop.start(on_fiber([&] {
    const note_end outer{ends, "outer"};
    fiber::await(on_fiber([&] {
      const note_end inner{ends, "inner"};
      fiber::await(sleep_for(1h));
    }));
  }));
  on.loop.run_ready();

  root.cancel();
  on.loop.run_ready();

  CHECK(root.stopped());
  CHECK(ends == std::vector<std::string>{"inner", "outer"});
}

// ------------------------------------------------------------------------------------------------------------- stacks

TEST_CASE("fibers one after another use one stack, which goes with the thread") {
  const std::size_t before = stacks_count();
  std::thread{[&] {
    executor loop;
    for (int i = 0; i < 1'000; ++i) loop.run(on_fiber([] { fiber::await(this_task::yield()); }));
    CHECK(stacks_count() == before + 1);
  }}.join();
  CHECK(stacks_count() == before);
}

TEST_CASE("a thread keeps stacks up to so many bytes, and gives the others back") {
  constexpr std::size_t fibers_count = 100;
  const std::size_t before = stacks_count();
  std::thread{[&] {
    executor loop;
    loop.run([&]() -> task<> {
      co_await with_task_group([&](task_group& group) -> task<> {
        for (std::size_t i = 0; i < fibers_count; ++i)
          group.start(on_fiber([] { fiber::await(this_task::yield()); }, {.stack_bytes = std::size_t{1} << 20U}));
        co_return;
      });
    });
    CHECK(stacks_count() == before + detail::fiber_stack::kept_bytes_max / (std::size_t{1} << 20U));
  }}.join();
  CHECK(stacks_count() == before);
}

TEST_CASE("a hundred thousand fibers, a thousand at a time, take the memory of a thousand") {
  constexpr int rounds_count = 100;
  constexpr int at_a_time = 1'000;
  std::thread{[] {
    executor loop;
    const auto run_some = [&] {
      loop.run([]() -> task<> {
        co_await with_task_group([](task_group& group) -> task<> {
          for (int i = 0; i < at_a_time; ++i)
            group.start(
                on_fiber([] { fiber::await(this_task::yield()); }, {.stack_bytes = fiber_options::stack_bytes_min}));
          co_return;
        });
      }());
    };
    run_some();
    const std::size_t stacks_after_one = stacks_count();
    const std::size_t pages_after_one = resident_pages();

    for (int round = 1; round < rounds_count; ++round) run_some();

    CHECK(stacks_count() <= stacks_after_one);
    // 16 MiB, where each round more would be as many. AddressSanitizer keeps what was freed, and ThreadSanitizer some
    // of what it knew of each fiber that ever was.
    constexpr std::size_t noise_pages = 4'096;
    if constexpr (!GYRE_DETAIL_ADDRESS_SANITIZER && !GYRE_DETAIL_THREAD_SANITIZER)
      CHECK(resident_pages() < pages_after_one + noise_pages);
  }}.join();
}

TEST_CASE("a stack is as large as was asked for") {
  executor loop;
  constexpr std::size_t large_bytes = std::size_t{8} << 20U;
  loop.run(on_fiber(
      [] {
        std::array<volatile char, large_bytes - (std::size_t{64} << 10U)> local;
        for (std::size_t at = 0; at < local.size(); at += 4096) local[at] = 1;
        fiber::await(this_task::yield());
        CHECK(local[0] == 1);
      },
      {.stack_bytes = large_bytes}));
}

// Sanitizers say themselves what they have found.
#if !GYRE_DETAIL_ADDRESS_SANITIZER && !GYRE_DETAIL_THREAD_SANITIZER

namespace {

// Without end, which no compiler is to see.
[[gnu::noinline]] int recurse(const volatile bool& goes_on, volatile char* above) {
  if (!goes_on) return 0;
  std::array<volatile char, 1024> local;
  local[0] = *above;
  return recurse(goes_on, local.data()) + local[0];
}

}  // namespace

TEST_CASE("a fiber whose stack is too small ends the program, and says what would help") {
  child overflowing{[] {
    // On a thread of its own, as others of this program's fibers have seen the handler of the test's framework.
    std::thread{[] {
      executor loop;
      loop.run(on_fiber([] {
        fiber::await(this_task::yield());
        char first = 0;
        const volatile bool goes_on = true;
        return recurse(goes_on, &first);
      }));
    }}.join();
    return 0;
  }};

  const auto end = overflowing.wait();
  CHECK(end.killed_by == SIGSEGV);
  CHECK(end.errors.find("stack_bytes") != std::string::npos);
}

TEST_CASE("another SIGSEGV than that of a full stack says nothing of fibers") {
  child wild{[] {
    std::thread{[] {
      executor loop;
      loop.run(on_fiber([] {
        fiber::await(this_task::yield());
        volatile std::uintptr_t nowhere = 16;  // which compilers know too well where they can see it
        return *reinterpret_cast<volatile int*>(nowhere);
      }));
    }}.join();
    return 0;
  }};

  const auto end = wild.wait();
  CHECK(end.killed_by == SIGSEGV);
  CHECK(end.errors.empty());
}

TEST_CASE("a SIGSEGV that somebody sends ends the program as ever") {
  child signalled{[] {
    std::thread{[] {
      executor loop;
      loop.run(on_fiber([] { fiber::await(this_task::yield()); }));
      ::kill(::getpid(), SIGSEGV);
      for (;;) ::pause();
    }}.join();
    return 0;
  }};
  CHECK(signalled.wait().killed_by == SIGSEGV);
}

#endif

TEST_CASE("where there is no memory for a stack, on_fiber() throws, and nothing has run") {
  bool has_run = false;
  child starved{[&] {
    executor loop;
    ::rlimit limit{};
    ::getrlimit(RLIMIT_AS, &limit);
    limit.rlim_cur = 1;
    ::setrlimit(RLIMIT_AS, &limit);
    try {
      loop.run(on_fiber([&] { has_run = true; }, {.stack_bytes = std::size_t{64} << 20U}));
    } catch (const std::system_error& error) {
      return error.code() == std::errc::not_enough_memory && !has_run ? 0 : 1;
    }
    return 2;
  }};
  CHECK(starved.wait().exit_status == 0);
}

}  // namespace gyre
