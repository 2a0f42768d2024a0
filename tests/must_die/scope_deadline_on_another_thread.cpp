// SPDX-License-Identifier: MIT
// A thread sets the deadline of a scope of an executor that it does not run: through the movable deadline of a task.
// must say: a scope's deadline is set and cleared on its executor's thread
#include <gyre/runtime/deadline.hpp>
#include <gyre/runtime/task_group.hpp>
#include <gyre/runtime/this_task.hpp>
#include <gyre/runtime/timer.hpp>

#include <thread>

using namespace std::chrono_literals;

gyre::task<> sleep() { co_await gyre::sleep_for(1h); }
gyre::task<> wait_until(gyre::movable_deadline<>& idle) { co_await gyre::with_deadline(idle, sleep()); }

int main() {
  gyre::executor loop;
  loop.run([]() -> gyre::task<> {
    gyre::movable_deadline idle{1h};
    co_await gyre::with_task_group([&](gyre::task_group& group) -> gyre::task<> {
      group.start(wait_until(idle));
      co_await gyre::this_task::yield();
      co_await gyre::this_task::yield();
      std::thread{[&] { idle.expires_at(std::chrono::steady_clock::now()); }}.join();  // must stop here
    });
  });
}
