// SPDX-License-Identifier: MIT
// The turn: what is lost when queues are full or the kernel refuses (nothing), what is counted, who runs when.
#include <gyre/runtime/as_result.hpp>
#include <gyre/runtime/deadline.hpp>
#include <gyre/runtime/executor.hpp>
#include <gyre/runtime/ops/accept_stream.hpp>
#include <gyre/runtime/ops/misc.hpp>
#include <gyre/runtime/ops/socket.hpp>
#include <gyre/runtime/root_task.hpp>
#include <gyre/runtime/task_group.hpp>
#include <gyre/runtime/this_task.hpp>
#include <gyre/runtime/timer.hpp>
#include <gyre/runtime/when_all.hpp>

#include "../support/outcome.hpp"
#include "../support/scripted.hpp"
#include "../support/socket_pair.hpp"

#include <doctest/doctest.h>
#include <liburing.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace gyre {
namespace {

using namespace std::chrono_literals;
using namespace test;

constexpr int some_socket = 1'000'123;
constexpr detail::clock_ns one_second = 1'000'000'000;

task<> nop_and_count(int& count) {
  co_await ops::nop();
  ++count;
}

task<> recv_and_count(int fd, int& count) {
  std::array<std::byte, 4> buffer;
  co_await ops::recv(fd, buffer);
  ++count;
}

std::vector<std::unique_ptr<root_task<void>>> start_nops(executor& loop, int how_many, int& count) {
  std::vector<std::unique_ptr<root_task<void>>> roots;
  for (int i = 0; i < how_many; ++i) roots.push_back(std::make_unique<root_task<void>>(loop, nop_and_count(count)));
  return roots;
}

task<> recv_from_two(int first_fd, int second_fd) {
  std::array<std::byte, 4> buffer;
  co_await ops::recv(first_fd, buffer);
  co_await ops::recv(second_fd, buffer);
}

// From one, and then from three others at once.
task<> recv_before_three(int first_fd, int second_fd, int last_fd) {
  std::array<std::array<std::byte, 4>, 3> buffers;
  co_await ops::recv(first_fd, buffers[0]);
  co_await when_all(ops::recv(second_fd, buffers[0]), ops::recv(second_fd + 1, buffers[1]),
                    ops::recv(last_fd, buffers[2]));
}

// At once: four from the first on, and then from another.
task<> recv_from_five(int first_fd, int last_fd) {
  std::array<std::array<std::byte, 4>, 5> buffers;
  co_await when_all(ops::recv(first_fd, buffers[0]), ops::recv(first_fd + 1, buffers[1]),
                    ops::recv(first_fd + 2, buffers[2]), ops::recv(first_fd + 3, buffers[3]),
                    ops::recv(last_fd, buffers[4]));
}

// Two ends of a connection for each of `count`, and somebody who waits for data at one of them.
class many_receivers {
 public:
  many_receivers(executor& loop, std::size_t count) {
    for (std::size_t i = 0; i < count; ++i) {
      const auto& pair = pairs_.emplace_back();
      roots_.push_back(std::make_unique<root_task<void>>(loop, recv_and_count(pair.here.get(), received_)));
    }
  }

  void send_to_all() {
    for (const auto& each : pairs_) REQUIRE(::send(each.there.get(), "data", 4, 0) == 4);
  }

  bool all_done() const {
    return std::all_of(roots_.begin(), roots_.end(), [](const auto& root) { return root->done(); });
  }
  std::size_t stopped_count() const {
    const auto stopped = [](const auto& root) { return root->stopped(); };
    return static_cast<std::size_t>(std::count_if(roots_.begin(), roots_.end(), stopped));
  }
  int received_count() const { return received_; }

  // How many of the sockets still have just what was sent: all the bytes, and no more.
  std::size_t unread_count() const {
    return static_cast<std::size_t>(std::count_if(pairs_.begin(), pairs_.end(), [](const socket_pair& each) {
      std::array<char, 8> left{};
      const auto count = ::recv(each.here.get(), left.data(), left.size(), MSG_DONTWAIT);
      return count == 4 && std::string_view{left.data(), 4} == "data";
    }));
  }

