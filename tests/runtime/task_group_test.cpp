// SPDX-License-Identifier: MIT
// Task groups: who is waited for, what a failure and a cancel do to whom, and that children cost no lasting memory.
#include <gyre/runtime/as_result.hpp>
#include <gyre/runtime/deadline.hpp>
#include <gyre/runtime/detail/frame_pool.hpp>
#include <gyre/runtime/log.hpp>
#include <gyre/runtime/ops/misc.hpp>
#include <gyre/runtime/scope.hpp>
#include <gyre/runtime/task_group.hpp>
#include <gyre/runtime/task_handle.hpp>
#include <gyre/runtime/timer.hpp>

#include "../support/branches.hpp"
#include "../support/captured_log.hpp"
#include "../support/foreign_task.hpp"
#include "../support/outcome.hpp"
#include "../support/scripted.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <sstream>
#include <stdexcept>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

namespace gyre {
namespace {

using namespace std::chrono_literals;
using namespace test;

task<> sleeps(outcome& noted, std::chrono::nanoseconds duration = 1h) {
  const stop_watch watch{noted};
  co_await sleep_for(duration);
  noted.how = ended::with_value;
}

task<> ends_at_once() { co_return; }

}  // namespace

TEST_CASE("a group ends when its body and all of its children have ended") {
  scripted_executor on;
  std::vector<outcome> noted(2);
  auto root = on.loop.start([](std::vector<outcome>& to) -> task<> {
    co_await with_task_group([&](task_group& group) -> task<> {
      group.start(sleeps(to[0], 10ms));
      group.start(sleeps(to[1], 20ms));
      CHECK(group.size() == 2);
      co_return;
    });
  }(noted));

  on.loop.run_ready();
  on.advance(10ms);
  CHECK(noted[0].how == ended::with_value);
  CHECK(!root.done());

  on.advance(10ms);
  CHECK(noted[1].how == ended::with_value);
  CHECK(failure_of(root) == 0);
}

TEST_CASE("a group without children ends with its body") {
  scripted_executor on;
  auto root = on.loop.start([]() -> task<> { co_await with_task_group([](task_group&) -> task<> { co_return; }); }());

  on.loop.run_ready();

  CHECK(failure_of(root) == 0);
}

TEST_CASE("a child begins soon, not inside start()") {
  scripted_executor on;
  bool begun = false;
  auto root = on.loop.start([](bool& b) -> task<> {
    co_await with_task_group([&](task_group& group) -> task<> {
      const auto begins = [](bool& noted) -> task<> {
        noted = true;
        co_return;
      };
      group.start(begins(b));
      CHECK(!b);
      co_return;
    });
  }(begun));

  on.loop.run_ready();

  CHECK(begun);
  CHECK(root.done());
}

TEST_CASE("start(callable) keeps a lambda's captures, and its arguments, as long as its coroutine") {
  scripted_executor on;
  std::string result;
  auto root = on.loop.start([](std::string& to) -> task<> {
    co_await with_task_group([&](task_group& group) -> task<> {
      const std::string captured = "a text that is too long to be kept inside the string";
      group.start(
          [captured, &to](const std::string& argument, int number) -> task<> {
            co_await sleep_for(10ms);
            to = captured + argument + std::to_string(number);
          },
          std::string{" and an argument that is as long as the captured one"}, 7);
      co_return;
    });
  }(result));

  on.loop.run_ready();
  on.advance(10ms);

  CHECK(result ==
        "a text that is too long to be kept inside the string and an argument that is as long as the captured one7");
}

// --------------------------------------------------------------------------------------------------- failures

TEST_CASE("the first child that fails cancels its siblings and the body, and its exception leaves the group") {
  scripted_executor on;
  std::vector<outcome> noted(2);
  auto root = on.loop.start([](std::vector<outcome>& to) -> task<> {
    co_await with_task_group([&](task_group& group) -> task<> {
      group.start(sleeps(to[0]));
      group.start(fails_after(1, 10ms));
      co_await sleeps(to[1]);
    });
  }(noted));
  on.loop.run_ready();

  on.advance(10ms);

  CHECK(noted[0].how == ended::stopped);
  CHECK(noted[1].how == ended::stopped);
  CHECK(failure_of(root) == 1);
}

TEST_CASE("a body that fails cancels the children, under either policy") {
  for (const auto policy : {cancel_siblings, log_and_continue}) {
    scripted_executor on;
    outcome noted;
    auto root = on.loop.start([](error_policy on_error, outcome& to) -> task<> {
      co_await with_task_group({.on_error = on_error}, [&](task_group& group) -> task<> {
        group.start(sleeps(to));
        co_await sleep_for(10ms);
        throw failure{2};
      });
    }(policy, noted));
    on.loop.run_ready();

    on.advance(10ms);

    CHECK(noted.how == ended::stopped);
    CHECK(failure_of(root) == 2);
  }
}

TEST_CASE("a child that is queued when another fails is not begun") {
  const captured_log logged;
  scripted_executor on;
  auto root = on.loop.start([]() -> task<> {
    co_await with_task_group([](task_group& group) -> task<> {
      group.start(fails_at_once(1));
      group.start([]() -> task<> {
        throw failure{3};
        co_return;
      });
      co_await sleep_for(1h);
    });
  }());

  on.loop.run_ready();

  CHECK(failure_of(root) == 1);
  CHECK(logged.text().empty());
}

TEST_CASE("a child that fails while its group is being cancelled is logged, and does not replace the first failure") {
  const captured_log logged;
  scripted_executor on;
  auto root = on.loop.start([]() -> task<> {
    co_await with_task_group([](task_group& group) -> task<> {
      group.start([]() -> task<> {
        bool stopped = false;
        try {
          co_await stopped_as_error(sleep_for(1h));
        } catch (const std::system_error&) {
          stopped = true;
        }
        if (stopped) throw failure{3};
      });
      group.start(fails_after(1, 10ms));
      co_return;
    });
  }());
  on.loop.run_ready();

  on.advance(10ms);

  CHECK(failure_of(root) == 1);
  CHECK(logged.text().find("failure 3") != std::string::npos);
}

TEST_CASE("with log_and_continue a child's failure is logged, and the others go on") {
  const captured_log logged;
  scripted_executor on;
  outcome noted;
  auto root = on.loop.start([](outcome& to) -> task<> {
    co_await with_task_group({.on_error = log_and_continue}, [&](task_group& group) -> task<> {
      group.start(fails_after(1, 10ms));
      group.start(fails_after(2, 20ms));
      group.start(sleeps(to, 30ms));
      co_return;
    });
  }(noted));

  for (int i = 0; i < 3; ++i) {
    on.loop.run_ready();
    on.script.advance(10ms);
  }
  on.loop.run_ready();

  CHECK(noted.how == ended::with_value);
  CHECK(failure_of(root) == 0);
  CHECK(logged.text().find("failure 1") != std::string::npos);
  CHECK(logged.text().find("failure 2") != std::string::npos);
}

TEST_CASE("a body's function that throws before it returns its task ends the group with that") {
  scripted_executor on;
  auto root = on.loop.start([]() -> task<> {
    co_await with_task_group([](task_group& group) -> task<> {
      group.start(ends_at_once());
      throw failure{4};
    });
  }());

  on.loop.run_ready();

  CHECK(failure_of(root) == 4);
}

// ---------------------------------------------------------------------------------------------------- cancels

namespace {

// A group with a body and two children that all sleep; whoever gets hold of `found` can cancel it.
task<> group_of_three(task_group*& found, std::vector<outcome>& noted) {
  co_await with_task_group([&](task_group& group) -> task<> {
    found = &group;
    group.start(sleeps(noted[1]));
    group.start(sleeps(noted[2]));
    co_await sleeps(noted[0]);
  });
}

}  // namespace

TEST_CASE("a group that is cancelled stops everybody in it, and ends normally") {
  scripted_executor on;
  std::vector<outcome> noted(3);
  task_group* group = nullptr;
  auto root = on.loop.start(group_of_three(group, noted));
  on.loop.run_ready();

  group->cancel();
  on.loop.run_ready();

  for (const auto& each : noted) CHECK(each.how == ended::stopped);
  CHECK(failure_of(root) == 0);
}

TEST_CASE("a cancel from outside stops everybody in a group, and goes on outwards") {
  scripted_executor on;
  std::vector<outcome> noted(3);
  task_group* group = nullptr;
  auto root = on.loop.start(group_of_three(group, noted));
  on.loop.run_ready();

  on.stop(root);

  for (const auto& each : noted) CHECK(each.how == ended::stopped);
  CHECK(failure_of(root) == -1);
}

TEST_CASE("the body, or a child, can cancel the group it is in") {
  for (const bool by_child : {true, false}) {
    CAPTURE(by_child);
    scripted_executor on;
    std::vector<outcome> noted(2);
    auto root = on.loop.start([](bool child_cancels, std::vector<outcome>& to) -> task<> {
      co_await with_task_group([&](task_group& group) -> task<> {
        const auto cancels = [&group](outcome& mine) -> task<> {
          const stop_watch watch{mine};
          co_await sleep_for(1ms);
          group.cancel();
          co_await ops::nop();
        };
        group.start(sleeps(to[0]));
        if (child_cancels) {
          group.start(cancels, std::ref(to[1]));
          co_await sleep_for(1h);
        } else {
          co_await cancels(to[1]);
        }
      });
    }(by_child, noted));
    on.loop.run_ready();

    on.advance(1ms);

    for (const auto& each : noted) CHECK(each.how == ended::stopped);
    CHECK(failure_of(root) == 0);
  }
}

TEST_CASE("a child that is queued when its group is cancelled is not begun: its arguments are destroyed") {
  scripted_executor on;
  outcome noted;
  const auto argument = std::make_shared<int>(1);
  auto root = on.loop.start([](outcome& to, std::shared_ptr<int> held) -> task<> {
    co_await with_task_group([&](task_group& group) -> task<> {
      const auto child = [](outcome& mine, std::shared_ptr<int>) { return sleeps(mine); };
      group.start(child(to, held));
      group.start([&to, held]() -> task<> { co_await sleeps(to); });
      group.cancel();
      co_return;
    });
  }(noted, argument));

  on.loop.run_ready();

  CHECK(noted.how == ended::not_begun);
  root.get();  // its own arguments go with it
  CHECK(argument.use_count() == 1);
}

TEST_CASE("a child that is started in a group that is cancelled is not begun either") {
  scripted_executor on;
  outcome noted;
  auto root = on.loop.start([](outcome& to) -> task<> {
    co_await with_task_group([&](task_group& group) -> task<> {
      group.cancel();
      group.start(sleeps(to));
      co_return;
    });
  }(noted));

  on.loop.run_ready();

  CHECK(noted.how == ended::not_begun);
  CHECK(failure_of(root) == 0);
}

TEST_CASE("a failure wins over a stop from outside: nobody loses an exception to a shutdown") {
  scripted_executor on;
  outcome noted;
  auto root = on.loop.start([](outcome& to) -> task<> {
    co_await with_task_group([&](task_group& group) -> task<> {
      group.start(fails_after(5, 10ms));
      co_await sleeps(to);
    });
  }(noted));
  on.loop.run_ready();

  on.script.advance(10ms);
  on.loop.turn(/*may_park=*/false);  // the sleep of the child is over, the child not resumed
  on.stop(root);

  CHECK(noted.how == ended::stopped);
  CHECK(failure_of(root) == 5);
}

TEST_CASE(
    "groups nest: an inner one that is cancelled leaves the outer one alone, an outer one takes the inner along") {
  for (const bool cancel_inner : {true, false}) {
    CAPTURE(cancel_inner);
    scripted_executor on;
    std::vector<outcome> noted(3);
    outcome outer_child;
    task_group* inner = nullptr;
    task_group* outer = nullptr;
    auto root =
        on.loop.start([](task_group*& in, task_group*& out, std::vector<outcome>& to, outcome& other) -> task<> {
          co_await with_task_group([&](task_group& group) -> task<> {
            out = &group;
            group.start(sleeps(other, 10ms));
            co_await group_of_three(in, to);
          });
        }(inner, outer, noted, outer_child));
    on.loop.run_ready();

    (cancel_inner ? inner : outer)->cancel();
    on.loop.run_ready();

    for (const auto& each : noted) CHECK(each.how == ended::stopped);
    CHECK(outer_child.how == (cancel_inner ? ended::not_yet : ended::stopped));
    CHECK(root.done() == !cancel_inner);
    on.advance(10ms);
    CHECK(failure_of(root) == 0);
  }
}

TEST_CASE("a child can start siblings, and the group waits for them") {
  scripted_executor on;
  int ended_count = 0;
  auto root = on.loop.start([](int& count) -> task<> {
    co_await with_task_group([&](task_group& group) -> task<> {
      const auto grows = [](task_group& its_group, int& ended_so_far, int generations, auto self) -> task<> {
        if (generations > 0) {
          its_group.start(self(its_group, ended_so_far, generations - 1, self));
          its_group.start(self(its_group, ended_so_far, generations - 1, self));
        }
        co_await sleep_for(0ns);
        ++ended_so_far;
      };
      group.start(grows(group, count, 9, grows));
      co_return;
    });
  }(ended_count));

  on.loop.run_ready();

  CHECK(root.done());
  CHECK(ended_count == 1023);
}

// ----------------------------------------------------------------------------------------------------- memory

TEST_CASE("a million children, one after another, take no memory from the heap once the pool is warm") {
  constexpr int count = 1'000'000;
  executor loop;
  int ended_count = 0;
  std::uint64_t warm = 0;

  loop.run([&]() -> task<> {
    co_await with_task_group([&](task_group& group) -> task<> {
      for (int i = 0; i < count; ++i) {
        group.start([](int& to) -> task<> {
          ++to;
          co_return;
        }(ended_count));
        co_await sleep_for(0ns);
        if (i == 10) warm = detail::frame_pool::mine().heap_allocations();
      }
    });
  });

  CHECK(ended_count == count);
  CHECK(detail::frame_pool::mine().heap_allocations() == warm);
}

TEST_CASE("a hundred thousand children at once all run and end") {
  constexpr int count = 100'000;
  executor loop;
  int ended_count = 0;

  loop.run([&]() -> task<> {
    co_await with_task_group([&](task_group& group) -> task<> {
      const auto child = [](int& to) -> task<> {
        co_await ops::nop();
        ++to;
      };
      for (int i = 0; i < count; ++i) group.start(child(ended_count));
      co_return;
    });
  });

  CHECK(ended_count == count);
}

// ------------------------------------------------------------------------------------------------- a handler of errors

TEST_CASE("a handler hears of each child's failure, and the others go on") {
  scripted_executor on;
  std::vector<int> heard;
  outcome other;
  auto root = on.loop.start([](std::vector<int>& to, outcome& noted) -> task<> {
    const auto handler = [&](std::exception_ptr error) {
      try {
        std::rethrow_exception(error);
      } catch (const failure& known) {
        to.push_back(known.number);
      }
    };
    co_await with_task_group({.on_error = handler}, [&](task_group& group) -> task<> {
      group.start(fails_at_once(1));
      group.start(fails_after(2, 5ms));
      group.start(sleeps(noted, 10ms));
      co_return;
    });
  }(heard, other));
  on.loop.run_ready();
  on.advance(5ms);
  on.advance(5ms);

  CHECK(heard == std::vector{1, 2});
  CHECK(other.how == ended::with_value);
  CHECK(failure_of(root) == 0);
}

TEST_CASE("a handler can cancel the group, or start another child in it") {
  scripted_executor on;
  outcome sibling;
  outcome started;
  auto root = on.loop.start([](outcome& one, outcome& two) -> task<> {
    task_group* open = nullptr;
    const auto handler = [&](std::exception_ptr) {
      if (two.how == ended::not_begun) open->start(sleeps(two));
      else open->cancel("the handler has had enough");
    };
    co_await with_task_group({.on_error = handler}, [&](task_group& group) -> task<> {
      open = &group;
      group.start(sleeps(one));
      group.start(fails_after(1, 1ms));
      group.start(fails_after(2, 2ms));
      co_return;
    });
  }(sibling, started));
  on.loop.run_ready();

  on.advance(1ms);
  CHECK(started.how == ended::not_yet);
  on.advance(1ms);

  CHECK(sibling.how == ended::stopped);
  CHECK(started.how == ended::stopped);
  CHECK(failure_of(root) == 0);
}

TEST_CASE("what a handler throws is the failure of the group") {
  scripted_executor on;
  outcome sibling;
  auto root = on.loop.start([](outcome& noted) -> task<> {
    const auto handler = [](std::exception_ptr) { throw failure{9}; };
    co_await with_task_group({.on_error = handler}, [&](task_group& group) -> task<> {
      group.start(sleeps(noted));
      group.start(fails_at_once(1));
      co_return;
    });
  }(sibling));

  on.loop.run_ready();

  CHECK(sibling.how == ended::stopped);
  CHECK(failure_of(root) == 9);
}

TEST_CASE("a handler hears nothing of the body's failure, nor of children that are stopped") {
  scripted_executor on;
  int heard_count = 0;
  auto root = on.loop.start([](int& count) -> task<> {
    const auto handler = [&](std::exception_ptr) { ++count; };
    co_await with_task_group({.on_error = handler}, [&](task_group& group) -> task<> {
      group.start(ends_at_once());
      co_await sleep_for(1ms);
      throw failure{5};
    });
  }(heard_count));
  on.loop.run_ready();

  on.advance(1ms);

  CHECK(heard_count == 0);
  CHECK(failure_of(root) == 5);
}

// --------------------------------------------------------------------------------------------------------------- room

namespace {

// A coroutine that asks for room, notes its name, and starts a child that sleeps, or starts none.
task<> asks_for_room(task_group& group, int name, bool starts, std::vector<int>& noted) {
  co_await group.room();
  noted.push_back(name);
  if (starts) group.start([]() -> task<> { co_await sleep_for(10ms); });
}

// A group of at most `max_tasks` that others ask for room, from a group around it: they are no children of it.
struct crowded {
  explicit crowded(std::size_t max_tasks) : root{on.loop.start(run(*this, max_tasks))} { on.loop.run_ready(); }
  ~crowded() { on.stop(root); }

