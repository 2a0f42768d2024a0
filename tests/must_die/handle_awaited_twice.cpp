// SPDX-License-Identifier: MIT
// A task's result is taken once: the second co_await of its handle has nothing to give.
// must say: a task's handle is awaited once
#include <gyre/runtime/executor.hpp>
#include <gyre/runtime/task_group.hpp>

gyre::task<int> one() { co_return 1; }

gyre::task<> twice(gyre::task_group& group) {
  auto handle = group.start_with_result(one());
  co_await handle;
  co_await handle;  // must stop here
}

int main() {
  gyre::executor loop;
  loop.run([]() -> gyre::task<> { co_await gyre::with_task_group(&twice); });
}