 private:
  std::vector<socket_pair> pairs_;
  std::vector<std::unique_ptr<root_task<void>>> roots_;
  int received_ = 0;
};

}  // namespace

// ------------------------------------------------------------------------------------------------------ full queues

TEST_CASE("a thousand operations go through a submission queue of four, in the order in which they were awaited") {
  constexpr int count = 1000;
  scripted_executor on{{.sq_entries = 4}};
  int done_count = 0;
  const auto roots = start_nops(on.loop, count, done_count);

  on.loop.run_ready();

  const auto in_flight = on.script.in_flight(IORING_OP_NOP);
  REQUIRE(in_flight.size() == count);
  for (const auto& each : in_flight) on.script.complete(each, 0);
  on.loop.run_ready();
  CHECK(done_count == count);
  CHECK(on.loop.statistics().backlogged > 0);
  CHECK(on.loop.statistics().sqes == count);
  CHECK(on.loop.in_kernel_count() == 0);
}

TEST_CASE("on the kernel, a thousand operations go through the smallest of queues") {
  for (const unsigned entries : {1u, 2u, 4u}) {
    CAPTURE(entries);
    executor loop{{.sq_entries = entries, .cq_entries = 8}};
    int done_count = 0;
    const auto roots = start_nops(loop, 1000, done_count);

    loop.run_ready();

    CHECK(done_count == 1000);
    CHECK(loop.in_kernel_count() == 0);
  }
}

TEST_CASE("a submission that the kernel refuses, wholly or in part, is tried again") {
  for (const int error : {EBUSY, EAGAIN, ENOMEM}) {
    for (unsigned taken = 0; taken <= 4; ++taken) {
      CAPTURE(error);
      CAPTURE(taken);
      scripted_executor on{{.sq_entries = 4}};
      on.script.answer = [](const auto&) { return 0; };
      int done_count = 0;
      for (int i = 0; i < 10; ++i) on.script.refuse(error, taken);
      const auto roots = start_nops(on.loop, 50, done_count);

      on.loop.run_ready();

      CHECK(done_count == 50);
      CHECK(on.loop.statistics().refusals == 10);
      CHECK(on.loop.statistics().sqes == 50);
    }
  }
}

TEST_CASE(
    "operations that wait for a place come before those that begin later, also where the kernel takes few at a time") {
  constexpr int first_socket = some_socket;
  constexpr std::size_t how_many = 5;
  scripted_executor on{{.sq_entries = 2}};
  std::array<int, how_many> taken_counts{};
  std::vector<std::unique_ptr<root_task<void>>> roots;
  const auto recv_for_ever = [](int fd) -> task<> {
    std::array<std::byte, 4> buffer;
    for (;;) co_await ops::recv(fd, buffer);
  };
  for (std::size_t i = 0; i < how_many; ++i)
    roots.push_back(std::make_unique<root_task<void>>(on.loop, recv_for_ever(first_socket + int(i))));
  on.script.answer = [&](const detail::scripted_ring::request& taken) -> std::optional<std::int32_t> {
    if (taken.opcode != IORING_OP_RECV) return std::nullopt;
    ++taken_counts[static_cast<std::size_t>(taken.fd - first_socket)];
    return 4;
  };

  for (int i = 0; i < 20; ++i) {
    on.script.refuse(EAGAIN, /*taken_count=*/1);
    on.loop.turn(/*may_park=*/false);
  }

  for (const int taken_count : taken_counts) CHECK(taken_count == 4);
  on.script.answer = nullptr;
  for (const auto& each : roots) each->cancel();
  on.loop.run_ready();
}

// Where requests stand in the order in which the kernel has taken them: a receive from one socket before another's.
void check_taken_in_order(const scripted_executor& on, int first_fd, int second_fd) {
  std::vector<int> taken;
  for (const auto& each : on.script.in_flight(IORING_OP_RECV))
    if (each.fd == first_fd || each.fd == second_fd) taken.push_back(each.fd);
  REQUIRE(taken.size() == 2);
  CHECK(taken.front() == first_fd);
}

