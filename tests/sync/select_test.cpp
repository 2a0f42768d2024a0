// SPDX-License-Identifier: MIT
// select() and try_select(): one of several sends and receives is done, and nothing happens to the others. Every order
// of what can come first is channel_order_test's.
#include <gyre/runtime/as_result.hpp>
#include <gyre/runtime/deadline.hpp>
#include <gyre/runtime/diagnosis.hpp>
#include <gyre/sync/channel.hpp>
#include <gyre/sync/select.hpp>

#include <doctest/doctest.h>
#include "../support/foreign_task.hpp"
#include "../support/scripted.hpp"

#include <array>
#include <chrono>
#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <system_error>
#include <utility>
#include <variant>
#include <vector>

namespace gyre::sync {
namespace {

using namespace std::chrono_literals;
using test::scripted_executor;

constexpr std::size_t none = 99;

struct noted {
  std::size_t index = none;
  std::optional<int> item;
};

task<> receive_either(channel<int>& one, channel<int>& other, noted& to) {
  auto got = co_await select(one.receive(), other.receive());
  to.index = got.index;
  to.item = got.index == 0 ? std::get<0>(got.value) : std::get<1>(got.value);
}

TEST_CASE("what can be done at once is done, and the other channel is not touched") {
  scripted_executor on;
  channel<int> one{1};
  channel<int> other{1};
  CHECK(other.try_send(7));
  noted seen;

  auto root = on.loop.start(receive_either(one, other, seen));
  on.loop.turn(/*may_park=*/false);

  CHECK(root.done());
  CHECK(seen.index == 1);
  CHECK(seen.item == 7);
  CHECK(one.try_send(1));  // nobody waits there
  CHECK(one.size() == 1);
}

TEST_CASE("who waits at several channels takes the first item that comes, and leaves the other queues") {
  scripted_executor on;
  channel<int> one{1};
  channel<int> other{1};
  noted seen;
  auto root = on.loop.start(receive_either(one, other, seen));
  on.loop.run_ready();
  CHECK(!root.done());

  CHECK(other.try_send(7));
  CHECK(one.try_send(8));  // before the select has run: it has been decided
  on.loop.run_ready();

  CHECK(seen.index == 1);
  CHECK(seen.item == 7);
  CHECK(one.try_receive() == 8);
}

TEST_CASE("sends and receives can be mixed; a send that loses keeps its item") {
  scripted_executor on;
  channel<std::unique_ptr<int>> out{0};
  channel<int> in{0};
  auto offered = std::make_unique<int>(1);
  std::array<std::size_t, 2> indexes{none, none};
  auto root = on.loop.start(
      [](auto& to, channel<int>& from, std::unique_ptr<int>& item, std::array<std::size_t, 2>& seen) -> task<> {
        const auto first = co_await select(to.send_from(item), from.receive());
        seen[0] = first.index;
        CHECK(item != nullptr);
        const auto sent = co_await select(to.send_from(item), from.receive());
        seen[1] = sent.index;
        CHECK(std::get<0>(sent.value));
        CHECK(item == nullptr);
      }(out, in, offered, indexes));
  on.loop.run_ready();

  CHECK(in.try_send(5));
  on.loop.run_ready();
  CHECK(indexes[0] == 1);
  CHECK(**out.try_receive() == 1);
  on.loop.run_ready();

  CHECK(root.done());
  CHECK(indexes[1] == 0);
}

TEST_CASE("a send() in a select says what came of it, and gives the item back at the end") {
  scripted_executor on;
  channel<int> out{0};
  channel<int> in{0};
  auto root = on.loop.start([](channel<int>& to, channel<int>& from) -> task<> {
    auto done = co_await select(from.receive(), to.send(3));
    REQUIRE(done.index == 1);
    auto& sent = std::get<1>(done.value);
    CHECK(!sent);
    CHECK(std::move(sent).take_back() == 3);
  }(out, in));
  on.loop.run_ready();

  out.close();
  on.loop.run_ready();

  CHECK(root.done());
}

TEST_CASE("a channel that is closed is chosen, and says that it is closed") {
  scripted_executor on;
  channel<int> one{1};
  channel<int> other{1};
  noted seen;
  auto root = on.loop.start(receive_either(one, other, seen));
  on.loop.run_ready();

  one.close();
  on.loop.run_ready();

  CHECK(root.done());
  CHECK(seen.index == 0);
  CHECK(seen.item == std::nullopt);
}

TEST_CASE("the same channel can stand there twice, and a select does not meet itself") {
  scripted_executor on;
  channel<int> through{0};
  noted seen;
  auto root = on.loop.start([](channel<int>& used, noted& to) -> task<> {
    int item = 1;
    const auto done = co_await select(used.send_from(item), used.receive(), used.receive());
    to.index = done.index;
  }(through, seen));
  on.loop.run_ready();
  CHECK(!root.done());

  CHECK(through.try_send(2));
  on.loop.run_ready();

  CHECK(seen.index == 1);
  CHECK(through.try_receive() == std::nullopt);
}

TEST_CASE("of several that can be done each has its turn") {
  scripted_executor on;
  channel<int> one{1};
  channel<int> other{1};
  channel<int> third{1};
  std::array<int, 3> counts{};
  auto root = on.loop.start([](std::array<channel<int>*, 3> all, std::array<int, 3>& counted) -> task<> {
    for (int round = 0; round < 3000; ++round) {
      for (auto* const each : all) static_cast<void>(each->try_send(1));
      ++counted[(co_await select(all[0]->receive(), all[1]->receive(), all[2]->receive())).index];
    }
  }({&one, &other, &third}, counts));
  on.loop.run_ready();

  CHECK(root.done());
  for (const int count : counts) {
    CHECK(count > 800);
    CHECK(count < 1200);
  }
}

TEST_CASE("a list of receives is waited for like a few") {
  scripted_executor on;
  std::vector<std::unique_ptr<channel<int>>> all;
  for (int each = 0; each < 10; ++each) all.push_back(std::make_unique<channel<int>>(1));
  noted seen;
  auto root = on.loop.start([](auto& channels, noted& to) -> task<> {
    std::vector<receive_operation<int>> receives;
    for (auto& each : channels) receives.push_back(each->receive());
    const auto got = co_await select(std::move(receives));
    to = {.index = got.index, .item = got.value};
  }(all, seen));
  on.loop.run_ready();

  CHECK(all[7]->try_send(5));
  on.loop.run_ready();

  CHECK(root.done());
  CHECK(seen.index == 7);
  CHECK(seen.item == 5);
}

TEST_CASE("try_select() does what can be done, and otherwise nothing") {
  channel<int> one{1};
  channel<int> other{1};
  CHECK(!try_select(one.receive(), other.receive()));

  int item = 3;
  const auto sent = try_select(one.receive(), other.send_from(item));
  REQUIRE(sent);
  CHECK(sent->index == 1);
  CHECK(std::get<1>(sent->value));

  std::vector<receive_operation<int>> receives;
  receives.push_back(one.receive());
  receives.push_back(other.receive());
  const auto got = try_select(std::move(receives));
  REQUIRE(got);
  CHECK(got->index == 1);
  CHECK(got->value == 3);
}

TEST_CASE("a select that is stopped while it waits leaves all queues, and has done nothing") {
  scripted_executor on;
  channel<int> one{1};
  channel<int> other{1};
  noted seen;
  auto root = on.loop.start(receive_either(one, other, seen));
  on.loop.run_ready();

  on.stop(root);

  CHECK(root.stopped());
  CHECK(seen.index == none);
  CHECK(one.try_send(1));
  CHECK(other.try_send(2));
  CHECK(one.size() + other.size() == 2);
}

TEST_CASE("an item that a select was handed when the stop comes is delivered, from another executor too") {
  scripted_executor left, right;
  channel<int> one{0};
  channel<int> other{0};
  noted seen;
  auto root = right.loop.start(receive_either(one, other, seen));
  right.loop.run_ready();
  auto sends = left.loop.start([](channel<int>& to) -> task<> {
    CHECK(to.try_send(7));
    co_return;
  }(other));
  left.loop.run_ready();

  root.cancel();
  right.loop.run_ready();

  CHECK(seen.index == 1);
  CHECK(seen.item == 7);
}

TEST_CASE("a deadline around a select takes no item") {
  scripted_executor on;
  channel<int> one{1};
  channel<int> other{1};
  std::error_code code;
  auto root = on.loop.start([](channel<int>& a, channel<int>& b, std::error_code& to) -> task<> {
    to = (co_await as_result(with_timeout(10ms, select(a.receive(), b.receive())))).error();
  }(one, other, code));
  on.loop.run_ready();

  on.advance(10ms);

  CHECK(root.done());
  CHECK(code == std::errc::timed_out);
  CHECK(one.try_send(1));
  CHECK(one.size() == 1);
}

TEST_CASE("a row of selects that need no wait lets a stop arrive") {
  scripted_executor on;
  channel<int> one{1};
  channel<int> other{1};
  auto root = on.loop.start([](channel<int>& a, channel<int>& b) -> task<> {
    for (;;) {
      static_cast<void>(b.try_send(1));
      static_cast<void>(co_await select(a.receive(), b.receive()));
    }
  }(one, other));
  on.loop.turn(/*may_park=*/false);
  on.loop.turn(/*may_park=*/false);

  on.stop(root);

  CHECK(root.stopped());
}

TEST_CASE("as_result() takes a select, and so does a coroutine of another library") {
  scripted_executor on;
  channel<int> one{1};
  channel<int> other{1};
  int got = 0;
  auto foreign = [](channel<int>& a, channel<int>& b) -> test::foreign_task {
    const auto done = co_await select(a.receive(), b.receive());
    co_return std::get<0>(done.value).value_or(0);
  };
  auto root = on.loop.start([](auto make, channel<int>& a, channel<int>& b, int& into) -> task<> {
    const auto first = co_await as_result(select(a.receive(), b.receive()));
    into = std::get<0>(first.value().value).value_or(0);
    into += co_await make(a, b);
  }(foreign, one, other, got));
  on.loop.run_ready();
  CHECK(dump_tasks(on.loop).find("select") != std::string::npos);

  CHECK(one.try_send(1));
  on.loop.run_ready();
  CHECK(one.try_send(2));
  on.loop.run_ready();

  CHECK(root.done());
  CHECK(got == 3);
}

}  // namespace
}  // namespace gyre::sync
