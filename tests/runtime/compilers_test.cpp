// SPDX-License-Identifier: MIT
// Code of the shapes that compilers have got wrong in coroutines: temporaries of a co_await expression that were
// destroyed twice or never, an await that ran where another one had decided against it. Of the compilers that gyre is
// built with none does; one that came to would compile this without a word.
#include <gyre/runtime/executor.hpp>
#include <gyre/runtime/ops/misc.hpp>
#include <gyre/runtime/task.hpp>
#include <gyre/runtime/this_task.hpp>
#include <gyre/runtime/when_all.hpp>

#include "../support/scripted.hpp"

#include <doctest/doctest.h>

#include <chrono>
#include <stdexcept>
#include <string>
#include <tuple>
#include <utility>

namespace gyre {
namespace {

using namespace std::chrono_literals;
using namespace test;

// Counts what there is of it, and is in a state that shows when it is destroyed twice.
class counted {
 public:
  counted() { ++alive_count; }
  counted(const counted& other) : text_{other.text_} { ++alive_count; }
  counted(counted&& other) noexcept : text_{std::move(other.text_)} { ++alive_count; }
  counted& operator=(const counted&) = default;
  counted& operator=(counted&&) noexcept = default;
  ~counted() { --alive_count; }

  static inline int alive_count = 0;

 private:
  std::string text_ = "longer than what a string holds in itself, so that it lies on the heap";
};

task<int> with_argument(counted, int value) {
  co_await this_task::yield();
  co_return value;
}
task<int> with_arguments(counted, const counted&, std::string, int value) {
  co_await this_task::yield();
  co_return value;
}
task<counted> gives_one(counted given) {
  co_await this_task::yield();
  co_return given;
}
task<std::tuple<counted, int>> gives_two() {
  co_await this_task::yield();
  co_return std::tuple<counted, int>(counted(), 2);
}
task<int> fails_with(counted) {
  co_await this_task::yield();
  throw std::runtime_error("on purpose");
}
task<bool> is_true(counted, int& asked_count) {
  co_await this_task::yield();
  ++asked_count;
  co_return true;
}
int sum(int one, int other) { return one + other; }

// An awaiter that is a temporary with something in it, and no aggregate.
class holds_one {
 public:
  using gyre_awaitable = void;
  explicit holds_one(counted held) : held_{std::move(held)} {}
  bool await_ready() const noexcept { return true; }
  void await_suspend(std::coroutine_handle<>) const noexcept {}
  int await_resume() const noexcept { return 4; }

 private:
  counted held_;
};

task<> temporaries(int& result) {
  result = co_await with_argument(counted(), 1);
  result += co_await with_arguments(counted(), counted(), std::string(100, 'x'), 10);
  result = sum(result, co_await with_argument(counted(), 100));
  result = sum(co_await with_argument(counted(), 1000), result);
  static_cast<void>(co_await gives_one(counted()));
  const counted kept = co_await gives_one(counted());
  result += co_await holds_one(counted()) * 1000;
  CHECK(counted::alive_count == 1);
}

task<> in_conditions(int& result) {
  int asked_count = 0;
  const bool yes = co_await is_true(counted(), asked_count);
  result = yes ? co_await with_argument(counted(), 1) : co_await with_argument(counted(), 2);
  if (co_await is_true(counted(), asked_count)) result += 10;
  for (int rounds = 0; rounds < 3; ++rounds) {
    const bool goes_on = co_await is_true(counted(), asked_count);
    if (!goes_on) break;
    result += 100;
  }
  CHECK(asked_count == 5);
}

task<> in_bindings(int& result) {
  auto both = co_await gives_two();
  auto& [one, number] = both;
  CHECK(counted::alive_count == 1);
  result = number;
}

task<> in_exceptions(int& caught_count) {
  for (int rounds = 0; rounds < 3; ++rounds) {
    try {
      const counted beside;
      static_cast<void>(sum(co_await with_argument(counted(), 1), co_await fails_with(counted())));
    } catch (const std::runtime_error&) {
      ++caught_count;
    }
  }
}

task<> side_by_side(int& result) {
  const auto [one, other] = std::tuple(7, 8);
  const auto all = co_await when_all(with_argument(counted(), one), with_argument(counted(), other));
  result = std::get<0>(all) + std::get<1>(all);
}

// To its end.
void run(task<> body) {
  scripted_executor on;
  auto root = on.loop.start(std::move(body));
  on.run_for(20ms);
  REQUIRE(root.done());
  root.get();
}

}  // namespace

TEST_CASE("temporaries of a co_await expression live to its end, and are destroyed once") {
  int result = 0;

  run(temporaries(result));

  CHECK(result == 5111);
  CHECK(counted::alive_count == 0);
}

TEST_CASE("a co_await in a condition runs when it is its turn, and not otherwise") {
  int result = 0;

  run(in_conditions(result));

  CHECK(result == 311);
  CHECK(counted::alive_count == 0);
}

TEST_CASE("what structured bindings take from a variable that was awaited is destroyed once") {
  int result = 0;

  run(in_bindings(result));

  CHECK(result == 2);
  CHECK(counted::alive_count == 0);
}

TEST_CASE("an exception of a co_await destroys what the expression had made, once") {
  int caught_count = 0;

  run(in_exceptions(caught_count));

  CHECK(caught_count == 3);
  CHECK(counted::alive_count == 0);
}

TEST_CASE("arguments of tasks that run side by side are destroyed once, after their tasks") {
  int result = 0;

  run(side_by_side(result));

  CHECK(result == 15);
  CHECK(counted::alive_count == 0);
}

TEST_CASE("a stop in the midst of an expression destroys what it had made so far, once, wherever it comes") {
  for (int passed_ms = 0; passed_ms < 8; ++passed_ms) {
    CAPTURE(passed_ms);
    scripted_executor on;
    int result = 0;
    auto root = on.loop.start(temporaries(result));
    on.run_for(std::chrono::milliseconds{passed_ms});

    on.stop(root);

    CHECK(root.done());
    CHECK(counted::alive_count == 0);
  }
}

}  // namespace gyre