TEST_CASE("who waits for a place is not overtaken where a cancel has to wait until completions are taken") {
  constexpr int behind_the_queue = some_socket + 100;
  constexpr int later = some_socket + 101;
  constexpr std::size_t ready_count = 14;  // more than half of the queue, when the first four were taken
  scripted_executor on{{.sq_entries = 2, .cq_entries = 16}, {.turn_budget = 4}};
  int count = 0;
  std::vector<std::unique_ptr<root_task<void>>> roots;
  const auto start = [&](task<> root) { roots.push_back(std::make_unique<root_task<void>>(on.loop, std::move(root))); };
  start(recv_before_three(some_socket, some_socket + 50, behind_the_queue));
  for (int i = 1; i < 4; ++i) start(recv_and_count(some_socket + i, count));
  start(recv_from_two(some_socket + 4, later));
  for (int i = 5; i <= int{ready_count}; ++i) start(recv_and_count(some_socket + i, count));
  root_task<void> victim{on.loop, recv_and_count(some_socket + 60, count)};
  on.loop.run_ready();
  const auto in_flight = on.script.in_flight(IORING_OP_RECV);

  for (std::size_t i = 0; i < ready_count; ++i) on.script.complete(in_flight[i], 4);
  bool has_left_work = false;
  on.script.after_enter = [&] {
    if (!std::exchange(has_left_work, true)) on.script.complete_on_enter(in_flight[ready_count], 4);
  };
  victim.cancel();
  on.loop.run_ready();

  check_taken_in_order(on, behind_the_queue, later);
  on.loop.root_scope().cancel();
  on.loop.run_ready();
}

TEST_CASE("who waits for a place is not overtaken behind a stream that takes one after a refusal") {
  constexpr int listener = some_socket + 90;
  constexpr int behind_the_queue = some_socket + 100;
  constexpr int later = some_socket + 101;
  scripted_executor on{{.sq_entries = 4}};
  ops::accept_stream incoming{listener};
  const auto accept_all = [](ops::accept_stream& from) -> task<> {
    for (;;) (void)co_await as_result(from.next());
  };
  root_task<void> accepting{on.loop, accept_all(incoming)};
  root_task<void> goes_on{on.loop, recv_from_two(some_socket, later)};
  on.loop.run_ready();
  const auto receiving = on.script.only(IORING_OP_RECV);
  const auto accepted = on.script.only(IORING_OP_ACCEPT);

  root_task<void> fills_queue{on.loop, recv_from_five(some_socket + 70, behind_the_queue)};
  on.script.refuse(EAGAIN, /*taken_count=*/3);
  on.loop.turn(/*may_park=*/false);
  on.script.complete(accepted, -ECONNABORTED);  // the stream is armed anew, with one of the free places
  on.script.complete(receiving, 4);
  on.loop.run_ready();

  check_taken_in_order(on, behind_the_queue, later);
  on.loop.root_scope().cancel();
  on.loop.run_ready();
}

TEST_CASE("an executor does not sleep on entries that the kernel has refused") {
  for (const auto park : {parking::eventfd, parking::ring_wait}) {
    scripted_executor on{{}, {.park = park}};
    on.script.answer = [](const auto&) { return 0; };
    int done_count = 0;
    on.script.refuse(EAGAIN);
    on.script.refuse(EBUSY);
    const auto roots = start_nops(on.loop, 1, done_count);

    while (!roots.front()->done()) on.loop.turn(/*may_park=*/true);

    CHECK(done_count == 1);
    CHECK(on.script.sleeps_count() == 0);
  }
}

TEST_CASE("an executor whose queue is full, and is refused, does not sleep over a timer") {
  for (const auto park : {parking::eventfd, parking::ring_wait}) {
    scripted_executor on{{.sq_entries = 4}, {.park = park, .timer_slack = 0ns}};
    int received = 0;
    std::vector<std::unique_ptr<root_task<void>>> receivers;
    for (int i = 0; i < 8; ++i)
      receivers.push_back(std::make_unique<root_task<void>>(on.loop, recv_and_count(some_socket, received)));
    auto short_one = on.loop.start([]() -> task<> { co_await sleep_for(1s); }());
    on.script.refuse(EBUSY);
    on.script.refuse(EAGAIN, 2);
    const auto begin = on.script.now();
    while (!short_one.done()) on.loop.turn(/*may_park=*/true);

    CHECK(on.script.now() - begin == one_second);
    CHECK(on.script.in_flight(IORING_OP_RECV).size() == 8);
    on.loop.root_scope().cancel();
    on.loop.run_ready();
  }
}

