// SPDX-License-Identifier: MIT
// A thread starts a task in a group of an executor that it does not run, instead of posting what starts it.
// must say: a task is started on its group's executor
#include <gyre/runtime/executor.hpp>
#include <gyre/runtime/task_group.hpp>

#include <thread>

gyre::task<> nothing() { co_return; }

int main() {
  gyre::executor loop;
  loop.run([]() -> gyre::task<> {
    co_await gyre::with_task_group([](gyre::task_group& group) -> gyre::task<> {
      std::thread{[&] { group.start(nothing()); }}.join();  // must stop here
      co_return;
    });
  });
}
