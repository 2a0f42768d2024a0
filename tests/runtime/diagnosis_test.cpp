// SPDX-License-Identifier: MIT
// What is said of those who wait: what for, since when, and where.
#include <gyre/runtime/deadline.hpp>
#include <gyre/runtime/diagnosis.hpp>
#include <gyre/runtime/ops/misc.hpp>
#include <gyre/runtime/ops/socket.hpp>
#include <gyre/runtime/stream.hpp>
#include <gyre/runtime/task_group.hpp>
#include <gyre/runtime/timer.hpp>
#include <gyre/runtime/when_all.hpp>

#include "../support/foreign_task.hpp"
#include "../support/scripted.hpp"

#include <doctest/doctest.h>
#include <liburing.h>

#include <algorithm>
#include <chrono>
#include <string>
#include <vector>

namespace gyre {
namespace {

using namespace std::chrono_literals;
using namespace test;

constexpr int some_socket = 1'000'123;

task<> receive() {
  std::vector<std::byte> buffer(4);
  co_await ops::recv(some_socket, buffer);
}

task<> through_another() { co_await receive(); }

constexpr int innermost_line = __LINE__ + 1;
task<> sleep_on() { co_await sleep_for(1h); }
constexpr int middle_line = __LINE__ + 1;
task<> through_one() { co_await sleep_on(); }
constexpr int outermost_line = __LINE__ + 1;
task<> through_two() { co_await through_one(); }

task<> go_deeper(int levels_left) {
  if (levels_left > 0) co_await go_deeper(levels_left - 1);
  else co_await sleep_on();
}

constexpr int in_stream_line = __LINE__ + 2;
stream<int> late_items() {
  co_await sleep_for(1h);
  co_yield 1;
}
constexpr int reader_line = __LINE__ + 3;
task<> read_late() {
  auto items = late_items();
  static_cast<void>(co_await items.next());
}

foreign_task foreign_receive() {
  std::vector<std::byte> buffer(4);
  co_return static_cast<int>(co_await ops::recv(some_socket, buffer));
}

bool contains(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

std::string place(int line) { return "diagnosis_test.cpp:" + std::to_string(line); }

auto lines_in(const std::string& text) { return std::count(text.begin(), text.end(), '\n'); }

}  // namespace

TEST_CASE("of an executor on which nothing waits there is nothing to say") {
  scripted_executor on;
  CHECK(describe_waits(on.loop).empty());
}

TEST_CASE("who waits is told with operation, time and places") {
  scripted_executor on;
  auto root = on.loop.start(through_another());
  on.loop.run_ready();
  on.script.advance(12s + 300ms);
  on.loop.now();

  const std::string told = describe_waits(on.loop);

  CHECK(contains(told, "recv"));
  CHECK(contains(told, "12.3 s"));
  CHECK(contains(told, "diagnosis_test.cpp"));
  CHECK(contains(told, "awaited at"));
  root.cancel();
  on.loop.run_ready();
  CHECK(describe_waits(on.loop).empty());
}

TEST_CASE("who waits inside a stream, and who side by side, is told with the places") {
  scripted_executor on;
  auto root = on.loop.start([]() -> task<> { co_await when_all(read_late(), through_one(), receive()); }());
  on.loop.run_ready();

  const std::string told = describe_waits(on.loop);

  CHECK(lines_in(told) == 3);
  CHECK(contains(told, place(in_stream_line)));
  CHECK(contains(told, place(reader_line)));
  CHECK(contains(told, place(middle_line)));
  CHECK(contains(told, "recv"));
  root.cancel();
  on.loop.run_ready();
}

TEST_CASE("those who wait for who waits are told from the innermost outwards, with their lines") {
  scripted_executor on;
  auto root = on.loop.start(through_two());
  on.loop.run_ready();

  const std::string told = describe_waits(on.loop);

  const auto innermost = told.find(place(innermost_line));
  const auto middle = told.find(place(middle_line));
  const auto outermost = told.find(place(outermost_line));
  CHECK(told.starts_with("sleep for "));
  CHECK(innermost < middle);
  CHECK(middle < outermost);
  CHECK(outermost != std::string::npos);
  root.cancel();
  on.loop.run_ready();
}

TEST_CASE("of a long chain of those who wait the innermost eight are told") {
  scripted_executor on;
  auto root = on.loop.start(go_deeper(100));
  on.loop.run_ready();

  const std::string told = describe_waits(on.loop);

  std::size_t places_count = 0;
  for (auto at = told.find(".cpp:"); at != std::string::npos; at = told.find(".cpp:", at + 1)) ++places_count;
  CHECK(places_count == 8);
  CHECK(lines_in(told) == 1);
  root.cancel();
  on.loop.run_ready();
}

TEST_CASE("of a coroutine of another library it is told that there is one, since nobody knows where it is") {
  scripted_executor on;
  auto root = on.loop.start([]() -> task<> { co_await foreign_receive(); }());
  on.loop.run_ready();

  CHECK(contains(describe_waits(on.loop), "recv for 0.0 s in a coroutine of another library"));

  root.cancel();
  on.loop.run_ready();
}

TEST_CASE("everybody in a group is told of, in a line each, coroutines of other types too") {
  scripted_executor on;
  auto root = on.loop.start([]() -> task<> {
    co_await with_task_group([](task_group& group) -> task<> {
      group.start(receive());
      group.start([]() -> task<> { co_await foreign_receive(); });
      group.start([]() -> task<> { co_await with_timeout(1h, receive()); });
      co_await sleep_for(1h);
    });
  }());
  on.loop.run_ready();

  const std::string told = describe_waits(on.loop);

  CHECK(lines_in(told) == 4);
  CHECK(contains(told, "sleep"));
  root.cancel();
  on.loop.run_ready();
}

TEST_CASE("what has settled, and was not resumed yet, waits no more") {
  scripted_executor on;
  auto root = on.loop.start(receive());
  on.loop.run_ready();
  on.script.complete(on.script.only(IORING_OP_RECV), 4);
  on.loop.turn(/*may_park=*/false);

  CHECK(describe_waits(on.loop).empty());

  on.loop.run_ready();
}

}  // namespace gyre
