// SPDX-License-Identifier: MIT
// A wait of one's own making, made here of the least that one needs: a list, and a count of what is there.
#include <gyre/runtime/as_result.hpp>
#include <gyre/runtime/deadline.hpp>
#include <gyre/runtime/diagnosis.hpp>
#include <gyre/runtime/scope.hpp>
#include <gyre/runtime/suspension.hpp>
#include <gyre/runtime/task.hpp>

#include <doctest/doctest.h>
#include "../support/foreign_task.hpp"
#include "../support/scripted.hpp"

#include <chrono>
#include <coroutine>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

namespace gyre {
namespace {

using namespace std::chrono_literals;
using test::scripted_executor;

// Hands tokens to those who wait for one. Everything that uses it here stands on one thread, so it needs no lock.
class counter {
 public:
  class [[nodiscard]] take_operation final : public suspension {
   public:
    explicit take_operation(counter& from) noexcept : suspension{from.is_checked_ ? kind_checked : kind}, from_{from} {}

    bool await_ready() noexcept { return from_.try_take(); }
    template <class Promise>
    bool await_suspend(std::coroutine_handle<Promise> awaiter) noexcept {
      if (!begin(awaiter)) return true;
      if (std::exchange(from_.comes_while_it_begins_, false)) {
        end_at_once();
        return false;
      }
      from_.waiting_.push_back(*this);
      return true;
    }
    int await_resume() {
      resumed();
      return 7;
    }
    [[nodiscard]] result<int> await_result() noexcept {
      if (const auto ended = resumed_with_result(); !ended) return ended.error();
      return 7;
    }

   private:
    static bool withdraw(suspension& self) noexcept {
      return static_cast<take_operation&>(self).from_.waiting_.remove(self);
    }
    static bool arrived(suspension& self) noexcept {
      auto& mine = static_cast<take_operation&>(self);
      if (mine.from_.try_take()) return true;
      if (mine.wait_again()) mine.from_.waiting_.push_back(mine);
      return false;
    }
    static const suspension_kind kind;
    static const suspension_kind kind_checked;
    counter& from_;
  };

  enum class gives : std::uint8_t { hands_over, wakes_up };

  // hands_over: who is resumed has its token. wakes_up: it looks for one when it is there.
  explicit counter(gives how = gives::hands_over) noexcept : is_checked_{how == gives::wakes_up} {}

  take_operation take() noexcept { return take_operation{*this}; }

  bool try_take() noexcept {
    if (count_ == 0) return false;
    --count_;
    return true;
  }

  void give() noexcept {
    suspension* const first = waiting_.pop_front();
    if (first == nullptr || is_checked_) ++count_;
    if (first != nullptr) first->resume_from_any_thread();
  }

  void give_all() noexcept {
    granted_suspensions all;
    waiting_.move_all_to(all);
    all.resume_all();
  }

  void give_while_the_next_begins() noexcept { comes_while_it_begins_ = true; }

  [[nodiscard]] int count() const noexcept { return count_; }
  [[nodiscard]] bool empty() const noexcept { return waiting_.empty(); }

