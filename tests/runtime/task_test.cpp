// SPDX-License-Identifier: MIT
// Tasks: what they return and throw, who owns what, how deep and how often they can be awaited, and what they can
// await.
#include <gyre/runtime/executor.hpp>
#include <gyre/runtime/ops/misc.hpp>
#include <gyre/runtime/task.hpp>

#include "../support/foreign_task.hpp"
#include "../support/small_stack.hpp"

#include <doctest/doctest.h>

#include <coroutine>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>

namespace gyre {
namespace {

using test::foreign_task;
using test::on_a_small_stack;

constexpr int many = 1'000'000;

// Counts how many of it are alive.
class counted {
 public:
  explicit counted(int& alive) noexcept : alive_{&alive} { ++*alive_; }
  counted(counted&& other) noexcept : alive_{other.alive_} { ++*alive_; }
  counted& operator=(counted&&) = delete;
  ~counted() { --*alive_; }

 private:
  int* alive_;
};

task<int> forty_two() { co_return 42; }
task<std::unique_ptr<int>> owned(int value) { co_return std::make_unique<int>(value); }
task<std::string&> same(std::string& text) { co_return text; }
task<> note(int& seen, int value) {
  seen = value;
  co_return;
}

task<int> throws() {
  throw std::runtime_error{"as planned"};
  co_return 0;
}

[[gnu::noinline]] task<int> depth(int levels) {
  if (levels == 0) co_return 0;
  co_return 1 + co_await depth(levels - 1);
}

[[gnu::noinline]] task<int> depth_above_a_nop(int levels) {
  if (levels == 0) {
    co_await ops::nop();
    co_return 0;
  }
  co_return 1 + co_await depth_above_a_nop(levels - 1);
}

[[gnu::noinline]] task<int> throws_at(int levels) {
  if (levels == 0) throw std::runtime_error{"from the bottom"};
  co_return 1 + co_await throws_at(levels - 1);
}

[[gnu::noinline]] task<int> one() { co_return 1; }

task<int> sum_of_ones(int count) {
  int sum = 0;
  for (int i = 0; i < count; ++i) sum += co_await one();
  co_return sum;
}

}  // namespace

TEST_CASE("a task returns its value to whoever awaits it") {
  executor loop;

  const int value = loop.run([]() -> task<int> { co_return co_await forty_two() + 1; });

  CHECK(value == 43);
}

TEST_CASE("a task can return what can only be moved") {
  executor loop;

  const auto value = loop.run([]() -> task<std::unique_ptr<int>> {
    auto inner = co_await owned(7);
    co_return inner;
  });

  CHECK(*value == 7);
}

TEST_CASE("a task of a reference gives the object itself") {
  executor loop;
  std::string text = "here";

  std::string& found = loop.run([&]() -> task<std::string&> { co_return co_await same(text); });

  CHECK(&found == &text);
}

TEST_CASE("a task of nothing runs to its end") {
  executor loop;
  int seen = 0;

  loop.run([&]() -> task<> { co_await note(seen, 5); });

  CHECK(seen == 5);
}

TEST_CASE("an exception goes to whoever awaits, who can catch it and go on") {
  executor loop;

  const std::string text = loop.run([]() -> task<std::string> {
    try {
      co_await throws();
    } catch (const std::runtime_error& error) {
      co_return error.what();
    }
    co_return "nothing was thrown";
  });

  CHECK(text == "as planned");
}

TEST_CASE("an exception that nobody catches leaves run()") {
  executor loop;

  CHECK_THROWS_AS(loop.run(throws()), std::runtime_error);
}

TEST_CASE("a task does not begin before it is awaited") {
  executor loop;
  int seen = 0;

  loop.run([&]() -> task<> {
    auto lazy = note(seen, 1);
    CHECK(seen == 0);
    co_await std::move(lazy);
    CHECK(seen == 1);
  });
}

TEST_CASE("a task that is never awaited destroys its arguments and does nothing else") {
  int alive = 0;
  bool ran = false;
  const auto takes = [&ran](counted) -> task<> {
    ran = true;
    co_return;
  };

  {
    const auto never = takes(counted{alive});
  }

  CHECK(alive == 0);
  CHECK(!ran);
}

TEST_CASE("assigning to a task that was never awaited destroys what it held") {
  int alive = 0;
  const auto holds = [](counted) -> task<> { co_return; };

  auto first = holds(counted{alive});
  auto second = holds(counted{alive});
  CHECK(alive == 2);
  first = std::move(second);

  CHECK(alive == 1);
  CHECK(static_cast<bool>(first));
  CHECK(!static_cast<bool>(second));
}

TEST_CASE("a value that was returned is destroyed once, also when nobody looks at it") {
  executor loop;
  int alive = 0;
  const auto makes = [&]() -> task<counted> { co_return counted{alive}; };

  loop.run([&]() -> task<> { static_cast<void>(co_await makes()); });

  CHECK(alive == 0);
}

TEST_CASE("arguments live until the task has ended, across its waits") {
  executor loop;
  int alive = 0;
  int alive_meanwhile = 0;
  const auto waits = [&](counted) -> task<> {
    co_await ops::nop();
    alive_meanwhile = alive;
  };

  loop.run([&]() -> task<> {
    auto waiting = waits(counted{alive});
    co_await std::move(waiting);
    CHECK(alive == 0);
  });

  CHECK(alive_meanwhile == 1);
  CHECK(alive == 0);
}

// ------------------------------------------------------------------------------------------------- constant stack

TEST_CASE("a million levels of recursion need no more stack than one") {
  int levels = 0;

  on_a_small_stack([&] {
    executor loop;
    levels = loop.run(depth(many));
  });

  CHECK(levels == many);
}

TEST_CASE("a million levels that wait at the bottom resume without more stack") {
  int levels = 0;

  on_a_small_stack([&] {
    executor loop;
    levels = loop.run(depth_above_a_nop(many));
  });

  CHECK(levels == many);
}

TEST_CASE("a million awaits in a loop need no more stack than one") {
  int sum = 0;

  on_a_small_stack([&] {
    executor loop;
    sum = loop.run(sum_of_ones(many));
  });

  CHECK(sum == many);
}

TEST_CASE("an exception rises through a hundred thousand levels without more stack") {
  bool caught = false;

  on_a_small_stack([&] {
    executor loop;
    try {
      loop.run(throws_at(100'000));
    } catch (const std::runtime_error&) {
      caught = true;
    }
  });

  CHECK(caught);
}

// ------------------------------------------------------------------------------------- coroutine types of others

namespace {

foreign_task foreign_value(int value) { co_return value; }

foreign_task foreign_that_awaits_gyre() {
  const int value = co_await forty_two();
  co_await ops::nop();
  co_return value + 1;
}

foreign_task foreign_that_catches() {
  try {
    co_await throws();
  } catch (const std::runtime_error&) {
    co_return 1;
  }
  co_return 0;
}

// An awaitable of somebody else's that is no coroutine.
class yields_a_seven {
 public:
  yields_a_seven() noexcept {}
  bool await_ready() const noexcept { return true; }
  void await_suspend(std::coroutine_handle<>) const noexcept {}
  int await_resume() const noexcept { return 7; }
};

}  // namespace

TEST_CASE("a task can await an awaitable that knows nothing of gyre") {
  executor loop;

  CHECK(loop.run([]() -> task<int> { co_return co_await yields_a_seven(); }) == 7);
  CHECK(loop.run([]() -> task<int> { co_return co_await foreign_value(3); }) == 3);
}

TEST_CASE("a coroutine of another type can await gyre's tasks and operations") {
  executor loop;

  const int value = loop.run([]() -> task<int> { co_return co_await foreign_that_awaits_gyre(); });

  CHECK(value == 43);
}

TEST_CASE("an exception crosses a coroutine of another type") {
  executor loop;

  CHECK(loop.run([]() -> task<int> { co_return co_await foreign_that_catches(); }) == 1);
}

// ------------------------------------------------------------------------------------------------ what can be awaited

namespace {

struct awaits_by_member {
  std::suspend_never operator co_await() const noexcept { return {}; }
};
struct awaits_by_function {};
[[maybe_unused]] std::suspend_never operator co_await(awaits_by_function) noexcept { return {}; }
struct lacks_await_resume {
  bool await_ready() const noexcept { return true; }
  void await_suspend(std::coroutine_handle<>) const noexcept {}
};
struct suspends_its_own_only {
  bool await_ready() const noexcept { return true; }
  void await_suspend(std::coroutine_handle<foreign_task::promise_type>) const noexcept {}
  void await_resume() const noexcept {}
};

static_assert(awaitable<task<>> && awaitable<task<int&>>);
static_assert(!awaitable<task<>&> && !awaitable<const task<>>, "a task is given away");
static_assert(awaitable<ops::nop> && awaitable<ops::nop&>);
static_assert(awaitable<foreign_task> && awaitable<foreign_task&>);
static_assert(awaitable<std::suspend_always> && awaitable<awaits_by_member> && awaitable<awaits_by_function>);
static_assert(!awaitable<lacks_await_resume> && !awaitable<suspends_its_own_only> && !awaitable<int>);
static_assert(!awaitable<task<> (*)()>);

}  // namespace

TEST_CASE("a task awaits what has an operator co_await, as a member or as a function") {
  executor loop;
  const int got = loop.run([]() -> task<int> {
    co_await awaits_by_member{};
    co_await awaits_by_function{};
    co_return 4;
  });
  CHECK(got == 4);
}

}  // namespace gyre
