// SPDX-License-Identifier: MIT
// A channel on one executor and on two that stand on one thread, step by step: who waits, who is served, what an end, a
// stop and an exception leave behind. Every order of those is channel_order_test's; threads are channel_threads_test's.
#include <gyre/runtime/as_result.hpp>
#include <gyre/runtime/deadline.hpp>
#include <gyre/runtime/diagnosis.hpp>
#include <gyre/runtime/scope.hpp>
#include <gyre/runtime/stream_ops.hpp>
#include <gyre/runtime/task_group.hpp>
#include <gyre/runtime/this_task.hpp>
#include <gyre/runtime/when_any.hpp>
#include <gyre/sync/channel.hpp>

#include <doctest/doctest.h>
#include "../support/foreign_task.hpp"
#include "../support/outcome.hpp"
#include "../support/scripted.hpp"

#include <chrono>
#include <cstddef>
#include <list>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

namespace gyre::sync {
namespace {

using namespace std::chrono_literals;
using test::ended;
using test::outcome;
using test::scripted_executor;
using numbers = std::vector<int>;

// ---------------------------------------------------------------------------------------------- who sends and receives

task<> send_one(channel<int>& to, int item, outcome& noted) {
  const test::stop_watch watch{noted};
  auto sent = co_await to.send(int{item});
  noted.how = sent ? ended::with_value : ended::with_error;
  if (!sent) CHECK(std::move(sent).take_back() == item);
}

task<> receive_one(channel<int>& from, numbers& into, outcome& noted) {
  const test::stop_watch watch{noted};
  const auto item = co_await from.receive();
  noted.how = item ? ended::with_value : ended::with_error;
  if (item) into.push_back(*item);
}

task<> receive_all(channel<int>& from, numbers& into) {
  while (const auto item = co_await from.receive()) into.push_back(*item);
}

// ------------------------------------------------------------------------------------------------------ success

TEST_CASE("what fits is sent and received without a wait, first in, first out") {
  scripted_executor on;
  channel<int> through{2};
  numbers got;

  auto both = on.loop.start([](channel<int>& used, numbers& into) -> task<> {
    for (const int item : {1, 2}) CHECK(static_cast<bool>(co_await used.send(int{item})));
    into.push_back(*co_await used.receive());
    CHECK(static_cast<bool>(co_await used.send(3)));
    into.push_back(*co_await used.receive());
    into.push_back(*co_await used.receive());
  }(through, got));
  on.loop.turn(/*may_park=*/false);

  CHECK(both.done());
  CHECK(got == numbers{1, 2, 3});
  CHECK(through.size() == 0);
  CHECK(through.capacity() == 2);
}

TEST_CASE("who receives from an empty channel waits for the next item, in the order of coming") {
  scripted_executor on;
  channel<int> through{4};
  numbers got;
  outcome first, second;
  auto one = on.loop.start(receive_one(through, got, first));
  auto other = on.loop.start(receive_one(through, got, second));
  on.loop.run_ready();
  CHECK(!one.done());

  CHECK(through.try_send(1));
  CHECK(!one.done());  // nobody runs inside the call
  on.loop.run_ready();
  CHECK(first.how == ended::with_value);
  CHECK(second.how == ended::not_yet);

  CHECK(through.try_send(2));
  on.loop.run_ready();
  CHECK(got == numbers{1, 2});
  CHECK(through.size() == 0);
}

TEST_CASE("who sends into a full channel waits, and is served before who comes later") {
  scripted_executor on;
  channel<int> through{1};
  CHECK(through.try_send(1));
  outcome first, second;
  auto one = on.loop.start(send_one(through, 2, first));
  auto other = on.loop.start(send_one(through, 3, second));
  on.loop.run_ready();
  CHECK(first.how == ended::not_yet);
  CHECK(through.size() == 1);

  CHECK(through.try_receive() == 1);
  CHECK(!through.try_send(9));  // the place is that of the first who waits
  on.loop.run_ready();
  CHECK(first.how == ended::with_value);
  CHECK(second.how == ended::not_yet);

  CHECK(through.try_receive() == 2);
  CHECK(through.try_receive() == 3);
  CHECK(through.try_receive() == std::nullopt);
  on.loop.run_ready();
  CHECK(second.how == ended::with_value);
}

TEST_CASE("a channel without a place hands an item from who sends to who receives") {
  scripted_executor on;
  channel<int> through{0};
  numbers got;
  outcome sent, received;
  CHECK(!through.try_send(1));

  auto sends = on.loop.start(send_one(through, 1, sent));
  on.loop.run_ready();
  CHECK(sent.how == ended::not_yet);
  CHECK(through.size() == 0);

  auto receives = on.loop.start(receive_one(through, got, received));
  on.loop.run_ready();
  CHECK(sent.how == ended::with_value);
  CHECK(got == numbers{1});

  auto receives_first = on.loop.start(receive_one(through, got, received));
  on.loop.run_ready();
  CHECK(through.try_send(2));
  on.loop.run_ready();
  CHECK(got == numbers{1, 2});
}

TEST_CASE("an unbounded channel takes what comes, and gives it back in order") {
  channel<std::unique_ptr<int>> through{unbounded};
  CHECK(through.capacity() == std::numeric_limits<std::size_t>::max());
  int taken = 0;

  for (int item = 0; item < 1000; ++item) {
    CHECK(through.try_send(std::make_unique<int>(item)));
    if (item % 3 == 0) CHECK(**through.try_receive() == taken++);
  }

  while (const auto item = through.try_receive()) CHECK(**item == taken++);
  CHECK(taken == 1000);
}

TEST_CASE("items that nobody received are destroyed with the channel") {
  const auto watched = std::make_shared<int>(1);
  {
    channel<std::shared_ptr<int>> bounded{3};
    channel<std::shared_ptr<int>> endless{unbounded};
    for (int count = 0; count < 3; ++count) {
      CHECK(bounded.try_send(watched));
      CHECK(endless.try_send(watched));
    }
    CHECK(watched.use_count() == 7);
  }
  CHECK(watched.use_count() == 1);
}

TEST_CASE("a channel's items are a stream, which ends with the channel") {
  scripted_executor on;
  channel<int> through{4};
  numbers got;
  auto reads = on.loop.start([](channel<int>& from, numbers& into) -> task<> {
    auto even = filter(from.items(), [](int item) { return item % 2 == 0; });
    while (const auto item = co_await even.next()) into.push_back(*item);
  }(through, got));

  for (int item = 1; item <= 4; ++item) CHECK(through.try_send(int{item}));
  on.loop.run_ready();
  CHECK(through.try_send(6));
  through.close();
  on.loop.run_ready();

  CHECK(reads.done());
  CHECK(got == numbers{2, 4, 6});
}

TEST_CASE("an endless row of items that are there lets others run, and a stop arrive") {
  scripted_executor on;
  channel<int> through{1};
  bool others_ran = false;
  auto endless = on.loop.start([](channel<int>& used) -> task<> {
    for (;;) {
      CHECK(static_cast<bool>(co_await used.send(1)));
      CHECK(co_await used.receive() == 1);
    }
  }(through));
  auto other = on.loop.start([](bool& ran) -> task<> {
    ran = true;
    co_return;
  }(others_ran));

  on.loop.turn(/*may_park=*/false);
  on.loop.turn(/*may_park=*/false);

  CHECK(others_ran);
  CHECK(!endless.done());
  on.stop(endless);
  CHECK(endless.stopped());
}

// ---------------------------------------------------------------------------------------------------------- its end

TEST_CASE("close() ends the waits of receivers with nothing, and those of senders with their item") {
  scripted_executor on;
  channel<int> empty{1};
  channel<int> full{1};
  CHECK(full.try_send(1));
  numbers got;
  outcome receiver, sender;
  auto receives = on.loop.start(receive_one(empty, got, receiver));
  auto sends = on.loop.start(send_one(full, 2, sender));
  on.loop.run_ready();

  empty.close();
  full.close();
  CHECK(!receives.done());
  on.loop.run_ready();

  CHECK(receiver.how == ended::with_error);
  CHECK(sender.how == ended::with_error);
  CHECK(full.closed());
  CHECK(full.try_receive() == 1);  // what was in it is still there
  CHECK(full.try_receive() == std::nullopt);
}

TEST_CASE("a closed channel takes nothing, gives what is left, and then nothing; a second close() changes nothing") {
  scripted_executor on;
  channel<int> through{2};
  CHECK(through.try_send(1));
  through.close();
  through.close();
  numbers got;
  outcome sent;

  auto sends = on.loop.start(send_one(through, 2, sent));
  auto receives = on.loop.start(receive_all(through, got));
  on.loop.run_ready();

  CHECK(sent.how == ended::with_error);
  CHECK(receives.done());
  CHECK(got == numbers{1});
  int kept = 3;
  CHECK(!through.try_send(std::move(kept)));
  CHECK(kept == 3);
}

TEST_CASE("close() after a hand-over leaves the item with who got it") {
  scripted_executor on;
  channel<int> through{0};
  numbers got;
  outcome received;
  auto receives = on.loop.start(receive_one(through, got, received));
  on.loop.run_ready();

  CHECK(through.try_send(1));
  through.close();
  on.loop.run_ready();

  CHECK(got == numbers{1});
}

TEST_CASE("an item that try_send() and send_from() do not send is not touched") {
  scripted_executor on;
  channel<std::unique_ptr<int>> through{0};
  auto item = std::make_unique<int>(1);

  CHECK(!through.try_send(std::move(item)));
  CHECK(item != nullptr);

  auto waits = on.loop.start([](channel<std::unique_ptr<int>>& to, std::unique_ptr<int>& kept) -> task<> {
    CHECK(!co_await to.send_from(kept));
  }(through, item));
  on.loop.run_ready();
  through.close();
  on.loop.run_ready();
  CHECK(waits.done());
  CHECK(item != nullptr);
}

TEST_CASE("send_from() moves from the item when it is sent") {
  scripted_executor on;
  channel<std::unique_ptr<int>> through{0};
  auto item = std::make_unique<int>(1);
  auto sends = on.loop.start([](channel<std::unique_ptr<int>>& to, std::unique_ptr<int>& kept) -> task<> {
    CHECK(co_await to.send_from(kept));
  }(through, item));
  on.loop.run_ready();
  CHECK(item != nullptr);

  CHECK(**through.try_receive() == 1);
  CHECK(item == nullptr);
  on.loop.run_ready();
  CHECK(sends.done());
}

// ------------------------------------------------------------------------------------------------- stops, deadlines

TEST_CASE("a receiver that is stopped while it waits takes no item") {
  scripted_executor on;
  channel<int> through{1};
  numbers got;
  outcome first, second;
  auto stopped = on.loop.start(receive_one(through, got, first));
  auto stays = on.loop.start(receive_one(through, got, second));
  on.loop.run_ready();

  on.stop(stopped);
  CHECK(first.how == ended::stopped);
  CHECK(through.try_send(1));
  on.loop.run_ready();

  CHECK(second.how == ended::with_value);
  CHECK(got == numbers{1});
}

TEST_CASE("a sender that is stopped while it waits has sent nothing") {
  scripted_executor on;
  channel<int> through{1};
  CHECK(through.try_send(1));
  outcome first, second;
  auto stopped = on.loop.start(send_one(through, 2, first));
  auto stays = on.loop.start(send_one(through, 3, second));
  on.loop.run_ready();

  on.stop(stopped);
  CHECK(first.how == ended::stopped);

  CHECK(through.try_receive() == 1);
  CHECK(through.try_receive() == 3);
  CHECK(through.try_receive() == std::nullopt);
  on.loop.run_ready();
  CHECK(second.how == ended::with_value);
}

TEST_CASE("an item that was handed over when the stop comes is delivered, and the next wait is stopped") {
  scripted_executor on;
  channel<int> through{0};
  numbers got;
  auto receives = on.loop.start(receive_all(through, got));
  on.loop.run_ready();

  CHECK(through.try_send(1));
  receives.cancel();
  on.loop.run_ready();

  CHECK(got == numbers{1});
  CHECK(receives.stopped());
  CHECK(!through.try_send(2));
}

TEST_CASE("a sender whose item was taken when the stop comes goes on as sent") {
  scripted_executor on;
  channel<int> through{0};
  outcome sent;
  auto sends = on.loop.start(send_one(through, 1, sent));
  on.loop.run_ready();

  CHECK(through.try_receive() == 1);
  sends.cancel();
  on.loop.run_ready();

  CHECK(sent.how == ended::with_value);
}

TEST_CASE("in a scope that is cancelled nothing is received or sent, though it could be at once") {
  scripted_executor on;
  channel<int> through{2};
  CHECK(through.try_send(1));
  outcome receiver, sender;
  numbers got;
  auto cancelled = [](cancel_scope& scope, task<> body) -> task<> {
    scope.cancel();
    co_await std::move(body);
  };
  auto both = on.loop.start([](auto cancel, task<> one, task<> other) -> task<> {
    CHECK(!co_await with_cancel_scope([&](cancel_scope& scope) { return cancel(scope, std::move(one)); }));
    CHECK(!co_await with_cancel_scope([&](cancel_scope& scope) { return cancel(scope, std::move(other)); }));
  }(cancelled, receive_one(through, got, receiver), send_one(through, 2, sender)));
  on.loop.run_ready();

  CHECK(both.done());
  CHECK(receiver.how == ended::stopped);
  CHECK(sender.how == ended::stopped);
  CHECK(through.size() == 1);
}

TEST_CASE("a deadline ends a receive as timed out, and takes no item") {
  scripted_executor on;
  channel<int> through{1};
  outcome noted;
  auto waits = on.loop.start([](channel<int>& from, outcome& how) -> task<> {
    const auto got = co_await as_result(with_timeout(10ms, from.receive()));
    how.error = got.error();
  }(through, noted));

  on.loop.run_ready();
  on.advance(10ms);

  CHECK(waits.done());
  CHECK(noted.error == std::errc::timed_out);
  CHECK(through.try_send(1));
  CHECK(through.size() == 1);
}

TEST_CASE("a deadline ends a send_from() as timed out, and the item is there to try again") {
  scripted_executor on;
  channel<std::string> through{0};
  std::string item = "a string that is too long to be kept inside the object";
  auto waits = on.loop.start([](channel<std::string>& to, std::string& kept) -> task<> {
    const auto sent = co_await as_result(with_timeout(10ms, to.send_from(kept)));
    CHECK(sent.error() == std::errc::timed_out);
    CHECK(!kept.empty());
    CHECK(co_await with_timeout(10ms, to.send_from(kept)));
  }(through, item));
  on.loop.run_ready();
  on.advance(10ms);

  CHECK(through.try_receive()->size() > 10);
  on.loop.run_ready();
  CHECK(waits.done());
}

TEST_CASE("an item that was handed over when the deadline passes is delivered") {
  scripted_executor on;
  channel<int> through{0};
  std::optional<int> got;
  auto waits = on.loop.start([](channel<int>& from, std::optional<int>& into) -> task<> {
    into = co_await with_timeout(10ms, from.receive());
  }(through, got));
  on.loop.run_ready();

  CHECK(through.try_send(1));
  on.advance(10ms);

  CHECK(waits.done());
  CHECK(got == 1);
}

TEST_CASE("a stop can be heard as an error, of a send and of a receive") {
  scripted_executor on;
  channel<int> through{0};
  std::error_code code;
  auto waits = on.loop.start([](channel<int>& from, std::error_code& to) -> task<> {
    to = (co_await as_result(stopped_as_error(from.receive()))).error();
  }(through, code));
  on.loop.run_ready();

  on.stop(waits);

  CHECK(code == std::errc::operation_canceled);
}

TEST_CASE("100,000 receivers that wait are stopped, each in constant time") {
  scripted_executor on;
  channel<int> through{0};
  constexpr std::size_t receivers_count = 100'000;
  auto all = on.loop.start([](channel<int>& from) -> task<> {
    co_await with_task_group([&from](task_group& group) -> task<> {
      for (std::size_t each = 0; each < receivers_count; ++each) {
        group.start([](channel<int>& from_it) -> task<> { CHECK(!co_await from_it.receive()); }(from));
      }
      co_return;
    });
  }(through));
  on.loop.run_ready();

  on.stop(all);

  CHECK(all.stopped());
  CHECK(!through.try_send(1));
}

// ---------------------------------------------------------------------------------------------------- two executors

TEST_CASE("an item goes to another executor, where its receiver is resumed in a turn") {
  scripted_executor left, right;
  channel<int> through{0};
  numbers got;
  outcome sent, received;
  auto receives = right.loop.start(receive_one(through, got, received));
  right.loop.run_ready();

  auto sends = left.loop.start(send_one(through, 1, sent));
  left.loop.run_ready();
  CHECK(sends.done());
  CHECK(!receives.done());

  right.loop.run_ready();
  CHECK(got == numbers{1});
}

TEST_CASE("an item that is posted to another executor when the stop comes there is delivered") {
  scripted_executor left, right;
  channel<int> through{0};
  numbers got;
  outcome sent, received;
  auto receives = right.loop.start(receive_one(through, got, received));
  right.loop.run_ready();
  auto sends = left.loop.start(send_one(through, 1, sent));
  left.loop.run_ready();

  receives.cancel();
  right.loop.run_ready();

  CHECK(got == numbers{1});
  CHECK(received.how == ended::with_value);
}

TEST_CASE("close() reaches those who wait on other executors") {
  scripted_executor left, right;
  channel<int> through{0};
  numbers got;
  outcome received, sent;
  auto receives = right.loop.start(receive_one(through, got, received));
  right.loop.run_ready();
  auto closes = left.loop.start([](channel<int>& used) -> task<> {
    used.close();
    co_return;
  }(through));

  left.loop.run_ready();
  receives.cancel();  // it comes too late
  right.loop.run_ready();

  CHECK(received.how == ended::with_error);
}

// ------------------------------------------------------------------------------------------------------- exceptions

// Throws at the move that is asked for, and is then as it was before.
struct fragile {
  explicit fragile(int its_number) : number{its_number} {}
  fragile(fragile&& other) : number{other.number} {  // NOLINT(performance-noexcept-move-constructor)
    if (moves_left == 0) throw std::runtime_error{"a move"};
    if (moves_left > 0) --moves_left;
    other.number = 0;
  }
  fragile& operator=(fragile&& other) {  // NOLINT(performance-noexcept-move-constructor)
    number = std::exchange(other.number, 0);
    return *this;
  }