TEST_CASE("completions that overflow their queue are all delivered, in their order") {
  constexpr int count = 100;
  scripted_executor on{{.cq_entries = 8}};
  int done_count = 0;
  const auto roots = start_nops(on.loop, count, done_count);
  on.loop.run_ready();

  for (const auto& each : on.script.in_flight(IORING_OP_NOP)) on.script.complete(each, 0);
  on.loop.run_ready();

  CHECK(done_count == count);
  CHECK(on.loop.statistics().overflows > 0);
}

TEST_CASE("an executor does not sleep on completions that overflowed") {
  for (const auto park : {parking::eventfd, parking::ring_wait}) {
    scripted_executor on{{.cq_entries = 8}, {.park = park}};
    int done_count = 0;
    const auto roots = start_nops(on.loop, 100, done_count);
    on.script.on_sleep = [&] {
      for (const auto& each : on.script.in_flight(IORING_OP_NOP)) on.script.complete(each, 0);
    };

    while (!roots.back()->done()) on.loop.turn(/*may_park=*/true);

    CHECK(done_count == 100);
    CHECK(on.script.sleeps_count() == 1);
  }
}

TEST_CASE("on the kernel, 500 receivers behind a completion queue of eight all get their data") {
  executor loop{{.sq_entries = 4, .cq_entries = 8}};
  many_receivers receivers{loop, 500};
  loop.run_ready();

  receivers.send_to_all();
  while (!receivers.all_done()) loop.turn(/*may_park=*/true);

  CHECK(receivers.received_count() == 500);
  CHECK(loop.statistics().overflows > 0);
  CHECK(loop.in_kernel_count() == 0);
}

TEST_CASE("on the kernel, 500 in flight are all stopped through a queue of four") {
  executor loop{{.sq_entries = 4, .cq_entries = 8}};
  many_receivers receivers{loop, 500};
  loop.run_ready();

  loop.root_scope().cancel();
  while (!receivers.all_done()) loop.turn(/*may_park=*/true);

  CHECK(receivers.stopped_count() == 500);
  CHECK(loop.statistics().cancels == 500);
  CHECK(loop.in_kernel_count() == 0);
}

TEST_CASE("on the kernel, of data and cancels that cross nothing is lost: each is received, or still in its socket") {
  executor loop{{.sq_entries = 4, .cq_entries = 8}};
  many_receivers receivers{loop, 500};
  loop.run_ready();

  receivers.send_to_all();
  loop.root_scope().cancel();
  while (!receivers.all_done()) loop.turn(/*may_park=*/true);

  CHECK(receivers.stopped_count() + static_cast<std::size_t>(receivers.received_count()) == 500);
  CHECK(receivers.unread_count() == receivers.stopped_count());
}

TEST_CASE("work that the kernel announces, but shows only to who enters, is fetched") {
  scripted_executor on;
  int done_count = 0;
  const auto roots = start_nops(on.loop, 1, done_count);
  on.loop.run_ready();

  on.script.complete_on_enter(on.script.only(IORING_OP_NOP), 0);
  on.loop.run_ready();

  CHECK(done_count == 1);
}

// -------------------------------------------------------------------------------------------------------- the turn

TEST_CASE("a turn with nothing to tell the kernel makes no system call") {
  scripted_executor on;
  int done_count = 0;
  const auto roots = start_nops(on.loop, 1, done_count);
  on.loop.run_ready();
  const auto enters = on.script.enters_count();

  for (int i = 0; i < 100; ++i) on.loop.turn(/*may_park=*/false);

  CHECK(on.script.enters_count() == enters);
  on.script.complete(on.script.only(IORING_OP_NOP), 0);
  on.loop.run_ready();
}

