// SPDX-License-Identifier: MIT
// What a stop does to the coroutines that it takes down, and where it ends: scopes, shields, coroutines of other types.
#include <gyre/runtime/as_result.hpp>
#include <gyre/runtime/cancel_scope.hpp>
#include <gyre/runtime/deadline.hpp>
#include <gyre/runtime/diagnosis.hpp>
#include <gyre/runtime/ops/misc.hpp>
#include <gyre/runtime/ops/socket.hpp>
#include <gyre/runtime/scope.hpp>
#include <gyre/runtime/timer.hpp>

#include "../support/foreign_task.hpp"
#include "../support/outcome.hpp"
#include "../support/scripted.hpp"
#include "../support/small_stack.hpp"

#include <doctest/doctest.h>
#include <liburing.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

namespace gyre {
namespace {

using namespace std::chrono_literals;
using namespace test;
using detail::scripted_ring;

constexpr int some_socket = 1'000'123;

// Notes its name when it is destroyed.
class farewell {
 public:
  farewell(std::string name, std::vector<std::string>& noted) : name_{std::move(name)}, noted_{noted} {}
  farewell(const farewell&) = delete;
  farewell& operator=(const farewell&) = delete;
  ~farewell() { noted_.push_back(name_); }

 private:
  std::string name_;
  std::vector<std::string>& noted_;
};

task<int> recv_four() {
  std::vector<std::byte> buffer(4);
  co_return static_cast<int>(co_await ops::recv(some_socket, buffer));
}

task<> leaf(std::vector<std::string>& noted) {
  const farewell outer{"leaf, first local", noted};
  const farewell inner{"leaf, second local", noted};
  co_await recv_four();
  noted.push_back("leaf went on");
}

task<> middle(std::vector<std::string>& noted) {
  const farewell local{"middle", noted};
  try {
    co_await leaf(noted);
  } catch (...) {
    noted.push_back("middle caught something");
  }
  noted.push_back("middle went on");
}

task<> top(std::vector<std::string>& noted) {
  const farewell local{"top", noted};
  co_await middle(noted);
  noted.push_back("top went on");
}

}  // namespace

// ------------------------------------------------------------------------------------------------------- a stop

TEST_CASE(
    "a stop runs every destructor once, innermost first, and nothing else: no catch, no code after the co_await") {
  scripted_executor on;
  std::vector<std::string> noted;
  auto root = on.loop.start(top(noted));
  on.loop.run_ready();

  root.cancel();
  on.loop.run_ready();

  CHECK(root.stopped());
  CHECK(noted == std::vector<std::string>{"leaf, second local", "leaf, first local", "middle", "top"});
  CHECK_THROWS_AS(root.get(), std::system_error);
}

TEST_CASE("a stop waits for the kernel: no destructor runs before the operation has ended") {
  scripted_executor on{{.on_cancel = scripted_ring::cancels::by_hand}};
  std::vector<std::string> noted;
  auto root = on.loop.start(top(noted));
  on.loop.run_ready();

  root.cancel();
  on.loop.run_ready();
  CHECK(noted.empty());

  on.script.complete(on.script.only(IORING_OP_RECV), -ECANCELED);
  on.loop.run_ready();
  CHECK(noted.size() == 4);
}

TEST_CASE("a stop takes down a million frames in the stack of one") {
  struct levels {
    static task<> below(int count, int& destroyed) {
      struct counts {
        int& destroyed;
        ~counts() { ++destroyed; }
      } const local{destroyed};
      if (count == 0) co_await recv_four();
      else co_await below(count - 1, destroyed);
    }
  };
  int destroyed = 0;

  on_a_small_stack([&] {
    scripted_executor on;
    auto root = on.loop.start(levels::below(1'000'000, destroyed));
    on.loop.run_ready();
    root.cancel();
    on.loop.run_ready();
  });

  CHECK(destroyed == 1'000'001);
}

TEST_CASE("a stop that rises through a hundred thousand scopes needs no more stack than one") {
  struct levels {
    static task<> below(int count) {
      if (count == 0) co_await recv_four();
      else co_await with_cancel_scope([count](cancel_scope&) { return below(count - 1); });
    }
  };
  bool stopped = false;

  on_a_small_stack([&] {
    scripted_executor on;
    auto root = on.loop.start(levels::below(100'000));
    on.loop.run_ready();
    root.cancel();
    on.loop.run_ready();
    stopped = root.stopped();
  });

  CHECK(stopped);
}

TEST_CASE("data that arrived in the turn of the cancel is delivered, and the next wait is stopped") {
  scripted_executor on;
  int received = 0;
  bool went_on = false;
  auto root = on.loop.start([](int& count, bool& after) -> task<> {
    count = co_await recv_four();
    co_await ops::nop();
    after = true;
  }(received, went_on));
  on.loop.run_ready();

  on.script.deliver(on.script.only(IORING_OP_RECV), "data");
  root.cancel();
  on.loop.run_ready();

  CHECK(received == 4);
  CHECK(root.stopped());
  CHECK(!went_on);
  CHECK(on.script.taken_count(IORING_OP_NOP) == 0);
}

TEST_CASE("a cancel is level-triggered: a task that never waited before is stopped at its first wait") {
  scripted_executor on;
  std::vector<std::string> noted;
  auto root = on.loop.start(top(noted));

  on.loop.root_scope().cancel();
  on.loop.run_ready();

  CHECK(root.stopped());
  CHECK(noted.size() == 4);
  CHECK(on.script.enters_count() == 0);
}

TEST_CASE("a task that waits for nothing ends with its value in a scope that is cancelled") {
  scripted_executor on;
  auto root = on.loop.start([]() -> task<int> { co_return 5; }());

  root.cancel();
  on.loop.run_ready();

  CHECK(root.get() == 5);
}

// ----------------------------------------------------------------------------------- coroutine types of others

namespace {

foreign_task foreign_that_notes(std::vector<std::string>& noted) {
  const farewell local{"foreign", noted};
  try {
    co_await leaf(noted);
  } catch (const std::system_error& error) {
    noted.push_back(error.code() == std::errc::operation_canceled ? "foreign caught the stop" : error.what());
  }
  co_return 1;
}

foreign_task foreign_that_rethrows(std::vector<std::string>& noted) {
  const farewell local{"foreign", noted};
  std::vector<std::byte> buffer(4);
  co_await ops::recv(some_socket, buffer);
  co_return 1;
}

task<> around_foreign(foreign_task (*make)(std::vector<std::string>&), std::vector<std::string>& noted) {
  const farewell local{"around", noted};
  try {
    co_await make(noted);
    noted.push_back("around went on");
  } catch (const std::system_error& error) {
    noted.push_back(error.code() == std::errc::operation_canceled ? "around caught the stop" : error.what());
  }
  co_await ops::nop();
  noted.push_back("around went on after a wait");
}

}  // namespace

TEST_CASE("in a coroutine of another type a stop is an exception, and what is below is taken down as ever") {
  scripted_executor on;
  std::vector<std::string> noted;
  auto root = on.loop.start(around_foreign(&foreign_that_notes, noted));
  on.loop.run_ready();

  root.cancel();
  on.loop.run_ready();

  CHECK(root.stopped());
  CHECK(noted == std::vector<std::string>{"leaf, second local", "leaf, first local", "foreign caught the stop",
                                          "foreign", "around went on", "around"});
}

TEST_CASE("a stop that a coroutine of another type does not catch rises through it as an exception") {
  scripted_executor on;
  std::vector<std::string> noted;
  auto root = on.loop.start(around_foreign(&foreign_that_rethrows, noted));
  on.loop.run_ready();

  root.cancel();
  on.loop.run_ready();

  CHECK(root.stopped());
  CHECK(noted == std::vector<std::string>{"foreign", "around caught the stop", "around"});
}

TEST_CASE("a coroutine of another type is in the scope of the task that awaits it, also after it has waited") {
  scripted_executor on;
  outcome noted;
  struct inner {
    static foreign_task waits_twice() {
      co_await ops::nop();
      std::vector<std::byte> buffer(4);
      co_await ops::recv(some_socket, buffer);
      co_return 0;
    }
    static task<> in_scope(cancel_scope*& found) {
      co_await with_cancel_scope([&found](cancel_scope& scope) -> task<> {
        found = &scope;
        co_await waits_twice();
      });
    }
  };
  cancel_scope* scope = nullptr;
  auto other = on.loop.start([]() -> task<> { co_await recv_four(); }());
  auto root = on.loop.start(inner::in_scope(scope));
  on.loop.run_ready();
  on.script.complete(on.script.only(IORING_OP_NOP), 0);
  on.loop.run_ready();
  REQUIRE(on.script.in_flight(IORING_OP_RECV).size() == 2);

  scope->cancel();
  on.loop.run_ready();

  CHECK(root.done());
  CHECK(!root.stopped());
  CHECK(!other.done());
  on.script.deliver(on.script.only(IORING_OP_RECV), "data");
  on.loop.run_ready();
}

// ------------------------------------------------------------------------------------------- with_cancel_scope()

TEST_CASE("with_cancel_scope() gives what its task returns") {
  scripted_executor on;
  auto root = on.loop.start([]() -> task<int> {
    const auto value = co_await with_cancel_scope([](cancel_scope&) { return recv_four(); });
    const bool whole = co_await with_cancel_scope([](cancel_scope&) -> task<> { co_return; });
    co_return whole ? value.value_or(-1) : -2;
  }());
  on.loop.run_ready();

  on.script.deliver(on.script.only(IORING_OP_RECV), "data");
  on.loop.run_ready();

  CHECK(root.get() == 4);
}

TEST_CASE("a scope that is cancelled absorbs its own stop, and tells of it") {
  scripted_executor on;
  cancel_scope* scope = nullptr;
  auto root = on.loop.start([](cancel_scope*& found) -> task<bool> {
    const auto value = co_await with_cancel_scope([&found](cancel_scope& mine) {
      found = &mine;
      return recv_four();
    });
    co_return value.has_value();
  }(scope));
  on.loop.run_ready();

  scope->cancel();
  on.loop.run_ready();

  CHECK(!root.stopped());
  CHECK(root.get() == false);
}

TEST_CASE("a task can cancel its own scope, and is stopped at its next wait") {
  scripted_executor on;
  bool went_on = false;
  auto root = on.loop.start([](bool& after) -> task<bool> {
    co_return co_await with_cancel_scope([&after](cancel_scope& mine) -> task<> {
      mine.cancel();
      co_await ops::nop();
      after = true;
    });
  }(went_on));

  on.loop.run_ready();

  CHECK(root.get() == false);
  CHECK(!went_on);
}

TEST_CASE("a value that crosses the cancel of its scope is delivered") {
  scripted_executor on;
  cancel_scope* scope = nullptr;
  auto root = on.loop.start([](cancel_scope*& found) -> task<int> {
    const auto value = co_await with_cancel_scope([&found](cancel_scope& mine) {
      found = &mine;
      return recv_four();
    });
    co_return value.value_or(-1);
  }(scope));
  on.loop.run_ready();

  on.script.deliver(on.script.only(IORING_OP_RECV), "data");
  scope->cancel();
  on.loop.run_ready();

  CHECK(root.get() == 4);
}

TEST_CASE("an exception leaves a scope, cancelled or not") {
  for (const bool cancelled : {true, false}) {
    scripted_executor on;
    auto root = on.loop.start([](bool cancels) -> task<> {
      co_await with_cancel_scope([cancels](cancel_scope& mine) -> task<> {
        if (cancels) mine.cancel();
        throw std::runtime_error{"as planned"};
        co_return;
      });
    }(cancelled));

    on.loop.run_ready();

    CHECK_THROWS_AS(root.get(), std::runtime_error);
  }
}

TEST_CASE("a function that throws before it returns its task throws in the awaiting coroutine") {
  scripted_executor on;
  auto root = on.loop.start([]() -> task<> {
    co_await with_cancel_scope([](cancel_scope&) -> task<> { throw std::runtime_error{"no task"}; });
  }());

  on.loop.run_ready();

  CHECK_THROWS_AS(root.get(), std::runtime_error);
}

namespace {

task<> three_scopes(std::vector<cancel_scope*>& scopes, std::vector<outcome>& noted) {
  const auto innermost = [&](cancel_scope& third) -> task<> {
    scopes.push_back(&third);
    co_await observe(recv_four(), noted[2]);
  };
  const auto inner = [&](cancel_scope& second) -> task<> {
    scopes.push_back(&second);
    const stop_watch watch{noted[1]};
    noted[1].how = co_await with_cancel_scope(innermost) ? ended::with_value : ended::with_error;
    co_await ops::nop();
  };
  const auto outer = [&](cancel_scope& first) -> task<> {
    scopes.push_back(&first);
    const stop_watch watch{noted[0]};
    noted[0].how = co_await with_cancel_scope(inner) ? ended::with_value : ended::with_error;
    co_await ops::nop();
  };
  co_await with_cancel_scope(outer);
}

}  // namespace

TEST_CASE("of nested scopes, the one that is cancelled is where the stop ends") {
  for (std::size_t cancelled = 0; cancelled < 3; ++cancelled) {
    CAPTURE(cancelled);
    scripted_executor on;
    on.script.answer = [](const auto& request) {
      return request.opcode == IORING_OP_NOP ? std::optional{0} : std::nullopt;
    };
    std::vector<cancel_scope*> scopes;
    std::vector<outcome> noted(3);
    auto root = on.loop.start(three_scopes(scopes, noted));
    on.loop.run_ready();
    REQUIRE(scopes.size() == 3);

    scopes[cancelled]->cancel();
    on.loop.run_ready();

    CHECK(root.done());
    CHECK(!root.stopped());
    CHECK(noted[2].how == ended::stopped);
    CHECK(noted[1].how == (cancelled == 2 ? ended::with_error : ended::stopped));
    CHECK(noted[0].how == (cancelled == 0 ? ended::stopped : cancelled == 1 ? ended::with_error : ended::with_value));
  }
}

TEST_CASE("of two cancelled scopes, inner first or outer first, the stop ends at the outer one") {
  for (const bool inner_first : {true, false}) {
    CAPTURE(inner_first);
    scripted_executor on{{.on_cancel = scripted_ring::cancels::by_hand}};
    std::vector<cancel_scope*> scopes;
    std::vector<outcome> noted(3);
    auto root = on.loop.start(three_scopes(scopes, noted));
    on.loop.run_ready();

    scopes[inner_first ? 2 : 0]->cancel();
    on.loop.run_ready();
    scopes[inner_first ? 0 : 2]->cancel();
    on.loop.run_ready();
    CHECK(on.script.taken_count(IORING_OP_ASYNC_CANCEL) == 1);
    on.script.complete(on.script.only(IORING_OP_RECV), -ECANCELED);
    on.loop.run_ready();

    CHECK(noted[1].how == ended::stopped);
    CHECK(noted[0].how == ended::stopped);
    CHECK(root.done());
    CHECK(!root.stopped());
  }
}

TEST_CASE("what waits in an executor's scope, and in the scopes inside it, is told and ends by its cancel") {
  scripted_executor on;
  auto root =
      on.loop.start([]() -> task<> { co_await with_cancel_scope([](cancel_scope&) { return recv_four(); }); }());
  auto other = on.loop.start([]() -> task<> { co_await sleep_for(1h); }());
  on.loop.run_ready();

  const std::string told = dump_tasks(on.loop);
  CHECK(told.find(": recv") != std::string::npos);
  CHECK(told.find(": sleep") != std::string::npos);

  on.loop.root_scope().cancel();
  on.loop.run_ready();
  CHECK(root.scope().empty());
  CHECK(other.scope().empty());
}

// --------------------------------------------------------------------------------------------------- shield()

TEST_CASE("a shielded task is not reached by cancels from outside, and the stop comes at the next wait after it") {
  scripted_executor on;
  int cleaned = 0;
  bool went_on = false;
  auto root = on.loop.start([](int& count, bool& after) -> task<> {
    count = co_await shield(recv_four());
    co_await ops::nop();
    after = true;
  }(cleaned, went_on));
  on.loop.run_ready();

  root.cancel();
  on.loop.run_ready();
  CHECK(!root.done());
  CHECK(on.script.taken_count(IORING_OP_ASYNC_CANCEL) == 0);

  on.script.deliver(on.script.only(IORING_OP_RECV), "data");
  on.loop.run_ready();
  CHECK(cleaned == 4);
  CHECK(root.stopped());
  CHECK(!went_on);
}

TEST_CASE("a shield can be begun in a scope that is cancelled already") {
  scripted_executor on;
  outcome noted;
  auto root = on.loop.start([](outcome& to) -> task<> { co_await observe(shield(ops::nop()), to); }(noted));

  root.cancel();
  on.loop.run_ready();
  on.script.complete(on.script.only(IORING_OP_NOP), 0);
  on.loop.run_ready();

  CHECK(noted.how == ended::with_value);
}

TEST_CASE("a scope inside a shield can be cancelled, and one around the shield does not reach it") {
  scripted_executor on;
  cancel_scope* scope = nullptr;
  outcome noted;
  auto root = on.loop.start([](cancel_scope*& found, outcome& to) -> task<> {
    const auto inside = [](cancel_scope*& f, outcome& t) -> task<> {
      const stop_watch watch{t};
      const bool whole = co_await with_cancel_scope([&f](cancel_scope& mine) -> task<> {
        f = &mine;
        co_await recv_four();
      });
      t.how = whole ? ended::with_value : ended::with_error;
    };
    co_await shield(inside(found, to));
  }(scope, noted));
  on.loop.run_ready();

  on.loop.root_scope().cancel();
  on.loop.run_ready();
  CHECK(noted.how == ended::not_yet);
  scope->cancel();
  on.loop.run_ready();

  CHECK(noted.how == ended::with_error);
  CHECK(root.done());
}

TEST_CASE("an exception leaves a shield") {
  scripted_executor on;
  auto root = on.loop.start([]() -> task<> {
    co_await shield([]() -> task<> {
      throw std::runtime_error{"as planned"};
      co_return;
    }());
  }());

  on.loop.run_ready();

  CHECK_THROWS_AS(root.get(), std::runtime_error);
}

}  // namespace gyre
