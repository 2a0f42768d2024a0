// SPDX-License-Identifier: MIT
// Task groups: who is waited for, what a failure and a cancel do to whom, and that children cost no lasting memory.
#include <gyre/runtime/as_result.hpp>
#include <gyre/runtime/detail/frame_pool.hpp>
#include <gyre/runtime/log.hpp>
#include <gyre/runtime/ops/misc.hpp>
#include <gyre/runtime/scope.hpp>
#include <gyre/runtime/task_group.hpp>
#include <gyre/runtime/timer.hpp>

#include "../support/captured_log.hpp"
#include "../support/outcome.hpp"
#include "../support/scripted.hpp"

#include <doctest/doctest.h>

#include <chrono>
#include <memory>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

namespace gyre {
namespace {

using namespace std::chrono_literals;
using namespace test;

struct failure : std::runtime_error {
  explicit failure(int its_number) : runtime_error{"failure " + std::to_string(its_number)}, number{its_number} {}
  int number;
};

task<> sleeps(outcome& noted, std::chrono::nanoseconds duration = 1h) {
  const stop_watch watch{noted};
  co_await sleep_for(duration);
  noted.how = ended::with_value;
}

task<> fails(int number, std::chrono::nanoseconds after) {
  co_await sleep_for(after);
  throw failure{number};
}

task<> fails_at_once(int number) {
  throw failure{number};
  co_return;
}

task<> ends_at_once() { co_return; }

// Number of the failure that left the task; 0 when it ended well, -1 when it was stopped.
template <class T>
int failure_of(root_task<T>& root) {
  if (root.stopped()) return -1;
  try {
    root.get();
  } catch (const failure& error) {
    return error.number;
  }
  return 0;
}

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
  on.script.advance(10ms);
  on.loop.run_ready();
  CHECK(noted[0].how == ended::with_value);
  CHECK(!root.done());

  on.script.advance(10ms);
  on.loop.run_ready();
  CHECK(noted[1].how == ended::with_value);
  CHECK(failure_of(root) == 0);
}

TEST_CASE("a group without children ends with its body") {
  scripted_executor on;
  auto root = on.loop.start([]() -> task<> { co_await with_task_group([](task_group&) -> task<> { co_return; }); }());

  on.loop.run_ready();

  CHECK(failure_of(root) == 0);
}

TEST_CASE("a child begins in the next turn, not inside start()") {
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
  on.script.advance(10ms);
  on.loop.run_ready();

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
      group.start(fails(1, 10ms));
      co_await sleeps(to[1]);
    });
  }(noted));
  on.loop.run_ready();

  on.script.advance(10ms);
  on.loop.run_ready();

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

    on.script.advance(10ms);
    on.loop.run_ready();

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
      group.start(fails(1, 10ms));
      co_return;
    });
  }());
  on.loop.run_ready();

  on.script.advance(10ms);
  on.loop.run_ready();

  CHECK(failure_of(root) == 1);
  CHECK(logged.text().find("failure 3") != std::string::npos);
}

TEST_CASE("with log_and_continue a child's failure is logged, and the others go on") {
  const captured_log logged;
  scripted_executor on;
  outcome noted;
  auto root = on.loop.start([](outcome& to) -> task<> {
    co_await with_task_group({.on_error = log_and_continue}, [&](task_group& group) -> task<> {
      group.start(fails(1, 10ms));
      group.start(fails(2, 20ms));
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

  root.cancel();
  on.loop.run_ready();

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

    on.script.advance(1ms);
    on.loop.run_ready();

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
      group.start(fails(5, 10ms));
      co_await sleeps(to);
    });
  }(noted));
  on.loop.run_ready();

  on.script.advance(10ms);
  on.loop.turn(/*may_park=*/false);  // the sleep of the child is over, the child not resumed
  root.cancel();
  on.loop.run_ready();

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
    on.script.advance(10ms);
    on.loop.run_ready();
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

}  // namespace gyre
