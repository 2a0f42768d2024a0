// SPDX-License-Identifier: MIT
// What is told of an executor's tasks: the tree of them, and of each what it waits for, since when, and where.
#include <gyre/runtime/as_result.hpp>
#include <gyre/runtime/deadline.hpp>
#include <gyre/runtime/diagnosis.hpp>
#include <gyre/runtime/ops/accept_stream.hpp>
#include <gyre/runtime/ops/file.hpp>
#include <gyre/runtime/ops/misc.hpp>
#include <gyre/runtime/ops/socket.hpp>
#include <gyre/runtime/stop_token.hpp>
#include <gyre/runtime/stream.hpp>
#include <gyre/runtime/stream_ops.hpp>
#include <gyre/runtime/task_group.hpp>
#include <gyre/runtime/this_task.hpp>
#include <gyre/runtime/timer.hpp>
#include <gyre/runtime/when_all.hpp>
#include <gyre/runtime/when_any.hpp>
#include <gyre/sync/channel.hpp>

#include "../support/foreign_task.hpp"
#include "../support/scripted.hpp"

#include <doctest/doctest.h>
#include <liburing.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <initializer_list>
#include <sstream>
#include <stop_token>
#include <string>
#include <utility>
#include <vector>

namespace gyre {
namespace {

using namespace std::chrono_literals;
using namespace test;
using detail::scripted_ring;

constexpr int some_socket = 1'000'123;
constexpr int some_file = 1'000'456;
std::array<std::byte, 4> bytes{};  // where operations land that are given away

// Where the co_await of a function stands, as it is told.
std::string at(int line) { return " at " __FILE__ ":" + std::to_string(line); }

std::string lines(std::initializer_list<std::string> each) {
  std::string all;
  for (const auto& line : each) all += line + "\n";
  return all;
}

bool contains(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

auto lines_in(const std::string& text) { return std::count(text.begin(), text.end(), '\n'); }

// A task in flight, and its end.
struct in_flight {
  explicit in_flight(task<> body, scripted_ring::cancels on_cancel = scripted_ring::cancels::like_the_kernel)
      : on{{.on_cancel = on_cancel}}, root{on.loop.start(std::move(body))} {
    on.loop.run_ready();
  }
  ~in_flight() {
    root.cancel();
    on.loop.run_ready();
    for (const auto opcode : {IORING_OP_RECV, IORING_OP_FSYNC})
      for (const auto& each : on.script.in_flight(opcode)) on.script.complete(each, -ECANCELED);
    on.loop.run_ready();
  }

  std::string told_after(std::chrono::nanoseconds time) {
    on.script.advance(time);
    return dump_tasks(on.loop);
  }

  scripted_executor on;
  root_task<void> root;
};

constexpr int receive_line = __LINE__ + 3;
task<> receive() {
  std::array<std::byte, 4> buffer{};
  co_await ops::recv(some_socket, buffer);
}
constexpr int sync_line = __LINE__ + 1;
task<> sync_file() { co_await ops::fsync(some_file); }
constexpr int sleep_line = __LINE__ + 1;
task<> sleep_on() { co_await sleep_for(1h); }
constexpr int outer_line = __LINE__ + 1;
task<> sleep_below() { co_await sleep_on(); }

task<> go_deeper(int levels_left) {
  if (levels_left > 0) co_await go_deeper(levels_left - 1);
  else co_await sleep_on();
}

}  // namespace

TEST_CASE("of an executor on which nothing runs there is nothing to say") {
  scripted_executor on;

  CHECK(dump_tasks(on.loop).empty());
}

TEST_CASE("a line of coroutines is told from the outermost to the one that waits, each with its line") {
  in_flight subject{sleep_below()};

  CHECK(subject.told_after(90s) == lines({"root task",                             //
                                          "  gyre::sleep_below" + at(outer_line),  //
                                          "    gyre::sleep_on" + at(sleep_line) +  //
                                              ": sleep for 90.0 s, 3510.0 s left"}));
}

TEST_CASE("an operation is told with its descriptor and for how long it has been waited for") {
  in_flight subject{receive()};

  CHECK(subject.told_after(12s + 300ms) ==
        lines({"root task", "  gyre::receive" + at(receive_line) + ": recv on fd 1000123 for 12.3 s"}));
}

TEST_CASE("the same goes to a stream, and what has ended is told no more") {
  in_flight subject{receive()};
  std::ostringstream out;

  dump_tasks(out, subject.on.loop);
  subject.root.cancel();
  subject.on.loop.run_ready();

  CHECK(out.str() == lines({"root task", "  gyre::receive" + at(receive_line) + ": recv on fd 1000123 for 0.0 s"}));
  CHECK(dump_tasks(subject.on.loop).empty());
}

// ------------------------------------------------------------------------------------------------------- side by side

namespace {

constexpr int body_line = __LINE__ + 4;
task<> open_group(task_group& group) {
  group.start(receive());
  group.start(sleep_below());
  co_await sleep_on();
}
constexpr int group_line = __LINE__ + 1;
task<> with_group() { co_await with_task_group(open_group); }

constexpr int all_line = __LINE__ + 1;
task<> wait_for_all() { co_await when_all(receive(), ops::recv(some_socket, bytes), sleep_below()); }

constexpr int quick_race_line = __LINE__ + 1;
task<> wait_for_any() { co_await when_any(ops::fsync(some_file), sleep_for(5s)); }
constexpr int race_line = __LINE__ + 1;
task<> wait_for_race() { co_await race(receive(), sleep_for(5s)); }
constexpr int success_line = __LINE__ + 1;
task<> wait_for_success() { co_await first_success(ops::recv(some_socket, bytes), sleep_on()); }
constexpr int list_line = __LINE__ + 5;
task<> wait_for_list() {
  std::vector<task<>> tasks;
  tasks.reserve(2);
  for (int i = 0; i < 2; ++i) tasks.push_back(receive());
  co_await when_all(std::move(tasks));
}

}  // namespace

TEST_CASE("the children of a group stand below the co_await that opened it, the body with a name") {
  in_flight subject{with_group()};

  CHECK(subject.told_after(1s) ==
        lines({"root task",                                                                   //
               "  gyre::with_group" + at(group_line) + ": with_task_group, 2 tasks",          //
               "    body: gyre::open_group" + at(body_line),                                  //
               "      gyre::sleep_on" + at(sleep_line) + ": sleep for 1.0 s, 3599.0 s left",  //
               "    gyre::receive" + at(receive_line) + ": recv on fd 1000123 for 1.0 s",     //
               "    gyre::sleep_below" + at(outer_line),                                      //
               "      gyre::sleep_on" + at(sleep_line) + ": sleep for 1.0 s, 3599.0 s left"}));
}

TEST_CASE("branches are told with their numbers; an operation among them is at the line where it was given") {
  in_flight subject{wait_for_all()};

  CHECK(subject.told_after(1s) ==
        lines({"root task",                                                                          //
               "  gyre::wait_for_all" + at(all_line) + ": when_all, 3 tasks",                        //
               "    branch 0: gyre::receive" + at(receive_line) + ": recv on fd 1000123 for 1.0 s",  //
               "    branch 1: recv on fd 1000123 for 1.0 s",                                         //
               "    branch 2: gyre::sleep_below" + at(outer_line),                                   //
               "      gyre::sleep_on" + at(sleep_line) + ": sleep for 1.0 s, 3599.0 s left"}));
}

TEST_CASE("of several of which the first decides it is told which they are") {
  in_flight subject{wait_for_any()};

  CHECK(subject.told_after(1s) == lines({"root task",                                                           //
                                         "  gyre::wait_for_any" + at(quick_race_line) + ": when_any, 2 tasks",  //
                                         "    branch 0: fsync on fd 1000456 for 1.0 s",                         //
                                         "    branch 1: sleep for 1.0 s, 4.0 s left"}));
}

TEST_CASE("those that decide otherwise, and those of a list, have their own names") {
  in_flight of_race{wait_for_race()};
  CHECK(contains(dump_tasks(of_race.on.loop), at(race_line) + ": race, 2 tasks\n    branch 0: gyre::receive"));

  in_flight of_success{wait_for_success()};
  CHECK(contains(dump_tasks(of_success.on.loop), at(success_line) + ": first_success, 2 tasks\n    branch 0: recv on"));

  in_flight of_list{wait_for_list()};
  CHECK(contains(dump_tasks(of_list.on.loop), at(list_line) + ": when_all, 2 tasks\n    branch 0: gyre::receive"));
}

TEST_CASE("a branch that has ended is told no more, and the others keep their numbers") {
  in_flight subject{wait_for_all()};

  subject.on.script.complete(subject.on.script.in_flight(IORING_OP_RECV).front(), 0);
  subject.on.loop.run_ready();

  const std::string told = dump_tasks(subject.on.loop);
  CHECK(contains(told, ": when_all, 2 tasks\n"));
  CHECK(!contains(told, "branch 0"));
  CHECK(contains(told, "    branch 1: recv on fd"));
}

namespace {

std::string told_inside;

constexpr int teller_line = __LINE__ + 2;
task<> tell() {
  co_await this_task::yield();
  told_inside = dump_tasks();
  co_await this_task::yield();
}
task<> tell_at_once() {
  told_inside = dump_tasks();
  co_return;
}
task<> tell_before_children_begin(task_group& group) {
  group.start(receive());
  group.start(receive());
  co_await tell_at_once();
  group.cancel();
}
constexpr int teller_group_line = __LINE__ + 1;
task<> tell_of_group() { co_await with_task_group(tell_before_children_begin); }

}  // namespace

TEST_CASE("a task can have it told of itself: then it runs") {
  in_flight subject{tell()};

  CHECK(told_inside == lines({"root task", "  gyre::tell" + at(teller_line) + ": runs, or is about to"}));
}

namespace {

struct tells_at_its_end {
  ~tells_at_its_end() { told_inside = dump_tasks(); }
};

task<> tell_when_stopped() {
  const tells_at_its_end at_the_end;
  co_await sleep_for(1h);
}
constexpr int below_line = __LINE__ + 1;
task<> tell_below() { co_await tell_when_stopped(); }

}  // namespace

TEST_CASE("a destructor that a stop runs can have it told; frames that are gone are left out") {
  in_flight alone{tell_when_stopped()};
  alone.root.cancel();
  alone.on.loop.run_ready();
  CHECK(told_inside == lines({"root task; asked to stop", "  is being taken down"}));

  in_flight below{tell_below()};
  below.root.cancel();
  below.on.loop.run_ready();
  CHECK(told_inside ==
        lines({"root task; asked to stop", "  gyre::tell_below" + at(below_line) + ": runs, or is about to"}));
}

TEST_CASE("children that have not begun are counted") {
  in_flight subject{tell_of_group()};

  CHECK(told_inside ==
        lines({"root task",                                                                                  //
               "  gyre::tell_of_group" + at(teller_group_line) + ": with_task_group, 2 tasks, 2 not begun",  //
               "    body: gyre::tell_before_children_begin" + at(teller_group_line - 4) + ": runs, or is about to"}));
}

TEST_CASE("branches that have not begun are counted") {
  scripted_executor on{{}, one_at_a_time};
  auto root = on.loop.start(wait_for_any());
  on.loop.turn(/*may_park=*/false);

  CHECK(dump_tasks(on.loop) ==
        lines({"root task",  //
               "  gyre::wait_for_any" + at(quick_race_line) + ": when_any, 2 tasks, 2 not begun"}));

  root.cancel();
  on.loop.run_ready();
}

TEST_CASE("who has what it waited for, and was not resumed yet, is about to run") {
  in_flight subject{sleep_on()};
  subject.on.script.advance(1h);
  subject.on.loop.turn(/*may_park=*/false);

  CHECK(dump_tasks(subject.on.loop) ==
        lines({"root task", "  gyre::sleep_on" + at(sleep_line) + ": runs, or is about to"}));
}

namespace {

constexpr int yielder_line = __LINE__ + 1;
task<> yield_once() { co_await this_task::yield(); }

// A channel has whoever never waits give way now and then: here in the midst of its items.
int taken_count = 0;
constexpr int taker_line = __LINE__ + 2;
task<> take_all(gyre::sync::channel<int>& items) {
  while (co_await items.receive()) ++taken_count;
}

foreign_task yield_elsewhere() {
  co_await this_task::yield();
  co_return 0;
}
constexpr int above_yielder_line = __LINE__ + 1;
task<> yield_below_foreign() { co_await yield_elsewhere(); }

}  // namespace

// They stand in a queue of their own, which is empty between two turns: so somebody asks who runs behind them.
TEST_CASE("who gives way until the next turn is about to run, and does not wait") {
  scripted_executor on;
  gyre::sync::channel<int> items{1000};
  for (int item = 0; item < 1000; ++item) static_cast<void>(items.try_send(item));
  items.close();
  taken_count = 0;
  auto yielder = on.loop.start(yield_once());
  auto taker = on.loop.start(take_all(items));
  auto below_foreign = on.loop.start(yield_below_foreign());
  auto teller = on.loop.start(tell_at_once());

  on.loop.turn(/*may_park=*/false);

  CHECK(!yielder.done());
  CHECK(taken_count > 0);
  CHECK(taken_count < 1000);
  CHECK(told_inside == lines({"root task", "  gyre::yield_once" + at(yielder_line) + ": runs, or is about to",  //
                              "root task", "  gyre::take_all" + at(taker_line) + ": runs, or is about to",      //
                              "root task", "  gyre::yield_below_foreign" + at(above_yielder_line),              //
                              "    a coroutine of another library: runs, or is about to",                       //
                              "root task", "  runs, or is about to"}));
  on.loop.run_ready();
}

// -------------------------------------------------------------------------------------------------------------- scopes

namespace {

constexpr int limited_line = __LINE__ + 1;
task<> limited() { co_await with_timeout(10s, receive()); }
constexpr int limited_operation_line = __LINE__ + 1;
task<> limited_operation() { co_await with_timeout(10s, ops::recv(some_socket, bytes)); }
constexpr int linked_line = __LINE__ + 1;
task<> linked_operation() { co_await with_timeout(500ms, ops::recv(some_socket, bytes)); }
constexpr int limited_sleep_line = __LINE__ + 1;
task<> limited_sleep() { co_await move_on_after(10s, sleep_for(1h)); }

constexpr int shield_line = __LINE__ + 1;
task<> shielded() { co_await shield(sync_file()); }
constexpr int scope_line = __LINE__ + 1;
task<> in_scope(cancel_scope&) { co_await shielded(); }
constexpr int opener_line = __LINE__ + 1;
task<> open_scope() { co_await with_cancel_scope(in_scope); }

constexpr int until_line = __LINE__ + 1;
task<> until(std::chrono::steady_clock::time_point when) { co_await with_deadline(when, receive()); }
constexpr int moving_on_at_line = __LINE__ + 1;
task<> move_on(std::chrono::steady_clock::time_point when) { co_await move_on_at(when, receive()); }
constexpr int limited_shield_line = __LINE__ + 1;
task<> limited_shield() { co_await shield(10s, sync_file()); }
constexpr int token_line = __LINE__ + 1;
task<> until_stopped(std::stop_token token) { co_await with_stop_token(std::move(token), receive()); }

constexpr int catcher_line = __LINE__ + 1;
task<> catch_stop() { co_await stopped_as_error(receive()); }
constexpr int result_line = __LINE__ + 1;
task<> take_result() { static_cast<void>(co_await as_result(receive())); }

}  // namespace

TEST_CASE("a deadline of a scope is told with the time that is left, and when it has passed by how much") {
  in_flight subject{limited(), scripted_ring::cancels::by_hand};

  CHECK(subject.told_after(4s) ==
        lines({"root task", "  gyre::limited" + at(limited_line) + ": with_timeout, 6.0 s left",
               "    gyre::receive" + at(receive_line) + ": recv on fd 1000123 for 4.0 s"}));

  subject.on.script.advance(8s);
  subject.on.loop.run_ready();
  CHECK(dump_tasks(subject.on.loop) ==
        lines({"root task",
               "  gyre::limited" + at(limited_line) +
                   ": with_timeout, 2.0 s overdue; asked to stop: its deadline has passed",
               "    gyre::receive" + at(receive_line) + ": recv on fd 1000123 for 12.0 s"}));
}

TEST_CASE("a deadline of a single operation is told, whoever keeps it") {
  in_flight by_executor{limited_operation()};
  CHECK(by_executor.told_after(4s) == lines({"root task", "  gyre::limited_operation" + at(limited_operation_line) +
                                                              ": recv on fd 1000123 for 4.0 s, 6.0 s left"}));

  in_flight by_kernel{linked_operation()};
  CHECK(by_kernel.told_after(200ms) == lines({"root task", "  gyre::linked_operation" + at(linked_line) +
                                                               ": recv on fd 1000123 for 0.2 s, 0.3 s left"}));
}

namespace {

// All that takes an operation and a deadline.
task<> with_all_limits() {
  const auto when = detail::time_point_of(executor::current().now()) + 15s;
  auto all = when_all(with_timeout(11s, ops::recv(some_socket, bytes)),             //
                      as_result(with_timeout(12s, ops::recv(some_socket, bytes))),  //
                      with_timeout(13s, ops::recv_all(some_socket, bytes)),         //
                      move_on_after(14s, ops::recv(some_socket, bytes)),            //
                      with_deadline(when, ops::recv(some_socket, bytes)),           //
                      move_on_at(when + 1s, ops::recv(some_socket, bytes)),         //
                      stopped_as_error(with_timeout(17s, ops::recv(some_socket, bytes))));
  co_await std::move(all);
}
constexpr int all_limits_line = __LINE__ - 2;

constexpr int timeouts_count = 12;  // more than there are lanes
task<> limit(int seconds) { co_await with_timeout(seconds * 1s, ops::fsync(some_file)); }
task<> start_limited(task_group& group) {
  for (int i = timeouts_count; i > 0; --i) group.start(limit(10 * i));
  for (int i = 1; i <= timeouts_count; ++i) group.start(limit(10 * i + 5));
  co_await sleep_on();
}
task<> many_limited() { co_await with_task_group(start_limited); }

task<> end_soon() { co_await move_on_after(10s, ops::recv(some_socket, bytes)); }
constexpr int after_limit_line = __LINE__ + 3;
task<> limited_then_not() {
  co_await end_soon();
  co_await ops::recv(some_socket, bytes);
}

}  // namespace

TEST_CASE("a deadline of a single operation is told, however it is written") {
  in_flight subject{with_all_limits()};

  const std::string told = subject.told_after(1s);

  CHECK(contains(told, at(all_limits_line) + ": when_all, 7 tasks\n"));
  CHECK(contains(told, "    branch 0: recv on fd 1000123 for 1.0 s, 10.0 s left\n"));
  CHECK(contains(told, "    branch 1: recv on fd 1000123 for 1.0 s, 11.0 s left\n"));
  CHECK(contains(told, "    branch 2: recv_all on fd 1000123 for 1.0 s, 12.0 s left\n"));
  CHECK(contains(told, "    branch 3: recv on fd 1000123 for 1.0 s, 13.0 s left\n"));
  CHECK(contains(told, "    branch 4: recv on fd 1000123 for 1.0 s, 14.0 s left\n"));
  CHECK(contains(told, "    branch 5: recv on fd 1000123 for 1.0 s, 15.0 s left\n"));
  CHECK(contains(told, "      recv on fd 1000123 for 1.0 s, 16.0 s left\n"));
}

namespace {

task<> limited_on_other_clocks() {
  using detail::clock_id;
  const auto in = [](std::chrono::nanoseconds time, clock_id clock) {
    return point_in_time{clock, executor::current().now_on(clock) + time.count()};
  };
  const auto limit = [&](std::chrono::nanoseconds time, clock_id clock) {
    return detail::clocked_limit{in(time, clock)};
  };
  co_await when_all(with_deadline(limit(11s, clock_id::boot), ops::recv(some_socket, bytes)),
                    with_deadline(limit(12s, clock_id::system), ops::recv(some_socket, bytes)),
                    with_deadline(limit(900ms, clock_id::boot), ops::recv(some_socket, bytes)),
                    sleep_until(in(14s, clock_id::system)), with_deadline(limit(15s, clock_id::boot), receive()),
                    sleep_until(point_in_time{clock_id::boot, INT64_MAX}));
}

}  // namespace

TEST_CASE("deadlines and sleeps on other clocks are told with the time that is left there") {
  in_flight subject{limited_on_other_clocks()};
  subject.on.script.suspend(500ms);

  const std::string told = subject.told_after(100ms);

  CHECK(contains(told, "    branch 0: recv on fd 1000123 for 0.1 s, 10.4 s left\n"));
  CHECK(contains(told, "    branch 1: recv on fd 1000123 for 0.1 s, 11.4 s left\n"));
  CHECK(contains(told, "    branch 2: recv on fd 1000123 for 0.1 s, 0.3 s left\n"));
  CHECK(contains(told, "sleep for 0.1 s, 13.4 s left\n"));
  CHECK(contains(told, ": with_deadline, 14.4 s left\n"));
  CHECK(contains(told, "sleep for 0.1 s\n"));  // one that never ends
}

TEST_CASE("each of many operations is told with its own deadline, wherever that stands in the timers") {
  in_flight subject{many_limited()};

  const std::string told = subject.told_after(1s);

  for (int i = 1; i <= timeouts_count; ++i) {
    CHECK(contains(told, "fsync on fd 1000456 for 1.0 s, " + std::to_string(10 * i - 1) + ".0 s left\n"));
    CHECK(contains(told, "fsync on fd 1000456 for 1.0 s, " + std::to_string(10 * i + 4) + ".0 s left\n"));
  }
}

TEST_CASE("an operation has no deadline left of another one that was there before it") {
  in_flight subject{limited_then_not()};

  subject.on.script.complete(subject.on.script.only(IORING_OP_RECV), 0);
  subject.on.loop.run_ready();

  CHECK(subject.told_after(1s) ==
        lines({"root task", "  gyre::limited_then_not" + at(after_limit_line) + ": recv on fd 1000123 for 1.0 s"}));
}

TEST_CASE("an operation that does not end at its deadline is told to be overdue") {
  in_flight by_executor{limited_operation(), scripted_ring::cancels::by_hand};
  by_executor.on.script.advance(12s);
  by_executor.on.loop.run_ready();
  CHECK(dump_tasks(by_executor.on.loop) ==
        lines({"root task", "  gyre::limited_operation" + at(limited_operation_line) +
                                ": recv on fd 1000123 for 12.0 s, its deadline has passed"}));

  in_flight by_kernel{linked_operation(), scripted_ring::cancels::by_hand};
  by_kernel.on.script.advance(2s);
  CHECK(dump_tasks(by_kernel.on.loop) == lines({"root task", "  gyre::linked_operation" + at(linked_line) +
                                                                 ": recv on fd 1000123 for 2.0 s, 1.5 s overdue"}));
}

TEST_CASE("scopes are told by the function that opens them, with the deadline that it gives") {
  const auto in_ten_seconds = [](scripted_executor& on) { return detail::time_point_of(on.loop.now()) + 10s; };
  const std::string below = "\n    gyre::receive" + at(receive_line) + ": recv on fd 1000123 for 4.0 s\n";
  scripted_executor on;
  std::stop_source source;
  auto with_point = on.loop.start(until(in_ten_seconds(on)));
  auto moving = on.loop.start(move_on(in_ten_seconds(on)));
  auto shielded = on.loop.start(limited_shield());
  auto token = on.loop.start(until_stopped(source.get_token()));
  on.loop.run_ready();
  on.script.advance(4s);

  const std::string told = dump_tasks(on.loop);

  CHECK(contains(told, "gyre::until" + at(until_line) + ": with_deadline, 6.0 s left" + below));
  CHECK(contains(told, "gyre::move_on" + at(moving_on_at_line) + ": move_on_at, 6.0 s left" + below));
  CHECK(contains(told, "gyre::limited_shield" + at(limited_shield_line) + ": shield, 6.0 s left\n"));
  CHECK(contains(told, "gyre::until_stopped" + at(token_line) + ": with_stop_token" + below));

  on.loop.root_scope().cancel();
  on.script.complete(on.script.only(IORING_OP_FSYNC), 0);
  on.loop.run_ready();
}

TEST_CASE("a stop that a token asked for is told at its scope, until that has ended") {
  std::stop_source source;
  in_flight subject{until_stopped(source.get_token()), scripted_ring::cancels::by_hand};

  source.request_stop();
  subject.on.loop.run_ready();

  CHECK(contains(dump_tasks(subject.on.loop), ": with_stop_token; asked to stop"));
}

TEST_CASE("what is put into a task by gyre has no line in gyre") {
  in_flight slept{limited_sleep()};
  CHECK(slept.told_after(1s) ==
        lines({"root task", "  gyre::limited_sleep" + at(limited_sleep_line) + ": move_on_after, 9.0 s left",
               "    sleep for 1.0 s, 3599.0 s left"}));

  in_flight took{take_result()};
  CHECK(took.told_after(1s) == lines({"root task", "  gyre::take_result" + at(result_line),
                                      "    gyre::receive" + at(receive_line) + ": recv on fd 1000123 for 1.0 s"}));
}

TEST_CASE("a stop is told where it began, with its reason, and at the shields that keep it away") {
  in_flight subject{open_scope()};
  CHECK(subject.told_after(1s) ==
        lines({"root task", "  gyre::open_scope" + at(opener_line) + ": with_cancel_scope",
               "    gyre::in_scope" + at(scope_line), "      gyre::shielded" + at(shield_line) + ": shield",
               "        gyre::sync_file" + at(sync_line) + ": fsync on fd 1000456 for 1.0 s"}));

  subject.root.cancel("a signal came");

  CHECK(dump_tasks(subject.on.loop) ==
        lines({"root task; asked to stop: a signal came",
               "  gyre::open_scope" + at(opener_line) + ": with_cancel_scope", "    gyre::in_scope" + at(scope_line),
               "      gyre::shielded" + at(shield_line) + ": shield; shielded from a stop: a signal came",
               "        gyre::sync_file" + at(sync_line) + ": fsync on fd 1000456 for 1.0 s"}));
  subject.on.script.complete(subject.on.script.only(IORING_OP_FSYNC), 0);
}

TEST_CASE("while tasks stop, those that have not ended are told, and those that are being unwound are about to run") {
  in_flight subject{with_group(), scripted_ring::cancels::by_hand};

  subject.root.cancel("enough");

  CHECK(dump_tasks(subject.on.loop) ==
        lines({"root task; asked to stop: enough",                                         //
               "  gyre::with_group" + at(group_line) + ": with_task_group, 2 tasks",       //
               "    body: gyre::open_group" + at(body_line),                               //
               "      gyre::sleep_on" + at(sleep_line) + ": runs, or is about to",         //
               "    gyre::receive" + at(receive_line) + ": recv on fd 1000123 for 0.0 s",  //
               "    gyre::sleep_below" + at(outer_line),                                   //
               "      gyre::sleep_on" + at(sleep_line) + ": runs, or is about to"}));

  subject.on.loop.run_ready();
  CHECK(dump_tasks(subject.on.loop) ==
        lines({"root task; asked to stop: enough", "  gyre::with_group" + at(group_line) + ": with_task_group, 1 task",
               "    gyre::receive" + at(receive_line) + ": recv on fd 1000123 for 0.0 s"}));
}

TEST_CASE("a stop of the executor's own scope is told at every root task") {
  in_flight subject{receive(), scripted_ring::cancels::by_hand};

  subject.on.loop.root_scope().cancel();

  CHECK(contains(dump_tasks(subject.on.loop), "root task; asked to stop\n"));
}

TEST_CASE("a task whose stop is an error stands below who awaits it") {
  in_flight subject{catch_stop()};

  CHECK(subject.told_after(1s) ==
        lines({"root task", "  gyre::catch_stop" + at(catcher_line) + ": a task, whose stop is an error",
               "    gyre::receive" + at(receive_line) + ": recv on fd 1000123 for 1.0 s"}));
}

// -------------------------------------------------------------------------------------------- streams, and other types

namespace {

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
  std::array<std::byte, 4> buffer{};
  co_return static_cast<int>(co_await ops::recv(some_socket, buffer));
}
foreign_task foreign_of_task() {
  co_await sleep_on();
  co_return 0;
}
constexpr int to_foreign_line = __LINE__ + 1;
task<> await_foreign() { co_await foreign_receive(); }
constexpr int and_back_line = __LINE__ + 1;
task<> there_and_back() { co_await foreign_of_task(); }

constexpr int connections_line = __LINE__ + 3;
task<> take_connections() {
  ops::accept_stream connections{some_socket};
  static_cast<void>(co_await connections.next());
}

constexpr int filter_line = __LINE__ + 3;
task<> read_derived() {
  auto items = take(filter(map(late_items(), [](int item) { return item; }), [](int) { return true; }), 3);
  static_cast<void>(co_await items.next());
}
constexpr int limited_stream_line = __LINE__ + 3;
task<> read_in_time() {
  auto items = late_items();
  static_cast<void>(co_await with_timeout(10s, items.next()));
}
constexpr int in_receiving_stream_line = __LINE__ + 3;
stream<int> received() {
  std::array<std::byte, 4> buffer{};
  co_await with_timeout(10s, ops::recv(some_socket, buffer));
  co_yield 1;
}
stream<int> one_at_once() { co_yield 1; }

constexpr int merged_line = __LINE__ + 1;
task<> read_merged(merged<int>& items) { static_cast<void>(co_await items.next()); }
task<> merge() { co_await with_merged(late_items(), received(), read_merged); }
task<> leave_items(merged<int>&) { co_await sleep_on(); }
task<> merge_in_vain() { co_await with_merged(one_at_once(), received(), leave_items); }

constexpr int tick_line = __LINE__ + 3;
task<> tick() {
  interval every_minute{1min};
  co_await every_minute.next();
}

constexpr int handle_line = __LINE__ + 3;
task<> await_child(task_group& group) {
  auto child = group.start_with_result(sleep_on());
  co_await std::move(child);
}
task<> with_handle() { co_await with_task_group(await_child); }

constexpr int room_line = __LINE__ + 3;
task<> wait_for_room(task_group& group) {
  group.start(sleep_on());
  co_await group.room();
}
task<> with_room() { co_await with_task_group({.max_tasks = 1}, wait_for_room); }

}  // namespace

TEST_CASE("a stream stands below who reads it") {
  in_flight subject{read_late()};

  CHECK(subject.told_after(1s) ==
        lines({"root task", "  gyre::read_late" + at(reader_line),
               "    gyre::late_items" + at(in_stream_line) + ": sleep for 1.0 s, 3599.0 s left"}));
}

TEST_CASE("of streams made of a stream the one is told that waits, with no line in gyre between") {
  in_flight subject{read_derived()};

  CHECK(subject.told_after(1s) ==
        lines({"root task", "  gyre::read_derived" + at(filter_line),
               "    gyre::late_items" + at(in_stream_line) + ": sleep for 1.0 s, 3599.0 s left"}));
}

TEST_CASE("a deadline of a stream's item is told, and one inside a stream") {
  in_flight outside{read_in_time()};
  CHECK(outside.told_after(1s) ==
        lines({"root task", "  gyre::read_in_time" + at(limited_stream_line) + ": with_timeout, 9.0 s left",
               "    gyre::late_items" + at(in_stream_line) + ": sleep for 1.0 s, 3599.0 s left"}));

  in_flight inside{[]() -> task<> {
    auto items = received();
    static_cast<void>(co_await items.next());
  }()};
  CHECK(contains(inside.told_after(1s),
                 "    gyre::received" + at(in_receiving_stream_line) + ": recv on fd 1000123 for 1.0 s, 9.0 s left\n"));
}

TEST_CASE("of merged streams the reader is told, and below the same group each source where it waits") {
  in_flight subject{merge()};

  const std::string told = subject.told_after(1s);

  CHECK(told.starts_with("root task\n  gyre::merge" + at(merged_line + 1) + "\n    gyre::with_merged at "));
  CHECK(told.ends_with(
      ": with_task_group, 2 tasks\n" +
      lines({"      body: gyre::read_merged" + at(merged_line) + ": merged streams for 1.0 s",
             "      gyre::late_items" + at(in_stream_line) + ": sleep for 1.0 s, 3599.0 s left",
             "      gyre::received" + at(in_receiving_stream_line) + ": recv on fd 1000123 for 1.0 s, 9.0 s left"})));
}

TEST_CASE("a source of merged streams whose item nobody takes is told as a wait for that") {
  in_flight subject{merge_in_vain()};

  CHECK(contains(subject.told_after(1s), ": with_task_group, 2 tasks\n      body: gyre::leave_items"));
  CHECK(contains(dump_tasks(subject.on.loop), "\n      merged streams for 1.0 s\n      gyre::received"));
}

TEST_CASE("an interval is told with the time to its next tick") {
  in_flight subject{tick()};

  CHECK(subject.told_after(20s) ==
        lines({"root task", "  gyre::tick" + at(tick_line) + ": interval for 20.0 s, 40.0 s left"}));
}

TEST_CASE("of a coroutine of another library it is told that there is one, since nobody knows where it is") {
  in_flight subject{await_foreign()};

  CHECK(subject.told_after(1s) == lines({"root task", "  gyre::await_foreign" + at(to_foreign_line),
                                         "    a coroutine of another library: recv on fd 1000123 for 1.0 s"}));
}

TEST_CASE("a task that a coroutine of another library awaits stands below it") {
  in_flight subject{there_and_back()};

  CHECK(subject.told_after(1s) ==
        lines({"root task", "  gyre::there_and_back" + at(and_back_line),
               "    a coroutine of another library: a task, whose stop is an error",
               "      gyre::sleep_on" + at(sleep_line) + ": sleep for 1.0 s, 3599.0 s left"}));
}

TEST_CASE("a wait for a connection, for a child's result and for room are told with their names") {
  in_flight accepting{take_connections()};
  CHECK(contains(accepting.told_after(1s), at(connections_line) + ": accept on fd 1000123 for 1.0 s\n"));

  in_flight awaiting{with_handle()};
  CHECK(contains(awaiting.told_after(1s), at(handle_line) + ": a task's result for 1.0 s\n"));

  in_flight crowded{with_room()};
  CHECK(contains(crowded.told_after(1s), at(room_line) + ": room in a task group for 1.0 s\n"));
}

// ------------------------------------------------------------------------------------------------------- many of them

TEST_CASE("of a long line of coroutines the ends are told, and how many are between them") {
  in_flight subject{go_deeper(100)};

  const std::string told = dump_tasks(subject.on.loop);

  CHECK(lines_in(told) == 1 + 4 + 1 + 8);
  CHECK(contains(told, "\n          ... 90 more, each awaiting the next\n            gyre::go_deeper at "));
  CHECK(contains(told, "gyre::sleep_on" + at(sleep_line) + ": sleep for 0.0 s"));
}

namespace {

task<> in_scopes(int levels_left) {
  if (levels_left == 0) co_await sleep_on();
  else co_await with_cancel_scope([levels_left](cancel_scope&) { return in_scopes(levels_left - 1); });
}

task<> start_many(task_group& group) {
  for (int i = 0; i < 10'000; ++i) group.start(receive());
  co_return;
}
task<> many() { co_await with_task_group(start_many); }

}  // namespace

TEST_CASE("scopes in scopes, as deep as memory allows, need no more stack and are told to the last") {
  in_flight subject{in_scopes(10'000)};

  const std::string told = dump_tasks(subject.on.loop);

  CHECK(lines_in(told) == 1 + 10'000 + 1 + 1);
  CHECK(contains(told, "gyre::sleep_on" + at(sleep_line) + ": sleep for 0.0 s"));
}

TEST_CASE("ten thousand tasks are told, each in a line") {
  in_flight subject{many()};

  const std::string told = dump_tasks(subject.on.loop);

  CHECK(contains(told, ": with_task_group, 10000 tasks\n"));
  CHECK(lines_in(told) == 2 + 10'000);
}

namespace {

std::string told_of_batch;
constexpr int in_batch_line = __LINE__ + 3;
task<> receive_and_tell() {
  std::array<std::byte, 4> buffer{};
  co_await ops::recv(some_socket, buffer);
  told_of_batch = dump_tasks();
}
task<> start_tellers(task_group& group) {
  group.start(receive_and_tell());
  group.start(receive());
  group.start(sync_file());
  co_return;
}

}  // namespace

// The completion queue is read in place: whoever is resumed from there runs while others stand behind it.
TEST_CASE("who asks while completions are taken is told of those behind it as they were") {
  in_flight subject{[]() -> task<> { co_await with_task_group(start_tellers); }()};
  const auto received = subject.on.script.in_flight(IORING_OP_RECV);

  subject.on.script.complete(received.front(), 4);
  subject.on.script.complete(received.back(), 4);
  subject.on.script.complete(subject.on.script.only(IORING_OP_FSYNC), -EIO);
  subject.on.loop.turn(/*may_park=*/false);

  CHECK(contains(told_of_batch, ": with_task_group, 3 tasks\n"));
  CHECK(contains(told_of_batch, "gyre::receive_and_tell" + at(in_batch_line) + ": runs, or is about to\n"));
  CHECK(contains(told_of_batch, "gyre::receive" + at(receive_line) + ": recv on fd 1000123 for 0.0 s\n"));
  CHECK(contains(told_of_batch, "gyre::sync_file" + at(sync_line) + ": fsync on fd 1000456 for 0.0 s\n"));
}

TEST_CASE("every executor's tasks are its own") {
  in_flight one{receive()};
  in_flight other{sleep_below()};

  CHECK(!contains(dump_tasks(one.on.loop), "sleep"));
  CHECK(!contains(dump_tasks(other.on.loop), "recv"));
}

// ---------------------------------------------------------------------------------------------------------- its names

namespace {

template <class T>
struct holder {
  static task<T> wait(std::vector<std::pair<T, T>>) {
    co_await sleep_on();
    co_return T{};
  }
};

task<> wait_in_member() { co_await holder<int>::wait({}); }
task<> wait_in_lambda() {
  co_await [](int) -> task<> { co_await sleep_on(); }(1);
}

}  // namespace

TEST_CASE("functions are told without return type, parameters, template arguments and nameless namespaces") {
  in_flight member{wait_in_member()};
  CHECK(contains(dump_tasks(member.on.loop), "    gyre::holder::wait at "));

  in_flight lambda{wait_in_lambda()};
  CHECK(contains(dump_tasks(lambda.on.loop), "    gyre::wait_in_lambda::lambda at "));
}

}  // namespace gyre
