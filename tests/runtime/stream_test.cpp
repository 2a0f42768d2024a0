// SPDX-License-Identifier: MIT
// Streams: items and their ends, what a stop takes down, what is destroyed when, and what an item costs.
#include <gyre/runtime/as_result.hpp>
#include <gyre/runtime/deadline.hpp>
#include <gyre/runtime/detail/frame_pool.hpp>
#include <gyre/runtime/executor.hpp>
#include <gyre/runtime/ops/misc.hpp>
#include <gyre/runtime/ops/socket.hpp>
#include <gyre/runtime/scope.hpp>
#include <gyre/runtime/stream.hpp>
#include <gyre/runtime/task_group.hpp>
#include <gyre/runtime/timer.hpp>
#include <gyre/runtime/when_all.hpp>

#include "../support/branches.hpp"
#include "../support/foreign_task.hpp"
#include "../support/outcome.hpp"
#include "../support/scripted.hpp"
#include "../support/small_stack.hpp"
#include "../support/streams.hpp"
#include "../support/turning.hpp"

#include <doctest/doctest.h>
#include <liburing.h>

#include <array>
#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

namespace gyre {
namespace {

using namespace std::chrono_literals;
using namespace test;

// Waits for a millisecond before each item.
stream<int> ticks(outcome& noted, std::shared_ptr<int> = nullptr) {
  const stop_watch watch{noted};
  for (int i = 1;; ++i) {
    co_await sleep_for(1ms);
    co_yield i;
  }
}

task<> does_nothing() { co_return; }

}  // namespace

// ------------------------------------------------------------------------------------------------------ items

TEST_CASE("next() gives item after item, then nothing, and nothing ever after") {
  scripted_executor on;
  auto root = on.loop.start([]() -> task<> {
    auto numbers = count_to(2);
    CHECK(co_await numbers.next() == 1);
    CHECK(co_await numbers.next() == 2);
    CHECK(co_await numbers.next() == std::nullopt);
    CHECK(co_await numbers.next() == std::nullopt);
  }());

  on.loop.run_ready();

  root.get();
}

TEST_CASE("a stream runs only while its next() is awaited") {
  scripted_executor on;
  std::vector<int> order;
  auto root = on.loop.start([](std::vector<int>& to) -> task<> {
    auto noting = [](std::vector<int>& noted) -> stream<int> {
      noted.push_back(1);
      co_yield 0;
      noted.push_back(2);
    }(to);
    to.push_back(0);
    static_cast<void>(co_await noting.next());
    to.push_back(10);
    static_cast<void>(co_await noting.next());
  }(order));

  on.loop.run_ready();

  CHECK(order == std::vector{0, 1, 10, 2});
  root.get();
}

TEST_CASE("items may be moved only, and lvalues are copied: the coroutine keeps its own") {
  const auto moved = run_now(all_of([]() -> stream<std::unique_ptr<int>> {
    co_yield std::make_unique<int>(1);
    auto mine = std::make_unique<int>(2);
    co_yield std::move(mine);
  }()));
  CHECK(*moved[0] == 1);
  CHECK(*moved[1] == 2);

  const auto copied = run_now(all_of([]() -> stream<std::string> {
    const std::string text = "a text that is too long to be kept inside the string";
    co_yield text;
    std::string longer = text;
    co_yield longer;
    co_yield longer += " still";
  }()));
  CHECK(copied[0] == copied[1]);
  CHECK(copied[2] == copied[1] + " still");
}

TEST_CASE("a stream of references gives pointers to what the coroutine has") {
  run_now([]() -> task<> {
    std::array<std::string, 2> texts{"a", "b"};
    auto references = [](std::array<std::string, 2>& all) -> stream<std::string&> {
      for (auto& each : all) co_yield each;
    }(texts);
    auto constants = [](const std::array<std::string, 2>& all) -> stream<const std::string&> {
      for (const auto& each : all) co_yield each;
    }(texts);
    static_assert(std::is_same_v<decltype(references)::item, std::string*>);
    static_assert(std::is_same_v<decltype(constants)::item, const std::string*>);

    CHECK(co_await references.next() == &texts[0]);
    CHECK(co_await references.next() == &texts[1]);
    CHECK(co_await references.next() == nullptr);
    CHECK(co_await constants.next() == &texts[0]);
  }());
}

TEST_CASE("an item that throws when it is moved out leaves the stream where it is") {
  struct throws_when_moved {
    throws_when_moved() = default;
    throws_when_moved(throws_when_moved&&) { throw failure{4}; }
  };
  run_now([]() -> task<> {
    auto throwing = []() -> stream<throws_when_moved> { co_yield throws_when_moved{}; }();
    int caught = 0;
    try {
      static_cast<void>(co_await throwing.next());
    } catch (const failure& error) {
      caught = error.number;
    }
    CHECK(caught == 4);
    CHECK(!(co_await throwing.next()));
  }());
}

// ------------------------------------------------------------------------------------------------------- ends

TEST_CASE("an exception leaves the next() that is awaited then, and is the stream's end") {
  run_now([]() -> task<> {
    auto failing = []() -> stream<int> {
      co_yield 1;
      throw failure{2};
    }();
    CHECK(co_await failing.next() == 1);
    int caught = 0;
    try {
      static_cast<void>(co_await failing.next());
    } catch (const failure& error) {
      caught = error.number;
    }
    CHECK(caught == 2);
    CHECK(co_await failing.next() == std::nullopt);
  }());
}

TEST_CASE("a stream's arguments go with its end, and not when the stream object does") {
  run_now([]() -> task<> {
    const auto argument = std::make_shared<int>(1);
    auto holding = [](std::shared_ptr<int>) -> stream<int> { co_yield 1; }(argument);
    CHECK(co_await holding.next() == 1);
    CHECK(argument.use_count() == 2);

    CHECK(co_await holding.next() == std::nullopt);

    CHECK(argument.use_count() == 1);
  }());
}

TEST_CASE("a stream that is destroyed, before it begins or at a co_yield, destroys all it has") {
  const auto argument = std::make_shared<int>(1);
  outcome noted;
  scripted_executor on;
  auto root = on.loop.start([](outcome& to, std::shared_ptr<int> held) -> task<> {
    static_cast<void>(ticks(to, held));
    CHECK(to.how == ended::not_begun);

    auto begun = ticks(to, std::move(held));
    CHECK(co_await begun.next() == 1);
  }(noted, argument));
  on.loop.run_ready();
  CHECK(noted.how == ended::not_yet);

  on.advance(1ms);

  root.get();
  CHECK(noted.how == ended::stopped);
  CHECK(argument.use_count() == 1);
}

TEST_CASE("a stream can be moved between two items; the one that was moved from is at its end") {
  run_now([]() -> task<> {
    auto first = count_to(3);
    CHECK(co_await first.next() == 1);
    auto second = std::move(first);
    CHECK(co_await second.next() == 2);
    CHECK(co_await first.next() == std::nullopt);
    first = std::move(second);
    CHECK(co_await first.next() == 3);
    first = count_to(1);
    CHECK(co_await first.next() == 1);
  }());
}

// ------------------------------------------------------------------------------------------------ waits and stops

TEST_CASE("a stream awaits what a task may: operations, tasks, deadlines, groups, streams, what runs side by side") {
  scripted_executor on;
  on.script.answer = [](const auto& request) {
    return request.opcode == IORING_OP_NOP ? std::optional<std::int32_t>{0} : std::nullopt;
  };
  auto root = on.loop.start([]() -> task<> {
    auto everything = []() -> stream<int> {
      co_await ops::nop();
      co_yield 1;
      co_yield co_await value_after(2, 1ms);
      co_yield co_await with_timeout(1h, value_after(3, 1ms));
      co_await with_task_group([](task_group& group) -> task<> {
        group.start(does_nothing());
        co_return;
      });
      auto inner = count_to(4);
      while (auto number = co_await inner.next())
        if (*number == 4) co_yield *number;
      co_yield std::get<1>(co_await when_all(sleep_for(1ms), value_after(5, 1ms)));
      const auto late = co_await as_result(with_timeout(1ms, sleep_for(1h)));
      co_yield late.error() == std::errc::timed_out ? 6 : 0;
    };
    CHECK(co_await all_of(everything()) == std::vector{1, 2, 3, 4, 5, 6});
  }());

  for (int i = 0; i < 8; ++i) {
    on.loop.run_ready();
    on.script.advance(1ms);
  }
  on.loop.run_ready();

  root.get();
}

TEST_CASE("a stop that finds the stream waiting takes it down, then who awaits it") {
  scripted_executor on;
  outcome in_stream;
  outcome in_consumer;
  auto root = on.loop.start([](outcome& inner, outcome& outer) -> task<> {
    const stop_watch watch{outer};
    auto ticking = ticks(inner);
    for (;;) static_cast<void>(co_await ticking.next());
  }(in_stream, in_consumer));
  for (int i = 0; i < 3; ++i) {
    on.loop.run_ready();
    on.script.advance(1ms);
  }
  on.loop.run_ready();

  on.stop(root);

  CHECK(root.stopped());
  CHECK(in_stream.how == ended::stopped);
  CHECK(in_consumer.how == ended::stopped);
}

TEST_CASE("a stop goes through streams of streams, in whose innermost a task waits") {
  scripted_executor on;
  std::vector<outcome> noted(3);
  auto root = on.loop.start([](std::vector<outcome>& to) -> task<> {
    const auto waits = [](outcome& mine) -> task<int> {
      const stop_watch watch{mine};
      co_await sleep_for(1h);
      co_return 1;
    };
    const auto innermost = [](auto wait, outcome& its, outcome& mine) -> stream<int> {
      const stop_watch watch{mine};
      co_yield co_await wait(its);
    };
    const auto passes_on = [](stream<int> from, outcome& mine) -> stream<int> {
      const stop_watch watch{mine};
      while (auto item = co_await from.next()) co_yield *item;
    };
    auto outer = passes_on(innermost(waits, to[0], to[1]), to[2]);
    static_cast<void>(co_await outer.next());
  }(noted));
  on.loop.run_ready();

  on.stop(root);

  CHECK(root.stopped());
  for (const auto& each : noted) CHECK(each.how == ended::stopped);
}

TEST_CASE("an item that crosses a stop is delivered, and the stream is stopped at its next wait") {
  scripted_executor on;
  outcome noted;
  std::vector<int> items;
  auto root = on.loop.start([](outcome& to, std::vector<int>& taken) -> task<> {
    auto ticking = ticks(to);
    while (auto item = co_await ticking.next()) taken.push_back(*item);
  }(noted, items));
  on.loop.run_ready();

  on.script.advance(1ms);
  on.loop.turn(/*may_park=*/false);  // the sleep is over, its coroutine not resumed
  on.stop(root);

  CHECK(items == std::vector{1});
  CHECK(noted.how == ended::stopped);
  CHECK(root.stopped());
}

TEST_CASE("a deadline around a next() takes the stream down: it does not look like its end afterwards") {
  scripted_executor on;
  outcome noted;
  auto root = on.loop.start([](outcome& to) -> task<> {
    auto ticking = ticks(to);
    CHECK(co_await with_timeout(2ms, ticking.next()) == 1);
    CHECK((co_await as_result(with_timeout(0ns, ticking.next()))).error() == std::errc::timed_out);
    CHECK(to.how == ended::stopped);
    CHECK((co_await as_result(ticking.next())).error() == std::errc::operation_canceled);
    auto moved = std::move(ticking);
    CHECK((co_await as_result(moved.next())).error() == std::errc::operation_canceled);
  }(noted));

  on.loop.run_ready();
  on.advance(1ms);

  root.get();
}

TEST_CASE("each next() runs in the scope of who awaits it: a stream can outlive a scope that it was used in") {
  scripted_executor on;
  outcome noted;
  auto root = on.loop.start([](outcome& to) -> task<> {
    auto ticking = ticks(to);
    const auto in_scope = co_await with_cancel_scope([&](cancel_scope& scope) -> task<int> {
      const auto item = co_await ticking.next();
      scope.cancel();
      co_return *item;
    });
    CHECK(in_scope == 1);
    CHECK(co_await ticking.next() == 2);  // not in that scope: nobody has cancelled this one
  }(noted));

  for (int i = 0; i < 2; ++i) {
    on.loop.run_ready();
    on.script.advance(1ms);
  }
  on.loop.run_ready();

  root.get();
}

TEST_CASE("a stream can await coroutines of another library, which can await tasks that read streams") {
  scripted_executor on;
  auto root = on.loop.start([]() -> task<> {
    const auto foreign = [](int number) -> foreign_task {
      co_await sleep_for(1ms);
      co_return number;
    };
    auto of_foreign = [](auto make) -> stream<int> {
      for (int i = 1; i <= 2; ++i) {
        auto awaited = make(i);
        const int item = co_await awaited;
        co_yield item;
      }
    }(foreign);
    auto sums = [](stream<int>& from) -> foreign_task {
      const auto items = co_await all_of(std::move(from));
      co_return items[0] + items[1];
    }(of_foreign);
    CHECK(co_await sums == 3);
  }());

  for (int i = 0; i < 2; ++i) {
    on.loop.run_ready();
    on.script.advance(1ms);
  }
  on.loop.run_ready();

  root.get();
}

// --------------------------------------------------------------------------------------------- stack and memory

TEST_CASE("a million items need no more stack than one, nor any memory but the frame") {
  constexpr int many = 1'000'000;
  std::int64_t sum = 0;
  std::uint64_t warm = 0;
  std::uint64_t afterwards = 0;

  on_a_small_stack([&] {
    executor loop;
    loop.run([&]() -> task<> {
      auto numbers = count_to(many);
      sum += *co_await numbers.next();
      warm = detail::frame_pool::mine().heap_allocations();
      while (const auto number = co_await numbers.next()) sum += *number;
      afterwards = detail::frame_pool::mine().heap_allocations();
    });
  });

  CHECK(sum == std::int64_t{many} * (many + 1) / 2);
  CHECK(afterwards == warm);
}

TEST_CASE("a hundred thousand streams, each reading the next, pass an item on and are stopped in constant stack") {
  constexpr int depth = 100'000;
  bool stopped = false;
  int first = 0;

  on_a_small_stack([&] {
    scripted_executor on;
    auto root = on.loop.start([](int levels, int& noted) -> task<> {
      const auto nested = [](int left, auto self) -> stream<int> {
        if (left == 0) {
          co_yield 1;
          co_await sleep_for(1h);
        } else {
          auto below = self(left - 1, self);
          while (auto item = co_await below.next()) co_yield *item + 1;
        }
      };
      auto deep = nested(levels, nested);
      noted = *co_await deep.next();
      static_cast<void>(co_await deep.next());
    }(depth, first));
    on.loop.run_ready();
    on.stop(root);
    stopped = root.stopped();
  });

  CHECK(first == depth + 1);
  CHECK(stopped);
}

}  // namespace gyre