TEST_CASE("everything that became ready in a turn is submitted by one system call") {
  scripted_executor on;
  int done_count = 0;
  const auto roots = start_nops(on.loop, 50, done_count);

  on.loop.turn(/*may_park=*/false);

  CHECK(on.script.enters_count() == 1);
  CHECK(on.script.in_flight().size() == 50);
  for (const auto& each : on.script.in_flight(IORING_OP_NOP)) on.script.complete(each, 0);
  on.loop.run_ready();
}

TEST_CASE("a turn resumes at most its budget, and the rest keeps its place") {
  scripted_executor on{{}, {.turn_budget = 3}};
  std::vector<int> order;
  const auto note = [](int name, std::vector<int>& to) -> task<> {
    to.push_back(name);
    co_return;
  };
  std::vector<std::unique_ptr<root_task<void>>> roots;
  for (int i = 0; i < 7; ++i) roots.push_back(std::make_unique<root_task<void>>(on.loop, note(i, order)));

  CHECK(on.loop.turn(/*may_park=*/false));
  CHECK(order.size() == 3);
  roots.push_back(std::make_unique<root_task<void>>(on.loop, note(7, order)));
  CHECK(on.loop.turn(/*may_park=*/false));
  CHECK(order.size() == 6);
  CHECK(!on.loop.turn(/*may_park=*/false));

  CHECK(order == std::vector{0, 1, 2, 3, 4, 5, 6, 7});
}

TEST_CASE("what a coroutine makes ready runs behind it, in the same turn as far as the budget goes") {
  for (const unsigned budget : {1U, 64U}) {
    scripted_executor on{{}, {.turn_budget = budget}};
    std::vector<std::string> order;
    auto root = on.loop.start([](std::vector<std::string>& to) -> task<> {
      co_await with_task_group([&](task_group& group) -> task<> {
        group.start([](std::vector<std::string>& noted) -> task<> {
          noted.push_back("child");
          co_return;
        }(to));
        to.push_back("body");
        co_return;
      });
    }(order));

    on.loop.turn(/*may_park=*/false);
    CHECK(order.size() == std::min(budget, 2U));
    on.loop.run_ready();
    CHECK(order == std::vector<std::string>{"body", "child"});
  }
}

TEST_CASE("who yields goes on in the next turn, when others that are ready have run and the kernel was looked at") {
  scripted_executor on;
  std::vector<std::string> order;
  const auto yielding = [](std::vector<std::string>& to) -> task<> {
    to.push_back("yields");
    co_await this_task::yield();
    to.push_back("goes on");
    co_await this_task::yield();
    to.push_back("is back");
  };
  const auto receiving = [](std::vector<std::string>& to) -> task<> {
    std::array<std::byte, 4> buffer;
    static_cast<void>(co_await ops::recv(some_socket, buffer));
    to.push_back("receives");
  };
  auto first = on.loop.start(receiving(order));
  on.loop.run_ready();
  auto second = on.loop.start(yielding(order));

  on.loop.turn(/*may_park=*/false);
  CHECK(order == std::vector<std::string>{"yields"});
  on.script.complete(on.script.only(IORING_OP_RECV), 4);
  on.loop.turn(/*may_park=*/false);
  CHECK(order == std::vector<std::string>{"yields", "goes on", "receives"});
  on.loop.turn(/*may_park=*/false);
  CHECK(order.back() == "is back");
}

namespace {

using names = std::vector<std::string>;

// What completes in each way that there is, each with a name.
struct all_ways {
  task<> receive(std::string name) {
    std::array<std::byte, 4> buffer;
    const auto count = co_await as_result(ops::recv(some_socket, buffer));
    order.push_back(count ? name : name + " failed");
    if (name == starter) started.emplace(on.loop, note("child"));
  }
  task<> note(std::string name) {
    order.push_back(name);
    co_return;
  }
  task<> accept_all() {
    ops::accept_stream incoming{some_socket};
    while (co_await incoming.next()) order.push_back("accepted");
    order.push_back("end");
  }
  void start_all() {
    for (const char* const name : {"first", "second", "third"})
      roots.push_back(std::make_unique<root_task<void>>(on.loop, receive(name)));
    roots.push_back(std::make_unique<root_task<void>>(on.loop, accept_all()));
    on.loop.run_ready();
  }
  void receives(std::size_t which, int res) { on.script.complete(received.at(which), res); }
  void accepts() { on.script.complete(on.script.only(IORING_OP_ACCEPT), ::dup(STDERR_FILENO), IORING_CQE_F_MORE); }