 private:
  bool is_checked_;
  bool comes_while_it_begins_ = false;
  int count_ = 0;
  suspension_list waiting_;
};

constinit const suspension_kind counter::take_operation::kind{"token", &withdraw};
constinit const suspension_kind counter::take_operation::kind_checked{"token", &withdraw, &arrived};

task<> take_one(counter& from, std::string& told, char name) {
  const int token = co_await from.take();
  if (token == 7) told += name;
}

TEST_CASE("a wait ends when it is resumed, in a turn of its executor and never inside the call") {
  scripted_executor test;
  counter tokens;
  std::string told;
  auto waits = test.loop.start(take_one(tokens, told, 'a'));
  test.loop.run_ready();

  tokens.give();

  CHECK(told.empty());
  test.loop.run_ready();
  CHECK(told == "a");
  CHECK(waits.done());
}

TEST_CASE("what is there already is not waited for") {
  scripted_executor test;
  counter tokens;
  tokens.give();
  std::string told;

  auto takes = test.loop.start(take_one(tokens, told, 'a'));
  test.loop.turn(/*may_park=*/false);

  CHECK(takes.done());
  CHECK(tokens.count() == 0);
}

TEST_CASE("what comes while the wait begins ends it on the spot") {
  scripted_executor test;
  counter tokens;
  tokens.give_while_the_next_begins();
  std::string told;

  auto takes = test.loop.start(take_one(tokens, told, 'a'));
  test.loop.turn(/*may_park=*/false);

  CHECK(takes.done());
  CHECK(told == "a");
}

TEST_CASE("a cancel takes a wait out of its list and unwinds its coroutine") {
  scripted_executor test;
  counter tokens;
  std::string told;
  auto waits = test.loop.start(take_one(tokens, told, 'a'));
  test.loop.run_ready();

  test.stop(waits);

  CHECK(waits.stopped());
  CHECK(tokens.empty());
  CHECK(told.empty());
}

TEST_CASE("in a scope that is cancelled nothing comes into the list") {
  scripted_executor test;
  counter tokens;
  std::string told;
  auto waits = test.loop.start(take_one(tokens, told, 'a'));

  test.stop(waits);

  CHECK(tokens.empty());
  CHECK(told.empty());
}

TEST_CASE("a cancel that comes after the grant does not take it back") {
  scripted_executor test;
  counter tokens;
  std::string told;
  auto waits = test.loop.start(take_one(tokens, told, 'a'));
  test.loop.run_ready();
  tokens.give();

  test.stop(waits);

  CHECK(told == "a");
}

task<> give_one(counter& to) {
  to.give();
  co_return;
}

TEST_CASE("a grant by another executor is posted, and a cancel that crosses it finds it given") {
  scripted_executor waiters;
  scripted_executor givers;
  counter tokens;
  std::string told;
  auto waits = waiters.loop.start(take_one(tokens, told, 'a'));
  waiters.loop.run_ready();
  auto gives = givers.loop.start(give_one(tokens));
  givers.loop.run_ready();
  REQUIRE(told.empty());

  SUBCASE("not cancelled") { waiters.loop.run_ready(); }
  SUBCASE("cancelled while it is posted") { waiters.stop(waits); }
  SUBCASE("cancelled in the turn that takes it") {
    waiters.loop.post([&] { waits.cancel(); });
    waiters.loop.run_ready();
  }

  CHECK(told == "a");
  CHECK(gives.done());
}

TEST_CASE("all that wait are taken out at once, and resumed in their order") {
  scripted_executor test;
  counter tokens;
  std::string told;
  auto first = test.loop.start(take_one(tokens, told, 'a'));
  auto second = test.loop.start(take_one(tokens, told, 'b'));
  auto third = test.loop.start(take_one(tokens, told, 'c'));
  test.loop.run_ready();
  tokens.give_all();

  SUBCASE("and no cancel reaches them any more") { second.cancel(); }
  SUBCASE("without a cancel") {}
  test.loop.run_ready();

  CHECK(told == "abc");
}

TEST_CASE("who leaves the midst of a list leaves the others in their order") {
  scripted_executor test;
  counter tokens;
  std::string told;
  auto first = test.loop.start(take_one(tokens, told, 'a'));
  auto second = test.loop.start(take_one(tokens, told, 'b'));
  auto third = test.loop.start(take_one(tokens, told, 'c'));
  test.loop.run_ready();

  test.stop(second);
  tokens.give();
  tokens.give();
  test.loop.run_ready();

  CHECK(told == "ac");
}

TEST_CASE("a wait that finds nothing when it arrives waits on, behind those who came meanwhile") {
  scripted_executor test;
  scripted_executor elsewhere;
  counter tokens{counter::gives::wakes_up};
  std::string told;
  auto first = test.loop.start(take_one(tokens, told, 'a'));
  auto second = test.loop.start(take_one(tokens, told, 'b'));
  test.loop.run_ready();
  SUBCASE("queued") {}
  SUBCASE("posted") {
    auto gives = elsewhere.loop.start(give_one(tokens));
    elsewhere.loop.run_ready();
    REQUIRE(tokens.try_take());
    test.loop.run_ready();
    REQUIRE(told.empty());
  }

  tokens.give();
  tokens.give();
  REQUIRE(tokens.try_take());
  test.loop.run_ready();
  CHECK(told.size() == 1);
  CHECK(!tokens.empty());

  tokens.give();
  test.loop.run_ready();
  CHECK(told.size() == 2);
}

TEST_CASE("a wait that would go on in a scope cancelled meanwhile is stopped") {
  scripted_executor test;
  counter tokens{counter::gives::wakes_up};
  std::string told;
  auto waits = test.loop.start(take_one(tokens, told, 'a'));
  test.loop.run_ready();
  tokens.give();
  REQUIRE(tokens.try_take());

  test.stop(waits);

  CHECK(waits.stopped());
  CHECK(tokens.empty());
}

task<> take_in_time(counter& from, std::string& told) {
  try {
    static_cast<void>(co_await with_timeout(1s, from.take()));
    told += "taken";
  } catch (const std::system_error& error) {
    told += error.code() == std::errc::timed_out ? "timed out" : error.what();
  }
}

TEST_CASE("a deadline ends a wait of one's own as it ends a sleep") {
  scripted_executor test;
  counter tokens;
  std::string told;
  auto waits = test.loop.start(take_in_time(tokens, told));
  test.loop.run_ready();

  SUBCASE("before the grant") {
    test.advance(1s);

    CHECK(told == "timed out");
    CHECK(tokens.empty());
  }
  SUBCASE("after the grant") {
    tokens.give();
    test.advance(1s);

    CHECK(told == "taken");
  }
}

task<> take_and_hear_of_a_stop(counter& from, std::string& told) {
  try {
    static_cast<void>(co_await stopped_as_error(from.take()));
  } catch (const std::system_error& error) {
    told = error.what();
  }
}

task<> take_result_and_hear_of_a_stop(counter& from, std::string& told) {
  const auto taken = co_await as_result(stopped_as_error(from.take()));
  told = taken ? "taken" : taken.error().message();
}

TEST_CASE("a stop can be asked for as an error") {
  scripted_executor test;
  counter tokens;
  std::string thrown;
  std::string returned;
  auto throws = test.loop.start(take_and_hear_of_a_stop(tokens, thrown));
  auto returns = test.loop.start(take_result_and_hear_of_a_stop(tokens, returned));
  test.loop.run_ready();

  test.stop(throws);
  test.stop(returns);

  CHECK(thrown.starts_with("token"));
  CHECK(returned == std::make_error_code(std::errc::operation_canceled).message());
}

test::foreign_task take_as_another_library(counter& from) { co_return co_await from.take(); }

task<> await_another_library(counter& from, int& got) {
  try {
    got = co_await take_as_another_library(from);
  } catch (const std::system_error&) {
    got = -1;
  }
}

TEST_CASE("a coroutine of another library waits too, and hears of a stop as an error") {
  scripted_executor test;
  scripted_executor elsewhere;
  counter tokens;
  int got = 0;
  auto waits = test.loop.start(await_another_library(tokens, got));
  test.loop.run_ready();

  SUBCASE("granted") {
    tokens.give();
    test.loop.run_ready();
    CHECK(got == 7);
  }
  SUBCASE("granted from elsewhere") {
    auto gives = elsewhere.loop.start(give_one(tokens));
    elsewhere.loop.run_ready();
    test.loop.run_ready();
    CHECK(got == 7);
  }
  SUBCASE("stopped") {
    test.stop(waits);
    CHECK(got == -1);
  }
}

TEST_CASE("diagnosis tells once of a wait whose grant has just arrived from elsewhere") {
  scripted_executor test;
  counter tokens;
  int got = 0;
  auto waits = test.loop.start(await_another_library(tokens, got));
  test.loop.run_ready();

  tokens.give();
  test.loop.turn(/*may_park=*/false);  // takes what was posted, and runs it in the next

  const std::string tree = dump_tasks(test.loop);
  REQUIRE(got == 0);
  CHECK(tree.find("token for 0.0 s") != std::string::npos);
  CHECK(tree.find("a coroutine of another library") == tree.rfind("a coroutine of another library"));
  test.loop.run_ready();
  CHECK(got == 7);
}

TEST_CASE("diagnosis shows a wait by its name, and as about to run once it is granted") {
  scripted_executor test;
  counter tokens;
  std::string told;
  auto waits = test.loop.start(take_one(tokens, told, 'a'));
  test.loop.run_ready();
  CHECK(dump_tasks(test.loop).find(": token for 0.0 s") != std::string::npos);

  test.loop.post([&] {
    tokens.give();
    told = dump_tasks(test.loop);
  });
  test.loop.turn(/*may_park=*/false);
  test.loop.turn(/*may_park=*/false);

  CHECK(told.find("runs, or is about to") != std::string::npos);
  test.loop.run_ready();
}

}  // namespace
}  // namespace gyre
