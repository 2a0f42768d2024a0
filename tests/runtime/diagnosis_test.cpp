// SPDX-License-Identifier: MIT
// What is said of those who wait: what for, since when, and where.
#include <gyre/runtime/deadline.hpp>
#include <gyre/runtime/diagnosis.hpp>
#include <gyre/runtime/ops/misc.hpp>
#include <gyre/runtime/ops/socket.hpp>
#include <gyre/runtime/task_group.hpp>
#include <gyre/runtime/timer.hpp>

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

foreign_task foreign_receive() {
  std::vector<std::byte> buffer(4);
  co_return static_cast<int>(co_await ops::recv(some_socket, buffer));
}

bool contains(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

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
