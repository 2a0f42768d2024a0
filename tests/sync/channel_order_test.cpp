// SPDX-License-Identifier: MIT
// Small programs with channels, in every order of their steps: two executors that stand on one thread, a stop at every
// point, an end at every point. Whatever comes first, no item is lost, and none is there twice.
#include <gyre/runtime/as_result.hpp>
#include <gyre/runtime/deadline.hpp>
#include <gyre/runtime/executor.hpp>
#include <gyre/runtime/root_task.hpp>
#include <gyre/runtime/task.hpp>
#include <gyre/sync/channel.hpp>
#include <gyre/sync/select.hpp>

#include <doctest/doctest.h>
#include "../support/every_order.hpp"
#include "../support/scripted.hpp"

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <initializer_list>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

namespace gyre::sync {
namespace {

using namespace std::chrono_literals;
using test::scripted_executor;

// What became of the items of one program, each a number of its own.
struct ledger {
  std::vector<int> sent;       // the send said so
  std::vector<int> came_back;  // from a channel that was closed
  std::vector<int> stopped;    // the send was stopped
  std::vector<int> received;

  // When nothing goes on any more; `left` is what is still in channels.
  void check(const std::vector<int>& left) const {
    std::vector<int> arrived = received;
    arrived.insert(arrived.end(), left.begin(), left.end());
    std::ranges::sort(arrived);
    std::vector<int> gone = sent;
    std::ranges::sort(gone);
    CHECK(arrived == gone);  // each that was sent is there once, and none else
  }
};

class item_watch {
 public:
  item_watch(int item, ledger& kept) noexcept : item_{item}, kept_{kept} {}
  item_watch(const item_watch&) = delete;
  item_watch& operator=(const item_watch&) = delete;
  ~item_watch() {
    if (!ended_) kept_.stopped.push_back(item_);
  }
  void ended(std::vector<int>& as) {
    ended_ = true;
    as.push_back(item_);
  }

 private:
  int item_;
  ledger& kept_;
  bool ended_ = false;
};

task<> send(channel<int>& to, int item, ledger& kept) {
  item_watch watch{item, kept};
  watch.ended(co_await to.send(int{item}) ? kept.sent : kept.came_back);
}

task<> receive(channel<int>& from, ledger& kept) {
  if (const auto item = co_await from.receive()) kept.received.push_back(*item);
}

// Receives from the one or sends into the other.
task<> receive_or_send(channel<int>& from, channel<int>& to, int item, ledger& kept) {
  item_watch watch{item, kept};
  int offered = item;
  const auto done = co_await select(from.receive(), to.send_from(offered));
  if (done.index == 0) {
    watch.ended(kept.came_back);
    if (const auto& got = std::get<0>(done.value)) kept.received.push_back(*got);
  } else {
    watch.ended(std::get<1>(done.value) ? kept.sent : kept.came_back);
  }
}

task<> receive_either(channel<int>& one, channel<int>& other, ledger& kept) {
  auto done = co_await select(one.receive(), other.receive());
  const auto& got = done.index == 0 ? std::get<0>(done.value) : std::get<1>(done.value);
  if (got) kept.received.push_back(*got);
}

std::vector<int> left_in(channel<int>& drained) {
  std::vector<int> left;
  while (const auto item = drained.try_receive()) left.push_back(*item);
  return left;
}

using tasks = std::initializer_list<const root_task<void>*>;

std::ptrdiff_t waiting_count(tasks among) {
  return std::ranges::count_if(among, [](const auto* each) { return !each->done(); });
}

// When nothing goes on any more, and before anything is taken out: whoever waits still waits for somebody who is not
// there. Otherwise a wake was lost.
void check_who_waits(const channel<int>& at, tasks senders, tasks receivers) {
  const auto senders_count = waiting_count(senders);
  const auto receivers_count = waiting_count(receivers);
  if (at.closed()) CHECK(senders_count + receivers_count == 0);
  if (senders_count > 0) CHECK(at.size() == at.capacity());
  if (receivers_count > 0) {
    CHECK(at.size() == 0);
    CHECK(senders_count == 0);
  }
}

// An executor for each of three tasks, all on this thread.
class stage {
 public:
  executor& operator[](std::size_t index) noexcept { return on_[index].loop; }

  void add_turns(test::steps& next) {
    next.turns("turn 0", on_[0].loop);
    next.turns("turn 1", on_[1].loop);
    next.turns("turn 2", on_[2].loop);
  }

