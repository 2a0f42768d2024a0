// SPDX-License-Identifier: MIT
// Something of everything that a tree of tasks can show, for gdb.py: prints it, and stops.
#include <gyre/runtime/as_result.hpp>
#include <gyre/runtime/deadline.hpp>
#include <gyre/runtime/diagnosis.hpp>
#include <gyre/runtime/ops/accept_stream.hpp>
#include <gyre/runtime/ops/file.hpp>
#include <gyre/runtime/ops/path.hpp>
#include <gyre/runtime/ops/socket.hpp>
#include <gyre/runtime/stop_token.hpp>
#include <gyre/runtime/stream.hpp>
#include <gyre/runtime/stream_ops.hpp>
#include <gyre/runtime/task_group.hpp>
#include <gyre/runtime/this_task.hpp>
#include <gyre/runtime/timer.hpp>
#include <gyre/runtime/when_all.hpp>
#include <gyre/runtime/when_any.hpp>

#include "../support/foreign_task.hpp"
#include "../support/scripted.hpp"

#include <array>
#include <chrono>
#include <csignal>
#include <cstddef>
#include <cstdio>
#include <memory>
#include <stop_token>
#include <string>
#include <utility>

namespace gyre {
namespace {

using namespace std::chrono_literals;
using namespace test;

constexpr int some_socket = 1'000'123;
constexpr int some_file = 1'000'456;
std::array<std::byte, 4> everything{};

task<> sleep_on() { co_await sleep_for(1h); }
task<> sleep_shortly() { co_await sleep_for(400ms); }

task<> receive() {
  std::array<std::byte, 4> buffer{};
  co_await with_timeout(10s, ops::recv(some_socket, buffer));
}
task<> receive_quickly() {
  std::array<std::byte, 4> buffer{};
  co_await with_timeout(900ms, ops::recv(some_socket, buffer));
}
task<> sync_file() { co_await ops::fsync(some_file); }
task<> open_file() { static_cast<void>(co_await ops::openat(some_file, "name", 0)); }

task<> go_deeper(int levels_left) {
  if (levels_left > 0) co_await go_deeper(levels_left - 1);
  else co_await sleep_on();
}

task<> receive_all_limited() { co_await with_timeout(20s, ops::recv_all(some_socket, everything)); }
task<> move_on_from_sync() { co_await move_on_after(5s, ops::fsync(some_file)); }
task<> move_on_at_point() {
  const auto when = detail::time_point_of(executor::current().now()) + 7s;
  co_await when_all(move_on_at(when, ops::fsync(some_file)), with_deadline(when + 1s, sync_file()));
}
task<> result_in_time() { static_cast<void>(co_await as_result(with_timeout(9s, ops::fsync(some_file)))); }

// More deadlines than there are lanes for them, so that some stand in the heap.
task<> limit_backwards(int seconds) { co_await with_timeout(seconds * 1s, ops::fsync(some_file)); }

task<> side_by_side() { co_await when_all(receive(), ops::fsync(some_file), with_timeout(1h, sleep_on())); }
task<> one_of_two() { co_await when_any(sleep_for(1h), open_file()); }
task<> race_of_two() { co_await race(sleep_for(1h), sync_file()); }
task<> success_of_two() { co_await first_success(sleep_for(1h), sync_file()); }

template <class T>
stream<T> late_items() {
  co_await sleep_for(1h);
  co_yield T{};
}
task<> read_late() {
  auto items = late_items<int>();
  static_cast<void>(co_await items.next());
}

stream<int> one_at_once() { co_yield 1; }
stream<int> received_in_time() {
  std::array<std::byte, 4> buffer{};
  co_await with_timeout(30s, ops::recv(some_socket, buffer));
  co_yield 1;
}
task<> read_two(merged<int>& items) {
  co_await items.next();
  co_await items.next();
}
task<> merge() { co_await with_merged(take(one_at_once(), 1), received_in_time(), read_two); }
task<> leave_items(merged<int>&) { co_await sleep_on(); }
task<> merge_in_vain() { co_await with_merged(one_at_once(), late_items<int>(), leave_items); }

foreign_task foreign_sync() {
  co_await sync_file();
  co_await ops::fsync(some_file);
  co_return 0;
}
foreign_task foreign_wait() {
  co_await ops::fsync(some_file);
  co_return 0;
}
task<> through_foreign_task() { co_await foreign_sync(); }
task<> through_foreign() { co_await foreign_wait(); }

task<> take_connections() {
  ops::accept_stream connections{some_socket};
  static_cast<void>(co_await connections.next());
}

task<> tick() {
  interval every_minute{1min};
  co_await every_minute.next();
}

task<> await_child(task_group& group) {
  auto child = group.start_with_result(sleep_on());
  co_await std::move(child);
}
task<> wait_for_room(task_group& group) {
  group.start(sleep_on());
  co_await group.room();
}
task<> until_stopped(std::stop_token token) { co_await with_stop_token(std::move(token), sync_file()); }

task<> all_of_it(task_group& group) {
  group.start(receive_quickly());
  group.start(go_deeper(30));
  group.start(side_by_side());
  group.start(one_of_two());
  group.start(read_late());
  group.start(through_foreign());
  group.start(through_foreign_task());
  group.start(take_connections());
  group.start(tick());
  group.start(sleep_shortly());
  group.start(receive_all_limited());
  group.start(move_on_from_sync());
  group.start(move_on_at_point());
  group.start(result_in_time());
  for (int seconds = 16; seconds > 8; --seconds) group.start(limit_backwards(seconds));
  group.start(race_of_two());
  group.start(success_of_two());
  group.start(merge());
  group.start(merge_in_vain());
  group.start([]() -> task<> { co_await with_task_group(await_child); });
  group.start([]() -> task<> { co_await with_task_group({.max_tasks = 1}, wait_for_room); });
  group.start(until_stopped(std::stop_token{}));
  group.start([]() -> task<> { co_await shield(1min, sync_file()); });
  group.start([]() -> task<> { co_await stopped_as_error(sync_file()); });
  group.start([]() -> task<> {
    co_await with_cancel_scope([](cancel_scope& scope) -> task<> {
      scope.cancel("for the sake of it");
      co_await shield(sync_file());
    });
  });
  co_await sleep_on();
}

task<> end_at_deadline() { co_await with_timeout(2s, ops::fsync(some_file)); }

task<> root() { co_await with_task_group(all_of_it); }

task<> yield_for_ever() {
  for (;;) co_await this_task::yield();
}
foreign_task yield_elsewhere() {
  for (;;) co_await this_task::yield();
}
task<> yield_below_foreign() { co_await yield_elsewhere(); }

// In the midst of a turn, the one behind that in which it begins: there are some who go on in the next.
task<> tell_and_stop(executor& first, executor& second) {
  co_await this_task::yield();
  const std::string told = dump_tasks(first) + dump_tasks(second);
  std::fputs(told.c_str(), stdout);
  std::fflush(stdout);
  std::raise(SIGTRAP);  // gdb has it from here; without one, this is the end
}

}  // namespace

int show() {
  scripted_executor first;
  auto between = std::make_unique<scripted_executor>();
  scripted_executor second{{.on_cancel = detail::scripted_ring::cancels::by_hand}};
  {
    const scripted_executor newest;
  }
  between.reset();  // those that are gone are in no list
  auto many = first.loop.start(root());
  auto one = second.loop.start(receive());
  auto late = second.loop.start(end_at_deadline());
  first.loop.run_ready();
  second.loop.run_ready();
  first.script.advance(500ms);
  second.script.advance(3s);
  second.loop.run_ready();
  auto yields = first.loop.start(yield_for_ever());
  auto yields_elsewhere = first.loop.start(yield_below_foreign());
  auto tells = first.loop.start(tell_and_stop(first.loop, second.loop));
  first.loop.turn(/*may_park=*/false);
  first.loop.turn(/*may_park=*/false);
  return 0;
}

}  // namespace gyre

int main() { return gyre::show(); }