  scripted_executor on;
  std::string starter{};
  names order{};
  std::optional<root_task<void>> started{};
  std::vector<std::unique_ptr<root_task<void>>> roots{};
  std::vector<detail::scripted_ring::request> received{};
};

}  // namespace

TEST_CASE("a stream, a failure and a success are resumed in the order of their completions, and in the same turn") {
  all_ways all;
  all.start_all();
  all.received = all.on.script.in_flight(IORING_OP_RECV);
  const auto before = all.on.loop.statistics().resumes;
  all.accepts();
  all.receives(1, -ECONNRESET);
  all.receives(0, 4);
  all.accepts();
  all.receives(2, 4);

  all.on.loop.turn(/*may_park=*/false);

  CHECK(all.order == names{"accepted", "second failed", "first", "accepted", "third"});
  CHECK(all.on.loop.statistics().resumes - before == 5);
  all.on.script.complete(all.on.script.only(IORING_OP_ACCEPT), -EINVAL);  // it was shut down
  all.on.loop.run_ready();
  CHECK(all.order.back() == "end");
}

TEST_CASE("what a completion's coroutine makes ready comes before the stream whose completion lies behind it") {
  all_ways all;
  all.starter = "first";
  all.start_all();
  all.received = all.on.script.in_flight(IORING_OP_RECV);
  all.receives(0, 4);
  all.receives(1, 4);
  all.accepts();
  all.receives(2, 4);

  all.on.loop.turn(/*may_park=*/false);

  CHECK(all.order == names{"first", "second", "child", "accepted", "third"});
  all.on.script.complete(all.on.script.only(IORING_OP_ACCEPT), -EINVAL);
  all.on.loop.run_ready();
}

TEST_CASE("a coroutine that is always ready does not keep others from running") {
  executor loop;
  bool stop = false;
  auto busy = loop.start([](const bool& ends) -> task<> {
    while (!ends) co_await sleep_for(0ns);
  }(stop));

  loop.run([&]() -> task<> {
    for (int i = 0; i < 10; ++i) co_await ops::nop();
    stop = true;
  });
  loop.run_ready();

  CHECK(busy.done());
}

TEST_CASE("an executor counts what it did") {
  scripted_executor on;
  int done_count = 0;
  const auto roots = start_nops(on.loop, 5, done_count);
  on.loop.turn(/*may_park=*/false);
  for (const auto& each : on.script.in_flight(IORING_OP_NOP)) on.script.complete(each, 0);
  on.loop.turn(/*may_park=*/false);
  on.loop.turn(/*may_park=*/false);

  const auto counted = on.loop.statistics();

  CHECK(counted.turns == 3);
  CHECK(counted.enters == 1);
  CHECK(counted.sqes == 5);
  CHECK(counted.cqes == 5);
  CHECK(counted.resumes == 10);
  CHECK(counted.cancels == 0);
  CHECK(counted.parks == 0);
  CHECK(counted.overflows == 0);
  CHECK(counted.refusals == 0);
}

TEST_CASE("executors can follow one another, and nest in time, on one thread") {
  int done_count = 0;
  for (int i = 0; i < 10; ++i) {
    executor outer;
    executor inner;
    outer.run([&]() -> task<> { co_await ops::nop(); });
    inner.run([&]() -> task<> { co_await ops::nop(); });
    outer.run([&]() -> task<> { co_await nop_and_count(done_count); });
  }
  CHECK(done_count == 10);
}

TEST_CASE("two executors take turns on one thread") {
  executor first;
  executor second;
  int done_count = 0;
  auto one = first.start(nop_and_count(done_count));
  auto other = second.start(nop_and_count(done_count));

  while (!one.done() || !other.done()) {
    first.turn(/*may_park=*/false);
    second.turn(/*may_park=*/false);
  }

  CHECK(done_count == 2);
}

