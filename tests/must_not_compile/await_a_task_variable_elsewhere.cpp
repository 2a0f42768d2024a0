// SPDX-License-Identifier: MIT
// The same in a coroutine of another library, whose co_await finds the operator of the task.
// must say: a task is awaited once and given away: co_await std::move(it)
#include <gyre/runtime/task.hpp>

#include "../support/foreign_task.hpp"

gyre::task<int> number();

gyre::test::foreign_task awaits() {
  auto later = number();
  co_return co_await later;
}
