// SPDX-License-Identifier: MIT
// Visits to another executor: what comes back, and every order of an end over there, a stop from here, and a shutdown.
#include <gyre/runtime/as_result.hpp>
#include <gyre/runtime/deadline.hpp>
#include <gyre/runtime/diagnosis.hpp>
#include <gyre/runtime/executor.hpp>
#include <gyre/runtime/on.hpp>
#include <gyre/runtime/ops/misc.hpp>
#include <gyre/runtime/ops/socket.hpp>
#include <gyre/runtime/scope.hpp>
#include <gyre/runtime/this_task.hpp>
#include <gyre/runtime/timer.hpp>
#include <gyre/runtime/when_all.hpp>

#include "../support/captured_log.hpp"
#include "../support/executor_thread.hpp"
#include "../support/foreign_task.hpp"
#include "../support/outcome.hpp"
#include "../support/scripted.hpp"
#include "../support/socket_pair.hpp"
#include "../support/turning.hpp"

#include <doctest/doctest.h>
#include <liburing.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <memory>
#include <optional>
#include <random>
#include <stdexcept>
#include <string>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

namespace gyre {
namespace {

using namespace std::chrono_literals;
using namespace test;

constexpr int some_socket = 1'000'123;

struct two_executors {
  // What one does last may be something for the other to do.
  void run_ready() {
    int idle_rounds_count = 0;
    while (idle_rounds_count < 2) {
      const bool here_has_more = here.loop.turn(/*may_park=*/false);
      const bool there_has_more = there.loop.turn(/*may_park=*/false);
      idle_rounds_count = here_has_more || there_has_more ? 0 : idle_rounds_count + 1;
    }
  }