  static task<> run(crowded& self, std::size_t max_tasks) {
    co_await with_task_group({.max_tasks = max_tasks}, [&](task_group& inner) -> task<> {
      self.group = &inner;
      co_await with_task_group([&](task_group& asking) -> task<> {
        self.asking = &asking;
        co_await sleep_for(std::chrono::hours{1});
      });
    });
  }

  void ask(int name, bool starts = true) { asking->start(asks_for_room(*group, name, starts, noted)); }

  scripted_executor on{{}, one_at_a_time};
  task_group* group = nullptr;
  task_group* asking = nullptr;
  std::vector<int> noted;
  root_task<void> root;
};

}  // namespace

TEST_CASE("room() does not wait where there is room, nor in a group without a limit") {
  scripted_executor on;
  auto root = on.loop.start([]() -> task<> {
    for (const std::size_t max_tasks : {std::size_t{3}, task_group_options{}.max_tasks})
      co_await with_task_group({.max_tasks = max_tasks}, [](task_group& group) -> task<> {
        for (int i = 0; i < 3; ++i) {
          co_await group.room();
          group.start(ends_at_once());
        }
        CHECK(group.size() == 3);
      });
  }());

  on.loop.run_ready();

  CHECK(failure_of(root) == 0);
}

TEST_CASE("a loop of room() and start() never has more children than the limit, and starts them all") {
  scripted_executor on;
  std::size_t most = 0;
  int ended_count = 0;
  auto root = on.loop.start([](std::size_t& max_seen, int& count) -> task<> {
    co_await with_task_group({.max_tasks = 3}, [&](task_group& group) -> task<> {
      for (int i = 0; i < 20; ++i) {
        co_await group.room();
        group.start([&count, i]() -> task<> {
          co_await sleep_for(std::chrono::milliseconds{i % 4 + 1});
          ++count;
        });
        max_seen = std::max(max_seen, group.size());
      }
    });
  }(most, ended_count));

  on.script.on_sleep = [&] { on.script.advance_to_next_timeout(); };
  while (!root.done()) on.loop.turn(/*may_park=*/true);

  CHECK(most == 3);
  CHECK(ended_count == 20);
}

TEST_CASE("who asked for room first gets it first, and one place serves one") {
  crowded subject{1};
  for (int name : {1, 2, 3}) subject.ask(name);
  subject.on.loop.run_ready();
  CHECK(subject.noted == std::vector{1});

  subject.on.advance(10ms);
  CHECK(subject.noted == std::vector{1, 2});
  CHECK(subject.group->size() == 1);

  subject.on.advance(10ms);
  CHECK(subject.noted == std::vector{1, 2, 3});
}

TEST_CASE("several places that become free in one turn serve as many, in their order") {
  crowded subject{3};
  for (int name : {1, 2, 3, 4, 5, 6, 7}) subject.ask(name);
  subject.on.loop.run_ready();
  CHECK(subject.noted == std::vector{1, 2, 3});

  subject.on.advance(10ms);

  CHECK(subject.noted == std::vector{1, 2, 3, 4, 5, 6});
  CHECK(subject.group->size() == 3);
}

TEST_CASE("room that the one who got it does not use goes to the next in line") {
  crowded subject{1};
  subject.ask(1);
  subject.on.loop.run_ready();
  subject.ask(2, /*starts=*/false);
  subject.ask(3, /*starts=*/false);
  subject.ask(4);
  subject.ask(5);
  subject.on.loop.run_ready();

  subject.on.advance(10ms);

  CHECK(subject.noted == std::vector{1, 2, 3, 4});
  CHECK(subject.group->size() == 1);
}

TEST_CASE("who was offered room that somebody else took waits on, at its place in the line") {
  crowded subject{1};
  subject.ask(1);
  subject.on.loop.run_ready();
  subject.ask(2);
  subject.ask(3);
  subject.on.loop.run_ready();

  subject.on.script.advance(10ms);
  subject.on.loop.turn(/*may_park=*/false);  // the child's sleep has ended
  subject.on.loop.turn(/*may_park=*/false);  // the child has ended: 2 is offered its place
  subject.group->start([]() -> task<> { co_await sleep_for(1ms); });
  subject.on.loop.run_ready();
  CHECK(subject.noted == std::vector{1});

  subject.on.advance(1ms);
  CHECK(subject.noted == std::vector{1, 2});
  subject.on.advance(10ms);
  CHECK(subject.noted == std::vector{1, 2, 3});
}

TEST_CASE("who was offered room that is gone, in a scope that is cancelled by then, is stopped") {
  crowded subject{1};
  subject.ask(1);
  subject.on.loop.run_ready();
  subject.ask(2);
  subject.on.loop.run_ready();

  subject.on.script.advance(10ms);
  subject.on.loop.turn(/*may_park=*/false);
  subject.on.loop.turn(/*may_park=*/false);  // 2 is offered the place
  subject.group->start([]() -> task<> { co_await sleep_for(1ms); });
  subject.asking->cancel();
  subject.on.loop.run_ready();

  CHECK(subject.noted == std::vector{1});
  subject.on.advance(1ms);
  CHECK(failure_of(subject.root) == 0);
}

TEST_CASE("who is cancelled with an offer in hand takes it, and the next in line is not forgotten") {
  crowded subject{1};
  subject.ask(1);
  subject.on.loop.run_ready();
  cancel_scope* scope = nullptr;
  subject.asking->start([&]() -> task<> {
    (void)co_await with_cancel_scope([&](cancel_scope& mine) -> task<> {
      scope = &mine;
      co_await subject.group->room();
      co_await sleep_for(1h);
    });
  });
  subject.on.loop.run_ready();
  subject.ask(3);
  subject.on.loop.run_ready();

  subject.on.script.advance(10ms);
  subject.on.loop.turn(/*may_park=*/false);
  subject.on.loop.turn(/*may_park=*/false);
  scope->cancel();
  subject.on.loop.run_ready();

  CHECK(subject.noted == std::vector{1, 3});
}

TEST_CASE("who waits for room can be cancelled, in the middle of the line, too") {
  crowded subject{1};
  subject.ask(1);
  subject.on.loop.run_ready();
  std::vector<cancel_scope*> scopes;
  std::vector<outcome> noted(3);
  for (outcome& each : noted)
    subject.asking->start([&]() -> task<> {
      (void)co_await with_cancel_scope([&](cancel_scope& mine) -> task<> {
        scopes.push_back(&mine);
        co_await observe(subject.group->room(), each);
      });
    });
  subject.on.loop.run_ready();

  scopes[1]->cancel();
  scopes[0]->cancel();
  subject.on.loop.run_ready();
  CHECK(noted[0].how == ended::stopped);
  CHECK(noted[1].how == ended::stopped);
  CHECK(noted[2].how == ended::not_yet);

  subject.on.advance(10ms);
  CHECK(noted[2].how == ended::with_value);
}

TEST_CASE("room() in a cancelled scope is stopped, also where there is room; as an error if that was asked for") {
  scripted_executor on;
  outcome stopped;
  outcome error;
  auto root = on.loop.start([](outcome& one, outcome& two) -> task<> {
    co_await with_task_group({.max_tasks = 2}, [&](task_group& group) -> task<> {
      group.cancel();
      co_await observe(stopped_as_error(group.room()), two);
      co_await observe(group.room(), one);
    });
  }(stopped, error));

  on.loop.run_ready();

  CHECK(error.error == std::errc::operation_canceled);
  CHECK(stopped.how == ended::stopped);
  CHECK(failure_of(root) == 0);
}

TEST_CASE("start() does not wait for room: it makes the group larger, and room() waits until it is smaller again") {
  crowded subject{1};
  for (int i = 1; i <= 3; ++i)
    subject.group->start([i]() -> task<> { co_await sleep_for(std::chrono::milliseconds{i}); });
  CHECK(subject.group->size() == 3);
  CHECK(!subject.group->has_room());
  subject.ask(7);
  subject.on.loop.run_ready();

  subject.on.advance(2ms);
  CHECK(subject.noted.empty());
  subject.on.advance(1ms);
  CHECK(subject.noted == std::vector{7});
}

TEST_CASE("a coroutine of another type waits for room like any other") {
  crowded subject{1};
  subject.ask(1);
  subject.on.loop.run_ready();
  bool got_room = false;
  subject.asking->start([&]() -> task<> {
    const auto elsewhere = [&]() -> foreign_task {
      co_await subject.group->room();
      co_return 1;
    };
    got_room = co_await elsewhere() == 1;
  });
  subject.on.loop.run_ready();
  CHECK(!got_room);

  subject.on.advance(10ms);

  CHECK(got_room);
}

// ------------------------------------------------------------------------------------------------------------ results

namespace {

task<int> number(int value, std::chrono::nanoseconds after) {
  co_await sleep_for(after);
  co_return value;
}

task<int> number_at_once(int value) { co_return value; }

task<int> no_number(int failure_number, std::chrono::nanoseconds after) {
  co_await sleep_for(after);
  throw failure{failure_number};
}

}  // namespace

TEST_CASE("a handle gives the value of its task, before and after the task has ended, and beyond its group") {
  scripted_executor on;
  std::vector<int> got;
  auto root = on.loop.start([](std::vector<int>& to) -> task<> {
    std::optional<task_handle<int>> kept;
    co_await with_task_group([&](task_group& group) -> task<> {
      auto slow = group.start_with_result(number(1, 10ms));
      auto fast = group.start_with_result([](int value) { return number_at_once(value); }, 2);
      kept.emplace(group.start_with_result(number(3, 20ms)));
      CHECK(!slow.done());
      to.push_back(co_await slow);
      CHECK(fast.done());
      to.push_back(co_await fast);
      CHECK(group.size() == 1);
    });
    to.push_back(co_await std::move(*kept));
  }(got));

  on.script.on_sleep = [&] { on.script.advance_to_next_timeout(); };
  while (!root.done()) on.loop.turn(/*may_park=*/true);

  CHECK(failure_of(root) == 0);
  CHECK(got == std::vector{1, 2, 3});
}

TEST_CASE("a handle takes what can only be moved, references, and nothing at all") {
  scripted_executor on;
  int referred = 0;
  auto root = on.loop.start([](int& target) -> task<> {
    co_await with_task_group([&](task_group& group) -> task<> {
      auto owner = group.start_with_result([]() -> task<std::unique_ptr<int>> { co_return std::make_unique<int>(4); });
      auto reference = group.start_with_result([](int* to) -> task<int&> { co_return *to; }, &target);
      auto nothing = group.start_with_result(ends_at_once());
      target = *co_await owner;
      CHECK(&co_await reference == &target);
      co_await nothing;
    });
  }(referred));

  on.loop.run_ready();

  CHECK(failure_of(root) == 0);
  CHECK(referred == 4);
}

TEST_CASE("an exception goes to who awaits the handle, and the group's policy does not see it") {
  for (const auto after : {0ms, 10ms}) {
    CAPTURE(after.count());
    scripted_executor on;
    int caught = 0;
    outcome sibling;
    auto root = on.loop.start([](auto when, int& to, outcome& other) -> task<> {
      co_await with_task_group([&](task_group& group) -> task<> {
        group.start(sleeps(other, 20ms));
        auto handle = group.start_with_result(no_number(7, when));
        if (when == 0ms) co_await sleep_for(5ms);
        try {
          co_await handle;
        } catch (const failure& error) {
          to = error.number;
        }
      });
    }(after, caught, sibling));

    on.script.on_sleep = [&] { on.script.advance_to_next_timeout(); };
    while (!root.done()) on.loop.turn(/*may_park=*/true);

    CHECK(caught == 7);
    CHECK(sibling.how == ended::with_value);
    CHECK(failure_of(root) == 0);
  }
}

TEST_CASE("an exception that nobody awaits goes to the group's policy: at the child's end, or when the handle goes") {
  for (const bool handle_goes_first : {true, false}) {
    CAPTURE(handle_goes_first);
    scripted_executor on;
    outcome sibling;
    auto root = on.loop.start([](bool goes_first, outcome& other) -> task<> {
      co_await with_task_group([&](task_group& group) -> task<> {
        group.start(sleeps(other));
        {
          auto handle = group.start_with_result(no_number(7, 1ms));
          if (!goes_first) {
            co_await sleep_for(2ms);
            CHECK(handle.done());
            CHECK(!group.scope().stop_requested());
          }
        }
        CHECK(group.scope().stop_requested() == !goes_first);
        co_await sleep_for(1h);
      });
    }(handle_goes_first, sibling));
    on.loop.run_ready();
    on.advance(1ms);
    on.advance(1ms);

    CHECK(sibling.how == ended::stopped);
    CHECK(failure_of(root) == 7);
  }
}

TEST_CASE("an exception that nobody awaited before the group closed is logged when its handle goes") {
  captured_log log;
  scripted_executor on;
  auto root = on.loop.start([]() -> task<> {
    std::optional<task_handle<int>> kept;
    co_await with_task_group([&](task_group& group) -> task<> {
      kept.emplace(group.start_with_result(no_number(7, 1ms)));
      co_return;
    });
    CHECK(kept->done());
  }());
  on.loop.run_ready();

  on.advance(1ms);

  CHECK(failure_of(root) == 0);
  CHECK(log.text().find("failure 7") != std::string::npos);
}

TEST_CASE("a value that nobody wants is dropped, whoever goes first") {
  for (const bool handle_goes_first : {true, false}) {
    CAPTURE(handle_goes_first);
    scripted_executor on;
    const auto value = std::make_shared<int>(1);
    auto root = on.loop.start([](bool goes_first, std::shared_ptr<int> shared) -> task<> {
      co_await with_task_group([&](task_group& group) -> task<> {
        auto handle = group.start_with_result([&]() -> task<std::shared_ptr<int>> {
          co_await sleep_for(1ms);
          co_return shared;
        });
        if (!goes_first) co_await sleep_for(2ms);
      });
    }(handle_goes_first, value));
    on.script.on_sleep = [&] { on.script.advance_to_next_timeout(); };
    while (!root.done()) on.loop.turn(/*may_park=*/true);

    CHECK(failure_of(root) == 0);
    CHECK(value.use_count() == 1);
  }
}

TEST_CASE("who awaits a handle can be stopped, and the task goes on") {
  scripted_executor on;
  std::optional<int> got = 1;
  outcome child;
  auto root = on.loop.start([](std::optional<int>& to, outcome& noted) -> task<> {
    co_await with_task_group([&](task_group& group) -> task<> {
      auto handle = group.start_with_result([&]() -> task<int> {
        co_await sleeps(noted, 10ms);
        co_return 5;
      });
      to = co_await move_on_after(5ms, std::move(handle));
    });
  }(got, child));
  on.loop.run_ready();

  on.advance(5ms);
  CHECK(!got);
  CHECK(child.how == ended::not_yet);
  on.advance(5ms);

  CHECK(child.how == ended::with_value);
  CHECK(failure_of(root) == 0);
}

TEST_CASE("the end of the task and a cancel of who awaits it, in either order") {
  for (const bool cancel_first : {true, false}) {
    CAPTURE(cancel_first);
    scripted_executor on{{}, one_at_a_time};
    cancel_scope* scope = nullptr;
    std::optional<int> got;
    auto root = on.loop.start([](cancel_scope*& found, std::optional<int>& to) -> task<> {
      co_await with_task_group([&](task_group& group) -> task<> {
        auto handle = group.start_with_result(number(5, 10ms));
        to = co_await with_cancel_scope([&](cancel_scope& mine) -> task<int> {
          found = &mine;
          co_return co_await handle;
        });
      });
    }(scope, got));
    on.loop.run_ready();

    on.script.advance(10ms);
    if (cancel_first) scope->cancel();
    on.loop.turn(/*may_park=*/false);
    on.loop.turn(/*may_park=*/false);         // the task has ended, who awaits it is not resumed yet
    REQUIRE((cancel_first || !root.done()));  // else its scope is gone
    if (!cancel_first) scope->cancel();
    on.loop.run_ready();

    CHECK(root.done());
    CHECK(got.has_value() == !cancel_first);
  }
}

TEST_CASE(
    "a task that is stopped gives operation_canceled to who was not, and a handle in the group is stopped with it") {
  scripted_executor on;
  std::error_code shielded;
  std::error_code later;
  outcome inside;
  auto root = on.loop.start([](std::error_code& one, std::error_code& two, outcome& in) -> task<> {
    std::vector<task_handle<int>> handles;
    co_await with_task_group([&](task_group& group) -> task<> {
      for (int i = 0; i < 3; ++i) handles.push_back(group.start_with_result(number(i, 1h)));
      const auto awaits = [](task_handle<int>& handle, std::error_code& to) -> task<> {
        to = (co_await as_result(std::move(handle))).error();
      };
      group.start([&]() -> task<> { co_await shield(awaits(handles[0], one)); });
      group.start([&]() -> task<> { co_await observe(std::move(handles[1]), in); });
      co_await sleep_for(1ms);
      group.cancel();
    });
    two = (co_await as_result(std::move(handles[2]))).error();
  }(shielded, later, inside));
  on.loop.run_ready();

  on.advance(1ms);

  CHECK(failure_of(root) == 0);
  CHECK(shielded == std::errc::operation_canceled);
  CHECK(later == std::errc::operation_canceled);
  CHECK(inside.how == ended::stopped);
}

TEST_CASE("a task with a result that is started in a cancelled group does not begin, and its arguments are destroyed") {
  scripted_executor on;
  const auto argument = std::make_shared<int>(1);
  std::error_code error;
  auto root = on.loop.start([](std::shared_ptr<int> shared, std::error_code& to) -> task<> {
    std::optional<task_handle<int>> handle;
    co_await with_task_group([&](task_group& group) -> task<> {
      group.cancel();
      handle.emplace(group.start_with_result([](std::shared_ptr<int> held) { return number_at_once(*held); }, shared));
      auto dropped = group.start_with_result([](std::shared_ptr<int> held) { return number_at_once(*held); }, shared);
      co_return;
    });
    to = (co_await as_result(std::move(*handle))).error();
  }(argument, error));

  on.loop.run_ready();

  CHECK(failure_of(root) == 0);
  CHECK(error == std::errc::operation_canceled);
  CHECK(argument.use_count() == 1);
}

TEST_CASE("a coroutine of another type awaits a handle") {
  scripted_executor on;
  int got = 0;
  auto root = on.loop.start([](int& to) -> task<> {
    co_await with_task_group([&](task_group& group) -> task<> {
      auto handle = group.start_with_result(number(5, 1ms));
      const auto elsewhere = [&]() -> foreign_task { co_return co_await handle; };
      to = co_await elsewhere();
    });
  }(got));
  on.loop.run_ready();

  on.advance(1ms);

  CHECK(got == 5);
}

// ------------------------------------------------------------------------------------------------------------ memory

TEST_CASE("a million children, one after another, need the memory of a few") {
  constexpr int children_count = 1'000'000;
  scripted_executor on;
  int ended_count = 0;
  std::uint64_t taken_count = 0;
  auto root = on.loop.start([](int& count, std::uint64_t& taken) -> task<> {
    co_await with_task_group({.max_tasks = 100}, [&](task_group& group) -> task<> {
      for (int i = 0; i < children_count; ++i) {
        if (i == 1000) taken = detail::frame_pool::mine().heap_allocations();
        co_await group.room();
        if (i % 2 == 0)
          group.start([&]() -> task<> {
            ++count;
            co_return;
          });
        else (void)group.start_with_result([&]() -> task<int> { co_return ++count; });
      }
      taken = detail::frame_pool::mine().heap_allocations() - taken;
    });
  }(ended_count, taken_count));

  on.loop.run_ready();

  CHECK(failure_of(root) == 0);
  CHECK(ended_count == children_count);
  CHECK(taken_count == 0);
}

}  // namespace gyre
