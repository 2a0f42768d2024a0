// SPDX-License-Identifier: MIT
// What is made of streams: map(), filter(), take(); and several read at once: who waits for whom, and who is stopped.
#include <gyre/runtime/as_result.hpp>
#include <gyre/runtime/deadline.hpp>
#include <gyre/runtime/executor.hpp>
#include <gyre/runtime/scope.hpp>
#include <gyre/runtime/stream.hpp>
#include <gyre/runtime/stream_ops.hpp>
#include <gyre/runtime/task_group.hpp>
#include <gyre/runtime/timer.hpp>
#include <gyre/runtime/when_all.hpp>

#include "../support/branches.hpp"
#include "../support/foreign_task.hpp"
#include "../support/outcome.hpp"
#include "../support/scripted.hpp"
#include "../support/streams.hpp"
#include "../support/turning.hpp"

#include <doctest/doctest.h>

#include <chrono>
#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <system_error>
#include <type_traits>
#include <utility>
#include <vector>

namespace gyre {
namespace {

using namespace std::chrono_literals;
using namespace test;

// `count` times `first`, `first` + 1, …, each after a wait. Notes how it ended.
stream<int> slowly(int first, int count, std::chrono::milliseconds between, outcome& noted) {
  const stop_watch watch{noted};
  for (int i = first; i < first + count; ++i) {
    co_await sleep_for(between);
    co_yield i;
  }
  noted.how = ended::with_value;
}

stream<int> fails_after_one(std::chrono::milliseconds wait) {
  co_yield 1;
  co_await sleep_for(wait);
  throw failure{6};
}

// Read like a stream without being one: its next() is a task.
class countdown {
 public:
  explicit countdown(int from) noexcept : left_{from} {}
  countdown(countdown&&) = default;
  task<std::optional<int>> next() {
    if (left_ == 0) co_return std::nullopt;
    co_return left_--;
  }

