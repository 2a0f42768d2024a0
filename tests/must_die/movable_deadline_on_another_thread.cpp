// SPDX-License-Identifier: MIT
// A deadline is moved by a thread that is not its executor's, while an operation waits with it.
// must say: a deadline is moved on its executor's thread
#include <gyre/runtime/deadline.hpp>
#include <gyre/runtime/ops/timeout.hpp>
#include <gyre/runtime/task_group.hpp>
#include <gyre/runtime/this_task.hpp>

#include <thread>

using namespace std::chrono_literals;

gyre::task<> wait_until(gyre::movable_deadline<>& idle) { co_await gyre::with_deadline(idle, gyre::ops::timeout(1h)); }

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