  scripted_executor here{{}, one_at_a_time};
  scripted_executor there{{}, one_at_a_time};
};

task<executor*> tell_executor() { co_return &executor::current(); }

template <class T>
task<> visit_and_note(executor& there, task<T> body, std::optional<T>& noted) {
  noted.emplace(co_await on(there, std::move(body)));
}

// What comes back of a task that runs over there.
template <class T>
std::optional<T> visited(two_executors& two, task<T> body) {
  std::optional<T> noted;
  auto root = two.here.loop.start(visit_and_note(two.there.loop, std::move(body), noted));
  two.run_ready();
  CHECK(root.done());
  root.get();
  return noted;
}

}  // namespace

TEST_CASE("a task runs on the other executor, and who awaits it goes on where it was") {
  two_executors two;
  executor* after = nullptr;
  executor* during = nullptr;
  const auto look = [&]() -> task<> {
    during = co_await on(two.there.loop, tell_executor());
    after = &executor::current();
  };

  auto root = two.here.loop.start(look());
  two.here.loop.run_ready();
  CHECK(!root.done());
  two.run_ready();

  CHECK(root.done());
  CHECK(during == &two.there.loop);
  CHECK(after == &two.here.loop);
}

TEST_CASE("a value that can only be moved, a reference, and nothing come back") {
  two_executors two;
  int referred = 1;
  const auto movable = []() -> task<std::unique_ptr<int>> { co_return std::make_unique<int>(7); };
  const auto reference = [&]() -> task<int&> { co_return referred; };
  bool has_run = false;
  const auto nothing = [&]() -> task<> {
    has_run = true;
    co_return;
  };
  int* reached = nullptr;
  const auto both = [&]() -> task<> {
    reached = &co_await on(two.there.loop, reference());
    co_await on(two.there.loop, nothing());
  };

  const auto moved = visited(two, movable());
  auto root = two.here.loop.start(both());
  two.run_ready();

  CHECK(**moved == 7);
  CHECK(root.done());
  CHECK(reached == &referred);
  CHECK(has_run);
}

TEST_CASE("an exception comes back, and the executor over there goes on") {
  two_executors two;
  const auto fail = []() -> task<int> {
    co_await ops::nop();
    throw std::out_of_range{"over there"};
  };
  std::string said;
  const auto look = [&]() -> task<> {
    try {
      static_cast<void>(co_await on(two.there.loop, fail()));
    } catch (const std::out_of_range& error) {
      said = error.what();
    }
  };

  auto root = two.here.loop.start(look());
  two.run_ready();
  two.there.script.complete(two.there.script.only(IORING_OP_NOP), 0);
  two.run_ready();

  CHECK(root.done());
  CHECK(said == "over there");
  CHECK(visited(two, tell_executor()) == &two.there.loop);
}

TEST_CASE("a function is called over there, and stays until its task has ended") {
  two_executors two;
  auto owned = std::make_shared<int>(5);
  std::weak_ptr<int> watched = owned;
  int seen = 0;
  executor* called_on = nullptr;
  const auto look = [&]() -> task<> {
    auto work = [owned = std::move(owned), &called_on]() -> task<int> {
      called_on = &executor::current();
      co_await ops::nop();
      co_return *owned;
    };
    seen = co_await on(two.there.loop, std::move(work));
  };

  auto root = two.here.loop.start(look());
  two.run_ready();
  CHECK(called_on == &two.there.loop);
  CHECK(!watched.expired());
  two.there.script.complete(two.there.script.only(IORING_OP_NOP), 0);
  two.run_ready();

  CHECK(seen == 5);
  CHECK(watched.expired());
}

TEST_CASE("on its own executor a task is simply awaited") {
  scripted_executor alone;
  bool has_run = false;
  const auto look = [&]() -> task<> {
    CHECK(co_await on(alone.loop, tell_executor()) == &alone.loop);
    has_run = true;
  };

  auto root = alone.loop.start(look());
  alone.loop.turn(/*may_park=*/false);

  CHECK(has_run);
  CHECK(alone.loop.statistics().wakes_suppressed == 0);  // no message was posted
  CHECK(root.done());
}

TEST_CASE("on its own executor a stop goes through it, and stopped_as_error() makes it an error") {
  for (const bool as_error : {false, true}) {
    CAPTURE(as_error);
    scripted_executor alone;
    outcome noted;
    const auto plain = [&]() -> task<> { co_await on(alone.loop, sleep_for(1h)); };
    const auto caught = [&]() -> task<> { co_await stopped_as_error(on(alone.loop, sleep_for(1h))); };
    auto root = alone.loop.start(observe(as_error ? caught() : plain(), noted));
    alone.loop.run_ready();

    alone.stop(root);

    CHECK(root.done());
    CHECK(noted.how == (as_error ? ended::with_error : ended::stopped));
    if (as_error) CHECK(noted.error == std::errc::operation_canceled);
  }
}

// ----------------------------------------------------------------------------------- every order of what can happen

namespace {

// A visit whose task receives something over there.
struct crossing {
  enum class step : char { here = 'h', there = 't', stop = 's', data = 'd', evict = 'e' };

  crossing() { root.emplace(two.here.loop, visit(*this)); }

  // Its arguments are destroyed where they are.
  struct argument {
    explicit argument(crossing& its) noexcept : mine{&its} { ++mine->arguments_count; }
    argument(argument&& other) noexcept : argument{*other.mine} {}
    ~argument() { --mine->arguments_count; }
    crossing* mine;
  };

  static task<int> receive(argument held) {
    crossing& mine = *held.mine;
    mine.began = true;
    std::vector<std::byte> buffer(4);
    const auto count = co_await ops::recv(some_socket, buffer);
    mine.received = true;
    co_return static_cast<int>(count);
  }

  static task<> visit(crossing& mine) {
    const stop_watch watch{mine.noted};
    try {
      const int count = co_await on(mine.two.there.loop, receive(argument{mine}));
      CHECK(count == 3);
      mine.noted.how = ended::with_value;
    } catch (const std::system_error& error) {
      mine.noted = {ended::with_error, error.code()};
    }
  }

  void take(step next) {
    switch (next) {
      case step::here:
        two.here.loop.turn(/*may_park=*/false);
        return;
      case step::there:
        two.there.loop.turn(/*may_park=*/false);
        return;
      case step::stop:
        root->cancel();
        stop_asked = true;
        return;
      case step::data:
        complete();
        return;
      case step::evict:
        two.there.loop.root_scope().cancel("for a test");
        evicted = true;
        return;
    }
  }