  static inline int moves_left = -1;  // less than none: no move throws
  int number;
};

class after_moves {
 public:
  explicit after_moves(int count) { fragile::moves_left = count; }
  after_moves(const after_moves&) = delete;
  after_moves& operator=(const after_moves&) = delete;
  ~after_moves() { fragile::moves_left = -1; }
};

TEST_CASE("a move that throws on the way in leaves the channel as it was, and the item with who sends") {
  channel<fragile> through{1};
  fragile item{1};
  {
    const after_moves throwing{0};
    CHECK_THROWS_AS(static_cast<void>(through.try_send(std::move(item))), std::runtime_error);
  }
  CHECK(item.number == 1);
  CHECK(through.size() == 0);

  CHECK(through.try_send(std::move(item)));
  fragile another{2};
  CHECK(!through.try_send(std::move(another)));
  CHECK(another.number == 2);
}

TEST_CASE("a move that throws in send() has sent nothing, whichever move it is") {
  for (int moves_count = 0; moves_count < 4; ++moves_count) {
    CAPTURE(moves_count);
    scripted_executor on;
    channel<fragile> through{1};
    bool threw = false;
    {
      const after_moves throwing{moves_count};
      auto sends = on.loop.start([](channel<fragile>& to, bool& failed) -> task<> {
        try {
          const auto sent = co_await to.send(fragile{1});
          CHECK(static_cast<bool>(sent));
        } catch (const std::runtime_error&) {
          failed = true;
        }
      }(through, threw));
      on.loop.run_ready();
    }
    CHECK(through.size() == (threw ? 0 : 1));
    CHECK(threw == (moves_count < 1));
  }
}

TEST_CASE("a move that throws on the way out leaves the item first in the channel") {
  channel<fragile> through{2};
  CHECK(through.try_send(fragile{1}));
  CHECK(through.try_send(fragile{2}));
  {
    const after_moves throwing{0};
    CHECK_THROWS_AS(static_cast<void>(through.try_receive()), std::runtime_error);
  }
  CHECK(through.size() == 2);
  CHECK(through.try_send(fragile{3}));  // its place was free for the moment

  for (int number = 1; number <= 3; ++number) CHECK(through.try_receive()->number == number);
}

TEST_CASE(
    "an item that is received as a result moves once on the way out, and is first in the channel if that throws") {
  scripted_executor on;
  channel<fragile> through{1};
  CHECK(through.try_send(fragile{1}));
  for (const int moves_count : {0, 1}) {
    CAPTURE(moves_count);
    int number = 0;
    on.loop.run([&]() -> task<> {
      const after_moves throwing{moves_count};
      try {
        const auto item = co_await as_result(through.receive());
        number = (*item)->number;
      } catch (const std::runtime_error&) {
        number = -1;
      }
    });
    CHECK(number == (moves_count == 0 ? -1 : 1));
    CHECK(through.size() == (moves_count == 0 ? 1 : 0));
  }
}

TEST_CASE("an item whose receiver could not take it goes to the next that waits") {
  scripted_executor on{{}, test::one_at_a_time};
  channel<fragile> through{0};
  numbers got;
  auto receive = [](channel<fragile>& from, numbers& into) -> task<> {
    try {
      if (const auto item = co_await from.receive()) into.push_back(item->number);
    } catch (const std::runtime_error&) {
      into.push_back(-1);
    }
  };
  auto first = on.loop.start(receive(through, got));
  auto second = on.loop.start(receive(through, got));
  on.loop.run_ready();

  CHECK(through.try_send(fragile{7}));
  on.loop.turn(/*may_park=*/false);  // it is posted, as nobody's turn it was
  {
    const after_moves throwing{0};
    on.loop.turn(/*may_park=*/false);
  }
  on.loop.run_ready();

  CHECK(first.done());
  CHECK(second.done());
  CHECK(got == numbers{-1, 7});
}

TEST_CASE("an item that came back, and is taken then, makes no room for a sender that waits") {
  for (const int capacity : {2, 1, 0}) {
    CAPTURE(capacity);
    scripted_executor on;
    channel<fragile> through{static_cast<std::size_t>(capacity)};
    const int items_count = capacity + 3;
    std::list<root_task<void>> senders;
    for (int number = 1; number <= items_count; ++number)
      senders.emplace_back(on.loop, [](channel<fragile>& to, int sent_number) -> task<> {
        const auto sent = co_await to.send(fragile{sent_number});
        CHECK(static_cast<bool>(sent));
      }(through, number));
    on.loop.run_ready();
    {
      const after_moves throwing{0};
      CHECK_THROWS_AS(static_cast<void>(through.try_receive()), std::runtime_error);
    }

    for (int number = 1; number <= items_count; ++number) {
      const auto item = through.try_receive();
      REQUIRE(item.has_value());
      CHECK(item->number == number);
    }
    CHECK(through.size() == 0);
    on.loop.run_ready();
    for (const auto& each : senders) CHECK(each.done());
  }
}

TEST_CASE("several items that come back are in the order in which they were sent") {
  scripted_executor on;
  channel<fragile> through{4};
  std::list<root_task<void>> receivers;
  for (int each = 0; each < 3; ++each)
    receivers.emplace_back(on.loop, [](channel<fragile>& from) -> task<> {
      CHECK_THROWS_AS(static_cast<void>(co_await from.receive()), std::runtime_error);
    }(through));
  on.loop.run_ready();
  for (int number = 1; number <= 4; ++number) CHECK(through.try_send(fragile{number}));
  {
    const after_moves throwing{0};
    on.loop.run_ready();
  }

  for (const auto& each : receivers) CHECK(each.done());
  CHECK(through.size() == 4);
  for (int number = 1; number <= 4; ++number) CHECK(through.try_receive()->number == number);
}

TEST_CASE("an item that comes back from a closed channel can be tried again when its move throws") {
  scripted_executor on;
  channel<fragile> through{1};
  through.close();
  auto sends = on.loop.start([](channel<fragile>& to) -> task<> {
    auto sent = co_await to.send(fragile{1});
    REQUIRE(!sent);
    {
      const after_moves throwing{0};
      CHECK_THROWS_AS(static_cast<void>(std::move(sent).take_back()), std::runtime_error);
    }
    CHECK(std::move(sent).take_back().number == 1);
  }(through));
  on.loop.run_ready();
  CHECK(sends.done());
}

// --------------------------------------------------------------------------------------------------- with the others

TEST_CASE("as_result() gives what a send and a receive give, at once and after a wait") {
  scripted_executor on;
  channel<int> through{1};
  auto both = on.loop.start([](channel<int>& used) -> task<> {
    CHECK(static_cast<bool>(*co_await as_result(used.send(1))));
    CHECK(**co_await as_result(used.receive()) == 1);
    CHECK(**co_await as_result(used.receive()) == 2);
  }(through));
  on.loop.run_ready();

  CHECK(through.try_send(2));
  on.loop.run_ready();

  CHECK(both.done());
}

TEST_CASE("a coroutine of another library sends and receives, and hears of a stop as an error") {
  scripted_executor on;
  channel<int> through{0};
  auto foreign = [](channel<int>& from) -> test::foreign_task {
    const auto first = co_await from.receive();
    try {
      static_cast<void>(co_await from.receive());
    } catch (const std::system_error& error) {
      CHECK(error.code() == std::errc::operation_canceled);
      co_return *first;
    }
    co_return 0;
  };
  int got = 0;
  auto waits = on.loop.start(
      [](auto make, channel<int>& from, int& into) -> task<> { into = co_await make(from); }(foreign, through, got));
  on.loop.run_ready();

  CHECK(through.try_send(7));
  on.loop.run_ready();
  on.stop(waits);

  CHECK(got == 7);
}

TEST_CASE("dump_tasks() says who waits at a channel") {
  scripted_executor on;
  channel<int> through{0};
  numbers got;
  outcome noted;
  auto receives = on.loop.start(receive_one(through, got, noted));
  on.loop.run_ready();

  CHECK(dump_tasks(on.loop).find("channel receive") != std::string::npos);

  through.close();
  on.loop.run_ready();
}

TEST_CASE("a loser of when_any() that waits takes nothing from its channel") {
  scripted_executor on;
  channel<int> one{1};
  channel<int> other{1};
  std::size_t winner = 9;
  auto waits = on.loop.start([](channel<int>& a, channel<int>& b, std::size_t& index) -> task<> {
    index = (co_await when_any(a.receive(), b.receive())).index;
  }(one, other, winner));
  on.loop.run_ready();

  CHECK(other.try_send(1));
  on.loop.run_ready();
  CHECK(waits.done());
  CHECK(winner == 1);
  CHECK(one.try_send(2));
  CHECK(one.size() == 1);
}

}  // namespace
}  // namespace gyre::sync