namespace {

struct cause_of_a_resume {
  const char* name;
  task<> (*wait)(bool& resumed);
  void (*cause)(scripted_executor& on, bool& resumed);  // while the executor sleeps
};

task<> receive_and_stay(bool& resumed) {
  std::array<std::byte, 4> buffer;
  co_await ops::recv(some_socket, buffer);
  resumed = true;
  co_await sleep_for(1h);
}

task<> accept_and_stay(bool& resumed) {
  ops::accept_stream incoming{some_socket};
  static_cast<void>(co_await as_result(incoming.next()));
  resumed = true;
  co_await sleep_for(1h);
}

task<> sleep_and_stay(bool& resumed) {
  co_await sleep_for(1s);
  resumed = true;
  co_await sleep_for(1h);
}

task<> stay(bool&) { co_await sleep_for(1h); }

constexpr std::array causes_of_a_resume{
    cause_of_a_resume{"a completion", receive_and_stay,
                      [](scripted_executor& on, bool&) { on.script.deliver(on.script.only(IORING_OP_RECV), "data"); }},
    cause_of_a_resume{"a stream's completion", accept_and_stay,
                      [](scripted_executor& on, bool&) {
                        on.script.complete(on.script.only(IORING_OP_ACCEPT), -ECONNABORTED, IORING_CQE_F_MORE);
                      }},
    cause_of_a_resume{"a timer", sleep_and_stay,
                      [](scripted_executor& on, bool&) { on.script.advance_to_next_timeout(); }},
    cause_of_a_resume{"a post", stay,
                      [](scripted_executor& on, bool& resumed) { on.loop.post([&resumed] { resumed = true; }); }},
};

}  // namespace

TEST_CASE("a turn that has resumed somebody does not sleep: who turns until something was done goes on when it was") {
  for (const auto park : {parking::eventfd, parking::ring_wait}) {
    for (const auto& each : causes_of_a_resume) {
      CAPTURE(each.name);
      scripted_executor on{{}, {.park = park}};
      bool resumed = false;
      int sleeps_count = 0;
      auto root = on.loop.start(each.wait(resumed));
      on.script.on_sleep = [&] {
        REQUIRE(++sleeps_count == 1);
        each.cause(on, resumed);
      };

      while (!resumed) on.loop.turn(/*may_park=*/true);

      CHECK(sleeps_count == 1);
      root.cancel();
      on.loop.run_ready();
    }
  }
}

TEST_CASE("an executor is made, and destroyed, without being run") {
  const std::size_t open_before = open_descriptors_count();
  for (const auto park : {parking::eventfd, parking::ring_wait}) {
    const executor never_run{{.park = park}};
  }
  CHECK(open_descriptors_count() == open_before);
}

TEST_CASE("an executor that slept in its ring gives its poll back to the kernel before it goes") {
  scripted_executor on{{}, {.park = parking::ring_wait}};
  on.script.on_sleep = [&] { on.loop.post([] {}); };
  on.loop.turn(/*may_park=*/true);
  on.loop.run_ready();
  CHECK(on.script.in_flight(IORING_OP_POLL_ADD).size() == 1);
}  // the scripted ring asserts that nothing is in flight when it goes

TEST_CASE("an executor cancels what outlives it, also when the kernel refuses that at first") {
  ops::accept_stream incoming(some_socket);
  scripted_executor on{{.sq_entries = 2}, {.park = parking::ring_wait}};
  on.script.on_sleep = [&] { on.loop.post([] {}); };
  auto reader = on.loop.start(
      [](ops::accept_stream& from) -> task<> { static_cast<void>(co_await with_timeout(1h, from.next())); }(incoming));
  for (int i = 0; i < 4; ++i) on.loop.turn(/*may_park=*/true);
  reader.cancel();
  on.loop.run_ready();

  // What it submits for itself fills the queue.
  REQUIRE(on.script.in_flight().size() == 2);
  on.script.on_sleep = nullptr;
  on.script.refuse(EBUSY);
}  // a sleep for ever, or a ring that goes with something in flight, would stop the program here

}  // namespace gyre