 private:
  int left_;
};

}  // namespace

// ------------------------------------------------------------------------------------------- map, filter, take

TEST_CASE("map, filter and take make a stream of a stream, and of what is read like one") {
  const auto even_squares = [](auto source) {
    return filter(map(std::move(source), [](int i) { return i * i; }), [](int i) { return i % 2 == 0; });
  };
  CHECK(run_now(all_of(even_squares(count_to(6)))) == std::vector{4, 16, 36});
  CHECK(run_now(all_of(even_squares(countdown{4}))) == std::vector{16, 4});
  CHECK(run_now(all_of(take(count_to(9), 2))) == std::vector{1, 2});
  CHECK(run_now(all_of(take(count_to(1), 2))) == std::vector{1});
  CHECK(run_now(all_of(take(count_to(1), 0))).empty());
}

TEST_CASE("functions may be coroutines, may have captures, and may take items that can only be moved") {
  run_now([]() -> task<> {
    int offset = 10;
    auto owned = map(count_to(3), [offset](int i) -> task<std::unique_ptr<int>> {
      co_await sleep_for(0ns);
      co_return std::make_unique<int>(i + offset);
    });
    auto kept = filter(std::move(owned), [](const std::unique_ptr<int>& item) -> task<bool> {
      co_await sleep_for(0ns);
      co_return *item != 12;
    });
    auto numbers = map(std::move(kept), [](std::unique_ptr<int> item) { return *item; });
    CHECK(co_await all_of(std::move(numbers)) == std::vector{11, 13});
  }());
}

TEST_CASE("a source that is an lvalue is referred to, and goes on where it was left") {
  run_now([]() -> task<> {
    auto numbers = count_to(5);
    CHECK(co_await all_of(take(numbers, 2)) == std::vector{1, 2});
    CHECK(co_await all_of(map(take(numbers, 2), [](int i) { return -i; })) == std::vector{-3, -4});
    CHECK(co_await numbers.next() == 5);
  }());
}

TEST_CASE("a stream of references stays one: filter and take hand pointers on") {
  run_now([]() -> task<> {
    std::vector<std::string> texts{"a", "bb", "cc", "dd"};
    auto all = [](std::vector<std::string>& its) -> stream<std::string&> {
      for (auto& each : its) co_yield each;
    }(texts);
    auto two = take(filter(std::move(all), [](const std::string& text) { return text.size() == 2; }), 2);
    static_assert(std::is_same_v<decltype(two), stream<std::string&>>);
    CHECK(co_await two.next() == &texts[1]);
    CHECK(co_await two.next() == &texts[2]);
    CHECK(co_await two.next() == nullptr);
  }());
}

TEST_CASE("take does not ask for an item more than it gives") {
  scripted_executor on;
  outcome noted;
  auto root = on.loop.start([](outcome& to) -> task<> {
    auto two = take(slowly(1, 3, 1ms, to), 2);
    CHECK(co_await all_of(std::move(two)) == std::vector{1, 2});
  }(noted));

  on.run_for(2ms);

  root.get();
  CHECK(noted.how == ended::stopped);
}

TEST_CASE("failures go through: of the source, and of the function") {
  run_now([]() -> task<> {
    int caught = 0;
    try {
      co_await all_of(map(fails_after_one(0ms), [](int i) { return i; }));
    } catch (const failure& error) {
      caught = error.number;
    }
    CHECK(caught == 6);
    try {
      co_await all_of(filter(count_to(3), [](int i) { return i < 2 ? true : throw failure{7}; }));
    } catch (const failure& error) {
      caught = error.number;
    }
    CHECK(caught == 7);
  }());
}

TEST_CASE("a stop goes through all of them to the source that waits") {
  scripted_executor on;
  outcome noted;
  auto root = on.loop.start([](outcome& to) -> task<> {
    auto all = take(map(filter(slowly(1, 9, 1ms, to), [](int) { return true; }), [](int i) { return i; }), 9);
    co_await all_of(std::move(all));
  }(noted));
  on.run_for(2ms);

  on.stop(root);

  CHECK(root.stopped());
  CHECK(noted.how == ended::stopped);
}

// ------------------------------------------------------------------------------------------------------- merged

namespace {

std::vector<stream<int>> two_streams(outcome& a, outcome& b) {
  std::vector<stream<int>> both;
  both.push_back(slowly(10, 2, 2ms, a));
  both.push_back(slowly(20, 2, 3ms, b));
  return both;
}

}  // namespace

TEST_CASE("merged streams give their items in the order in which they come, and end when all have") {
  for (const bool as_vector : {true, false}) {
    CAPTURE(as_vector);
    scripted_executor on;
    std::vector<outcome> noted(2);
    std::vector<int> items;
    auto root = on.loop.start([](bool in_vector, std::vector<outcome>& to, std::vector<int>& taken) -> task<> {
      const auto take_all = [&taken](merged<int>& all) -> task<> {
        while (auto item = co_await all.next()) taken.push_back(*item);
        CHECK(co_await all.next() == std::nullopt);
      };
      if (in_vector) co_await with_merged(two_streams(to[0], to[1]), take_all);
      else
        co_await with_merged(slowly(10, 2, 2ms, to[0]), map(slowly(20, 2, 3ms, to[1]), [](int i) { return i; }),
                             take_all);
    }(as_vector, noted, items));

    on.run_for(6ms);

    root.get();
    CHECK(items == std::vector{10, 20, 11, 21});
    for (const auto& each : noted) CHECK(each.how == ended::with_value);
  }
}

TEST_CASE("no sources at all are at their end") {
  run_now([]() -> task<> {
    co_await with_merged(std::vector<stream<int>>{},
                         [](merged<int>& all) -> task<> { CHECK(co_await all.next() == std::nullopt); });
  }());
}

TEST_CASE("one item of each source waits for a slow reader, and no more; the longest waiting comes first") {
  scripted_executor on;
  int made = 0;
  std::vector<int> items;
  auto root = on.loop.start([](int& count, std::vector<int>& taken) -> task<> {
    const auto makes = [](int first, int& counted) -> stream<int> {
      for (int i = first;; ++i) {
        ++counted;
        co_yield i;
      }
    };
    co_await with_merged(makes(10, count), makes(20, count), [&](merged<int>& all) -> task<> {
      co_await sleep_for(1ms);
      CHECK(count == 2);
      for (int i = 0; i < 4; ++i) {
        taken.push_back(*co_await all.next());
        co_await sleep_for(1ms);
      }
    });
  }(made, items));

  on.run_for(5ms);

  root.get();
  CHECK(items == std::vector{10, 20, 11, 21});
  CHECK(made == 6);
}

TEST_CASE("a body that has enough ends the sources where they wait") {
  scripted_executor on;
  std::vector<outcome> noted(2);
  auto root = on.loop.start([](std::vector<outcome>& to) -> task<> {
    co_await with_merged(two_streams(to[0], to[1]),
                         [](merged<int>& all) -> task<> { CHECK(co_await all.next() == 10); });
  }(noted));

  on.run_for(2ms);

  root.get();
  for (const auto& each : noted) CHECK(each.how == ended::stopped);
}

TEST_CASE("a source that fails stops the others and the body, and so does a body that fails") {
  for (const bool source_fails : {true, false}) {
    CAPTURE(source_fails);
    scripted_executor on;
    std::vector<outcome> noted(2);
    auto root = on.loop.start([](bool by_source, std::vector<outcome>& to) -> task<> {
      auto failing = by_source ? fails_after_one(1ms) : count_to(1);
      co_await with_merged(std::move(failing), slowly(1, 1, 1h, to[0]), [&](merged<int>& all) -> task<> {
        const stop_watch watch{to[1]};
        while (auto item = co_await all.next())
          if (!by_source) throw failure{6};
      });
    }(source_fails, noted));

    on.run_for(1ms);

    CHECK(failure_of(root) == 6);
    for (const auto& each : noted) CHECK(each.how == ended::stopped);
  }
}

TEST_CASE("a stop from outside takes down the reader, who offers, and who waits in its source") {
  for (const bool reader_waits : {true, false}) {
    CAPTURE(reader_waits);
    scripted_executor on;
    std::vector<outcome> noted(2);
    auto root = on.loop.start([](bool reads, std::vector<outcome>& to) -> task<> {
      co_await with_merged(slowly(1, 1, 1h, to[0]), reads ? count_to(0) : count_to(5), [&](merged<int>& all) -> task<> {
        const stop_watch watch{to[1]};
        if (!reads) co_await sleep_for(1h);
        static_cast<void>(co_await all.next());
      });
    }(reader_waits, noted));
    on.loop.run_ready();

    on.stop(root);

    CHECK(root.stopped());
    for (const auto& each : noted) CHECK(each.how == ended::stopped);
  }
}

TEST_CASE("a reader in a shield is at the end when a stop or a failure has taken the sources") {
  enum class how { stopped, stopped_before_they_begin, failed };
  for (const how ended_by : {how::stopped, how::stopped_before_they_begin, how::failed}) {
    CAPTURE(static_cast<int>(ended_by));
    scripted_executor on{{}, one_at_a_time};
    std::vector<int> read;
    bool is_at_end = false;
    auto root = on.loop.start([](bool fails, std::vector<int>& items_read, bool& ended) -> task<> {
      outcome noted;
      auto other = fails ? fails_after_one(10ms) : slowly(2, 1, 1h, noted);
      co_await with_merged(slowly(1, 1, 1h, noted), std::move(other), [&](merged<int>& items) -> task<> {
        while (auto item = co_await shield(items.next())) items_read.push_back(*item);
        ended = true;
      });
    }(ended_by == how::failed, read, is_at_end));

    if (ended_by == how::stopped_before_they_begin) on.loop.turn(/*may_park=*/false);
    else on.loop.run_ready();
    if (ended_by == how::failed) on.advance(10ms);
    else on.stop(root);

    REQUIRE(root.done());
    CHECK(is_at_end);
    CHECK(root.stopped() == (ended_by != how::failed));
    CHECK(read == (ended_by == how::failed ? std::vector{1} : std::vector<int>{}));
    if (ended_by == how::failed) CHECK_THROWS_AS(root.get(), failure);
  }
}

TEST_CASE("a next() of merged streams that times out has taken nothing, and disturbs no source") {
  scripted_executor on;
  outcome noted;
  auto root = on.loop.start([](outcome& to) -> task<> {
    co_await with_merged(slowly(1, 2, 3ms, to), count_to(0), [](merged<int>& all) -> task<> {
      for (int i = 1; i <= 2; ++i) {
        CHECK((co_await as_result(with_timeout(2ms, all.next()))).error() == std::errc::timed_out);
        CHECK(co_await with_timeout(1h, all.next()) == i);
      }
    });
  }(noted));

  on.run_for(6ms);

  root.get();
}

TEST_CASE("an item that was given before a stop is delivered, and the next wait is stopped") {
  scripted_executor on{{}, one_at_a_time};
  int taken = 0;
  outcome noted;
  auto root = on.loop.start([](int& to, outcome& source) -> task<> {
    co_await with_merged(slowly(7, 2, 1ms, source), count_to(0), [&](merged<int>& all) -> task<> {
      to = *co_await all.next();
      static_cast<void>(co_await all.next());
    });
  }(taken, noted));
  on.loop.run_ready();

  on.script.advance(1ms);
  on.loop.turn(/*may_park=*/false);  // the sleep is over
  on.loop.turn(/*may_park=*/false);  // the source has given its item to the reader, who is not resumed yet
  CHECK(taken == 0);
  on.stop(root);

  CHECK(taken == 7);
  CHECK(root.stopped());
  CHECK(noted.how == ended::stopped);
}

TEST_CASE("several may read merged streams, also coroutines of another library; at the end each hears of it") {
  scripted_executor on;
  std::vector<int> sums(2);
  auto root = on.loop.start([](std::vector<int>& to) -> task<> {
    outcome source;
    co_await with_merged(slowly(1, 4, 1ms, source), count_to(0), [&](merged<int>& all) -> task<> {
      const auto sums_up = [](merged<int>& from, int& sum) -> task<> {
        while (auto item = co_await from.next()) sum += *item;
      };
      const auto foreign_sums_up = [](merged<int>& from, int& sum) -> task<> {
        auto foreign = [](merged<int>& its) -> foreign_task {
          int mine = 0;
          while (auto item = co_await its.next()) mine += *item;
          co_return mine;
        }(from);
        sum = co_await foreign;
      };
      co_await when_all(sums_up(all, to[0]), foreign_sums_up(all, to[1]));
    });
  }(sums));

  on.run_for(4ms);

  root.get();
  CHECK(sums == std::vector{1 + 3, 2 + 4});
}

TEST_CASE("a stop can be heard of as an error at merged streams, too") {
  scripted_executor on;
  std::error_code heard;
  auto root = on.loop.start([](std::error_code& to) -> task<> {
    outcome source;
    co_await with_merged(slowly(1, 1, 1h, source), count_to(0), [&](merged<int>& all) -> task<> {
      to = (co_await as_result(stopped_as_error(all.next()))).error();
    });
  }(heard));
  on.loop.run_ready();

  on.stop(root);

  CHECK(heard == std::errc::operation_canceled);
  CHECK(root.stopped());
}

}  // namespace gyre