  // The data come as soon as somebody waits for them.
  void complete() {
    data_due = two.there.script.in_flight(IORING_OP_RECV).empty();
    if (!data_due) two.there.script.complete(two.there.script.only(IORING_OP_RECV), 3);
  }

  void finish() {
    two.run_ready();
    if (data_due && !root->done()) complete();
    two.run_ready();
    const bool waits_for_data = !stop_asked && !evicted && !root->done();
    if (waits_for_data) complete();
    two.run_ready();
  }

  // What the task did is what its awaiter hears of.
  void check() {
    CHECK(root->done());
    CHECK(arguments_count == 0);
    CHECK(two.there.loop.root_scope().empty());
    if (received) CHECK(noted.how == ended::with_value);
    else if (stop_asked && evicted) CHECK((noted.how == ended::stopped || noted.how == ended::with_error));
    else if (stop_asked) CHECK(noted.how == ended::stopped);
    else CHECK(evicted);
    if (noted.how == ended::with_error) CHECK(noted.error == std::errc::operation_canceled);
    if (evicted && !stop_asked && !received) CHECK(noted.how == ended::with_error);
  }

  two_executors two;
  outcome noted;
  std::optional<root_task<void>> root;
  int arguments_count = 0;
  bool began = false;
  bool received = false;
  bool stop_asked = false;
  bool evicted = false;
  bool data_due = false;
};

// Every word of so many turns, with each of `events` anywhere in it, and its result.
template <class Check>
void for_each_order(unsigned turns_count, const std::string& events, Check check) {
  std::vector<std::string> words;
  for (unsigned bits = 0; bits < 1u << turns_count; ++bits) {
    std::string word;
    for (unsigned i = 0; i < turns_count; ++i) word += (bits >> i & 1) != 0 ? 'h' : 't';
    words.push_back(word);
  }
  for (const char event : events) {
    std::vector<std::string> longer;
    for (const auto& word : words)
      for (std::size_t at = 0; at <= word.size(); ++at) longer.push_back(std::string{word}.insert(at, 1, event));
    words = std::move(longer);
  }
  for (const auto& word : words) check(word);
}

}  // namespace

TEST_CASE(
    "an end over there and a stop from here, in every order of the turns of both: what happened is what is told") {
  int with_value_count = 0;
  int stopped_count = 0;
  int never_began_count = 0;
  for (const std::string events : {"s", "d", "ds"}) {
    for_each_order(6, events, [&](const std::string& order) {
      CAPTURE(order);
      crossing of;
      for (const char each : order) of.take(static_cast<crossing::step>(each));
      of.finish();

      of.check();
      with_value_count += of.noted.how == ended::with_value ? 1 : 0;
      stopped_count += of.root->stopped() ? 1 : 0;
      never_began_count += of.began ? 0 : 1;
    });
  }
  CHECK(with_value_count > 100);
  CHECK(stopped_count > 100);
  CHECK(never_began_count > 100);
}

TEST_CASE("a cancel of the executor over there, in every order with the end and the stop from here: nothing is lost") {
  int with_error_count = 0;
  for (const std::string events : {"e", "es", "ed", "eds"}) {
    for_each_order(4, events, [&](const std::string& order) {
      CAPTURE(order);
      crossing of;
      for (const char each : order) of.take(static_cast<crossing::step>(each));
      of.finish();

      of.check();
      with_error_count += of.noted.how == ended::with_error ? 1 : 0;
    });
  }
  CHECK(with_error_count > 100);
}

TEST_CASE("an executor that is destroyed stops who visits it, at each step of the visit") {
  for (const bool stop_asked : {false, true}) {
    for (unsigned turns_count = 0; turns_count < 4; ++turns_count) {
      CAPTURE(stop_asked);
      CAPTURE(turns_count);
      scripted_executor here;
      std::optional<scripted_executor> there{std::in_place};
      outcome noted;
      const auto visit = [&]() -> task<> { co_await on(there->loop, sleep_for(1h)); };
      auto root = here.loop.start(observe(visit(), noted));
      here.loop.turn(/*may_park=*/false);
      for (unsigned i = 0; i < turns_count; ++i) there->loop.turn(/*may_park=*/false);
      if (stop_asked) root.cancel();

      there.reset();
      here.loop.run_ready();

      CHECK(root.done());
      CHECK(noted.how == (stop_asked ? ended::stopped : ended::with_error));
      if (!stop_asked) CHECK(noted.error == std::errc::operation_canceled);
    }
  }
}

TEST_CASE("in a scope that is cancelled already nothing is sent, and the task never begins") {
  two_executors two;
  bool began = false;
  const auto begin = [&]() -> task<> {
    began = true;
    co_return;
  };
  const auto visit = [&]() -> task<> {
    (co_await this_task::scope()).cancel();
    co_await on(two.there.loop, begin());
  };

  auto root = two.here.loop.start(visit());
  two.run_ready();

  CHECK(root.stopped());
  CHECK(!began);
  CHECK(two.there.loop.statistics().wakes_suppressed == 0);
}

TEST_CASE("a deadline here stops the task over there, and is told as timed_out") {
  two_executors two;
  outcome noted;
  outcome there;
  const auto limited = [&]() -> task<> {
    co_await with_timeout(10ms, on(two.there.loop, observe(sleep_for(1h), there)));
  };
  auto root = two.here.loop.start(observe(limited(), noted));
  two.run_ready();
  CHECK(there.how == ended::not_yet);

  two.here.advance(10ms);
  CHECK(!root.done());
  two.run_ready();

  CHECK(root.done());
  CHECK(there.how == ended::stopped);
  CHECK(noted.error == std::errc::timed_out);
}

TEST_CASE("a task that shields itself over there is waited for, and its value is delivered") {
  two_executors two;
  int seen = 0;
  const auto visit = [&]() -> task<> {
    const auto slowly = []() -> task<int> {
      co_await shield(sleep_for(10ms));
      co_return 4;
    };
    seen = co_await on(two.there.loop, slowly());
  };
  auto root = two.here.loop.start(visit());
  two.run_ready();

  root.cancel();
  two.run_ready();
  CHECK(!root.done());
  two.there.advance(10ms);
  two.run_ready();

  CHECK(root.done());
  CHECK(seen == 4);
}

TEST_CASE("a task over there can visit the executor that it came from") {
  two_executors two;
  const auto back = [&]() -> task<executor*> { co_return co_await on(two.here.loop, tell_executor()); };

  CHECK(visited(two, back()) == &two.here.loop);
}

TEST_CASE("a coroutine of another library awaits a visit, and hears of a stop as an error") {
  two_executors two;
  std::error_code heard;
  const auto foreign = [&](bool waits) -> foreign_task {
    try {
      if (waits) co_await on(two.there.loop, sleep_for(1h));
      co_return co_await on(two.there.loop, []() -> task<int> { co_return 3; }());
    } catch (const std::system_error& error) {
      heard = error.code();
      co_return 0;
    }
  };
  int value = 0;
  const auto below_gyre = [&]() -> task<> { value = co_await foreign(false); };
  const auto stopped_below_gyre = [&]() -> task<> { co_await foreign(true); };

  auto first = two.here.loop.start(below_gyre());
  auto second = two.here.loop.start(stopped_below_gyre());
  two.run_ready();
  second.cancel();
  two.run_ready();

  CHECK(first.done());
  CHECK(value == 3);
  CHECK(second.done());
  CHECK(heard == std::errc::operation_canceled);
}

TEST_CASE("a visit that is never awaited destroys its task, and does nothing else") {
  two_executors two;
  auto owned = std::make_shared<int>(1);
  std::weak_ptr<int> watched = owned;
  const auto hold = [](std::shared_ptr<int>) -> task<> { co_return; };

  {
    const auto never = on(two.there.loop, hold(std::move(owned)));
  }

  CHECK(watched.expired());
  CHECK(!two.there.loop.turn(/*may_park=*/false));
}

TEST_CASE("a visit shows on both sides of dump_tasks(): what is waited for here, and what runs over there") {
  two_executors two;
  const auto visit = [&]() -> task<> { co_await on(two.there.loop, sleep_for(1h)); };
  auto root = two.here.loop.start(visit());
  two.run_ready();

  const std::string here = dump_tasks(two.here.loop);
  const std::string there = dump_tasks(two.there.loop);

  CAPTURE(here);
  CAPTURE(there);
  CHECK(here.find(": on another executor for ") != std::string::npos);
  CHECK(there.find("sleep for ") != std::string::npos);

  root.cancel();
  two.run_ready();
}

// ------------------------------------------------------------------------------------------------- random programs

namespace {

// Tasks that sleep, fail, visit the other executor, and open regions around that, as the dice fall.
struct wanderers {
  explicit wanderers(unsigned seed) : dice{seed} {}