  // Of all but the first few: each stop more makes ten times as many orders.
  template <std::size_t Count>
  void add_stops(test::steps& next, std::array<root_task<void>, Count>& roots, std::size_t first = 0) {
    for (std::size_t index = first; index < Count; ++index)
      next.perhaps("stop " + std::to_string(index), [&roots, index] { roots[index].cancel(); });
  }

  /// Closes the channels, so that whoever still waits ends, and lets everybody end.
  template <class... Channels>
  void wind_up(Channels&... used) {
    (used.close(), ...);
    for (int round = 0; round < 4; ++round)
      for (auto& each : on_) each.loop.run_ready();
  }

 private:
  std::array<scripted_executor, 3> on_{scripted_executor{{}, test::one_at_a_time},
                                       scripted_executor{{}, test::one_at_a_time},
                                       scripted_executor{{}, test::one_at_a_time}};
};

constexpr std::size_t many = 300;  // orders: fewer, and a program does not do what it is there for

TEST_CASE("two senders and a receiver, and stops of all: no item is lost or doubled") {
  for (const std::size_t capacity : {0, 1}) {
    const std::size_t count = test::for_every_order([&](test::choices& choose) {
      CAPTURE(choose);
      stage on;
      channel<int> through{capacity};
      ledger kept;
      std::array roots{on[0].start(send(through, 1, kept)), on[1].start(send(through, 2, kept)),
                       on[2].start(receive(through, kept))};
      test::steps next;
      on.add_turns(next);
      on.add_stops(next, roots);
      next.take_all(choose);
      check_who_waits(through, {&roots[0], &roots[1]}, {&roots[2]});

      const auto left_over = left_in(through);
      on.wind_up(through);

      for (const auto& each : roots) CHECK(each.done());
      kept.check(left_over);
      CHECK(kept.sent.size() + kept.came_back.size() + kept.stopped.size() <= 2);  // less: stopped before they began
    });
    CHECK(count > many);
  }
}

TEST_CASE("a sender, two receivers, stops of these and a close(): no item is lost or doubled") {
  for (const std::size_t capacity : {0, 1}) {
    const std::size_t count = test::for_every_order([&](test::choices& choose) {
      CAPTURE(choose);
      stage on;
      channel<int> through{capacity};
      ledger kept;
      std::array roots{on[0].start(send(through, 1, kept)), on[1].start(receive(through, kept)),
                       on[2].start(receive(through, kept))};
      test::steps next;
      on.add_turns(next);
      on.add_stops(next, roots, 1);
      next.perhaps("close", [&] { through.close(); });
      next.take_all(choose);
      check_who_waits(through, {&roots[0]}, {&roots[1], &roots[2]});

      const auto left_over = left_in(through);
      on.wind_up(through);

      for (const auto& each : roots) CHECK(each.done());
      kept.check(left_over);
    });
    CHECK(count > many);
  }
}

TEST_CASE("senders and receivers of two on one executor, and one on another: no item is lost or doubled") {
  for (const std::size_t capacity : {0, 1}) {
    const std::size_t count = test::for_every_order([&](test::choices& choose) {
      CAPTURE(choose);
      stage on;
      channel<int> through{capacity};
      ledger kept;
      std::array roots{on[0].start(send(through, 1, kept)), on[0].start(receive(through, kept)),
                       on[1].start(send(through, 2, kept)), on[1].start(receive(through, kept))};
      test::steps next;
      on.add_turns(next);
      on.add_stops(next, roots);
      next.take_all(choose);
      check_who_waits(through, {&roots[0], &roots[2]}, {&roots[1], &roots[3]});

      const auto left_over = left_in(through);
      on.wind_up(through);

      for (const auto& each : roots) CHECK(each.done());
      kept.check(left_over);
    });
    CHECK(count > many);
  }
}

TEST_CASE("two selects that point at each other, stops of both and a close(): one item goes over, or none") {
  for (const std::size_t capacity : {0, 1}) {
    const std::size_t count = test::for_every_order([&](test::choices& choose) {
      CAPTURE(choose);
      stage on;
      channel<int> a{capacity};
      channel<int> b{capacity};
      ledger kept;
      std::array roots{on[0].start(receive_or_send(a, b, 1, kept)), on[1].start(receive_or_send(b, a, 2, kept))};
      test::steps next;
      on.add_turns(next);
      on.add_stops(next, roots);
      next.perhaps("close", [&] { a.close(); });
      next.perhaps("an item", [&] { kept.sent.push_back(b.try_send(3) ? 3 : 0); });
      next.take_all(choose);
      check_who_waits(a, {&roots[1]}, {&roots[0]});
      check_who_waits(b, {&roots[0]}, {&roots[1]});

      std::erase(kept.sent, 0);
      auto left_over = left_in(a);
      for (const int item : left_in(b)) left_over.push_back(item);
      on.wind_up(a, b);

      for (const auto& each : roots) CHECK(each.done());
      kept.check(left_over);
    });
    CHECK(count > many);
  }
}

TEST_CASE("a select over two channels with a sender each, stops and a close(): it takes one item at most") {
  for (const std::size_t capacity : {0, 1}) {
    const std::size_t count = test::for_every_order([&](test::choices& choose) {
      CAPTURE(choose);
      stage on;
      channel<int> a{capacity};
      channel<int> b{capacity};
      ledger kept;
      std::array roots{on[0].start(receive_either(a, b, kept)), on[1].start(send(a, 1, kept)),
                       on[2].start(send(b, 2, kept))};
      test::steps next;
      on.add_turns(next);
      next.perhaps("stop the select", [&] { roots[0].cancel(); });
      next.perhaps("stop a sender", [&] { roots[1].cancel(); });
      next.perhaps("close", [&] { a.close(); });
      next.take_all(choose);
      check_who_waits(a, {&roots[1]}, {&roots[0]});
      check_who_waits(b, {&roots[2]}, {&roots[0]});

      auto left_over = left_in(a);
      for (const int item : left_in(b)) left_over.push_back(item);
      on.wind_up(a, b);

      for (const auto& each : roots) CHECK(each.done());
      CHECK(kept.received.size() <= 1);
      kept.check(left_over);
    });
    CHECK(count > many);
  }
}

TEST_CASE("two selects over the same two channels, in either order of them, and an item for each") {
  const std::size_t count = test::for_every_order([&](test::choices& choose) {
    CAPTURE(choose);
    stage on;
    channel<int> a{1};
    channel<int> b{1};
    ledger kept;
    std::array roots{on[0].start(receive_either(a, b, kept)), on[1].start(receive_either(b, a, kept))};
    test::steps next;
    on.add_turns(next);
    on.add_stops(next, roots);
    next.once("an item into a", [&] { kept.sent.push_back(a.try_send(1) ? 1 : 0); });
    next.once("an item into b", [&] { kept.sent.push_back(b.try_send(2) ? 2 : 0); });
    next.take_all(choose);
    check_who_waits(a, {}, {&roots[0], &roots[1]});
    check_who_waits(b, {}, {&roots[0], &roots[1]});

    auto left_over = left_in(a);
    for (const int item : left_in(b)) left_over.push_back(item);
    on.wind_up(a, b);

    for (const auto& each : roots) CHECK(each.done());
    kept.check(left_over);
  });
  CHECK(count > many);
}

// A receive and a send_from() with a deadline each, which says how it ended.
task<> receive_in_time(channel<int>& from, ledger& kept, bool& timed_out) {
  const auto item = co_await as_result(with_timeout(10ms, from.receive()));
  timed_out = item.error() == std::errc::timed_out;
  if (item && *item) kept.received.push_back(**item);
}

task<> send_in_time(channel<int>& to, int item, ledger& kept) {
  int offered = item;
  const auto sent = co_await as_result(with_timeout(10ms, to.send_from(offered)));
  if (sent && *sent) kept.sent.push_back(item);
}

TEST_CASE("a sender and a receiver with a deadline each, and a stop of each: no item is lost or doubled") {
  for (const std::size_t capacity : {0, 1}) {
    const std::size_t count = test::for_every_order([&](test::choices& choose) {
      CAPTURE(choose);
      test::left_and_right on;
      channel<int> through{capacity};
      ledger kept;
      bool timed_out = false;
      std::array roots{on.left.loop.start(send_in_time(through, 1, kept)),
                       on.right.loop.start(receive_in_time(through, kept, timed_out))};
      test::steps next;
      on.add_turns(next);
      next.perhaps("the sender's deadline", [&] { on.left.script.advance(10ms); });
      next.perhaps("the receiver's deadline", [&] { on.right.script.advance(10ms); });
      next.perhaps("stop the sender", [&] { roots[0].cancel(); });
      next.perhaps("stop the receiver", [&] { roots[1].cancel(); });
      next.take_all(choose);
      check_who_waits(through, {&roots[0]}, {&roots[1]});

      const auto left_over = left_in(through);
      through.close();
      for (int round = 0; round < 3; ++round) {
        on.left.advance(10ms);
        on.right.advance(10ms);
      }

      for (const auto& each : roots) CHECK(each.done());
      if (timed_out) CHECK(kept.received.empty());
      kept.check(left_over);
    });
    CHECK(count > many);
  }
}

}  // namespace
}  // namespace gyre::sync
