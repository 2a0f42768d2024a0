// SPDX-License-Identifier: MIT
// A movable deadline is destroyed while an operation waits with it: a move would go into memory that is gone.
// must say: a movable deadline outlives what it limits
#include <gyre/runtime/deadline.hpp>
#include <gyre/runtime/ops/timeout.hpp>
#include <gyre/runtime/task_group.hpp>
#include <gyre/runtime/this_task.hpp>

#include <optional>

using namespace std::chrono_literals;

gyre::task<> wait_until(gyre::movable_deadline<>& idle) { co_await gyre::with_deadline(idle, gyre::ops::timeout(1h)); }

int main() {
  gyre::executor loop;
  loop.run([]() -> gyre::task<> {
    std::optional<gyre::movable_deadline<>> idle{std::in_place, 1h};
    co_await gyre::with_task_group([&](gyre::task_group& group) -> gyre::task<> {
      group.start(wait_until(*idle));
      co_await gyre::this_task::yield();
      co_await gyre::this_task::yield();
      idle.reset();  // must stop here
    });
  });
}