  unsigned roll(unsigned sides) { return std::uniform_int_distribution{0u, sides - 1}(dice); }

  struct life {
    explicit life(wanderers& its) noexcept : all{its} { ++all.alive_count; }
    life(const life&) = delete;
    life& operator=(const life&) = delete;
    ~life() { --all.alive_count; }
    wanderers& all;
  };

  executor& other() { return &executor::current() == &two.here.loop ? two.there.loop : two.here.loop; }

  task<int> wander(unsigned depth) {
    const life mine{*this};
    executor& home = executor::current();
    int sum = 1;
    for (unsigned steps = roll(4); steps > 0; --steps) {
      co_await sleep_for(std::chrono::milliseconds{roll(3)});
      if (depth == 0) continue;
      switch (roll(6)) {
        case 0:
          sum += co_await on(other(), wander(depth - 1));
          break;
        case 1:
          sum += co_await on(home, wander(depth - 1));
          break;
        case 2:
          if (const auto got =
                  co_await move_on_after(std::chrono::milliseconds{roll(4)}, on(other(), wander(depth - 1))))
            sum += *got;
          break;
        case 3:
          sum += co_await shield(on(other(), wander(depth - 1)));
          break;
        case 4: {
          std::vector<task<int>> both;
          for (int i = 0; i < 2; ++i) both.push_back(over_there(depth - 1));
          for (const int each : co_await when_all(std::move(both))) sum += each;
          break;
        }
        default:
          if (roll(4) == 0) throw std::out_of_range{"the dice fell so"};
      }
      CHECK(&executor::current() == &home);
    }
    co_return sum;
  }

