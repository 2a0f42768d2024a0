// SPDX-License-Identifier: MIT
// A group of at most no tasks: who waits for room in it would wait for ever.
// must say: a group of at most no tasks never has room
#include <gyre/runtime/executor.hpp>
#include <gyre/runtime/task_group.hpp>

gyre::task<> wait_for_room(gyre::task_group& group) {
  co_await group.room();  // must stop here
}

int main() {
  gyre::executor loop;
  loop.run([]() -> gyre::task<> { co_await gyre::with_task_group({.max_tasks = 0}, &wait_for_room); });
}