  task<int> over_there(unsigned depth) { co_return co_await on(other(), wander(depth)); }

  void step() {
    switch (roll(8)) {
      case 0:
        return two.here.script.advance(1ms);
      case 1:
        return two.there.script.advance(1ms);
      default:
        static_cast<void>((roll(2) == 0 ? two.here : two.there).loop.turn(/*may_park=*/false));
    }
  }

  std::mt19937 dice;
  two_executors two;
  int alive_count = 0;
};

}  // namespace

TEST_CASE("random visits within visits, cancelled at random: all of them end, here and there") {
  const captured_log log;  // of failures beside others
  int value_count = 0;
  int stopped_count = 0;
  int error_count = 0;
  for (unsigned seed = 0; seed < 2'000; ++seed) {
    CAPTURE(seed);
    wanderers all{seed};
    auto first = all.two.here.loop.start(all.wander(4));
    auto second = all.two.there.loop.start(all.wander(4));
    const unsigned cancel_at = all.roll(120);

    unsigned steps_count = 0;
    for (; !(first.done() && second.done()) && steps_count < 100'000; ++steps_count) {
      if (steps_count == cancel_at) first.cancel();
      all.step();
    }

    REQUIRE(first.done());
    REQUIRE(second.done());
    CHECK(all.alive_count == 0);
    for (auto* const root : {&first, &second}) {
      if (root->stopped()) {
        ++stopped_count;
        continue;
      }
      try {
        const int sum = root->get();
        CHECK(sum > 0);
        ++value_count;
      } catch (const std::out_of_range&) {
        ++error_count;
      }
    }
  }
  CHECK(value_count > 100);
  CHECK(stopped_count > 100);
  CHECK(error_count > 100);
}

// --------------------------------------------------------------------------------------------------- real threads

namespace {

task<int> count_visits(executor& there, int rounds_count) {
  int sum = 0;
  const auto one = []() -> task<int> { co_return 1; };
  for (int i = 0; i < rounds_count; ++i) sum += co_await on(there, one());
  co_return sum;
}

task<> visit_until(executor& there, std::atomic<int>& over_there_count, std::chrono::microseconds duration) {
  struct counted {
    explicit counted(std::atomic<int>& its_count) noexcept : count{its_count} { ++count; }
    ~counted() { --count; }
    std::atomic<int>& count;
  };
  const auto wait = [](std::atomic<int>& count, std::chrono::microseconds for_so_long) -> task<> {
    const counted here{count};
    co_await sleep_for(for_so_long);
  };
  static_cast<void>(co_await move_on_after(duration, on(there, wait(over_there_count, duration))));
}

}  // namespace

TEST_CASE("a thousand visits to another thread come back, both ways to sleep") {
  for (const auto park : {parking::eventfd, parking::ring_wait}) {
    executor_thread other{{.park = park}};
    executor loop{{.park = park}};

    CHECK(loop.run(count_visits(other.loop(), 1'000)) == 1'000);
  }
}

TEST_CASE("deadlines here and ends there that come at the same time: everything has ended when the co_await is over") {
  executor_thread other;
  executor loop;
  std::atomic<int> over_there_count = 0;
  const auto many = [&]() -> task<> {
    for (int i = 0; i < 300; ++i) {
      std::vector<task<>> visits;
      for (int each = 0; each < 4; ++each)
        visits.push_back(visit_until(other.loop(), over_there_count, std::chrono::microseconds{each * 20 + i % 20}));
      co_await when_all(std::move(visits));
      CHECK(over_there_count == 0);
    }
  };

  loop.run(many());
}

TEST_CASE("a thread that ends stops its visitors, in the kernel too, and its executor goes only after them") {
  for (const auto park : {parking::eventfd, parking::ring_wait}) {
    for (int i = 0; i < 25; ++i) {
      const socket_pair pair;
      executor_thread other{{.park = park}};
      executor loop;
      outcome noted;
      std::atomic<bool> is_there = false;
      const auto receive = [&]() -> task<> {
        std::vector<std::byte> buffer(4);
        is_there = true;
        co_await ops::recv(pair.here, buffer);
      };
      const auto visit = [&]() -> task<> { co_await on(other.loop(), receive()); };
      auto root = loop.start(observe(visit(), noted));
      loop.turn(/*may_park=*/false);
      while (!is_there && i % 2 == 0) std::this_thread::yield();

      other.end();
      turn_until_done(loop, root);

      CHECK(noted.error == std::errc::operation_canceled);
    }
  }
}

TEST_CASE("a cancel here that meets the end of the executor over there: whose message is under way is waited for") {
  for (int i = 0; i < 100; ++i) {
    executor_thread other;
    executor loop;
    outcome noted;
    std::atomic<bool> is_there = false;
    const auto wait = [&]() -> task<> {
      is_there = true;
      co_await sleep_for(1h);
    };
    const auto visit = [&]() -> task<> { co_await on(other.loop(), wait()); };
    auto root = loop.start(observe(visit(), noted));
    loop.turn(/*may_park=*/false);
    while (!is_there && i % 4 != 0) std::this_thread::yield();

    std::thread ending{[&] { other.end(); }};
    for (int spins = 0; spins < i * 20; ++spins) std::atomic_signal_fence(std::memory_order_seq_cst);
    root.cancel();
    turn_until_done(loop, root);
    ending.join();

    CHECK((noted.how == ended::stopped || noted.how == ended::with_error));
  }
}

}  // namespace gyre
