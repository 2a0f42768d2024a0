// SPDX-License-Identifier: MIT
// A coroutine of another type dies while a gyre task that it awaits runs, and waits for nothing of gyre's.
// must say: a task was destroyed while it runs
#include <gyre/runtime/task.hpp>

#include "../support/destroyed_below.hpp"

#include <coroutine>

namespace {

gyre::task<> wait_for_ever() { co_await std::suspend_always{}; }

gyre::test::foreign_task await_it() {
  co_await wait_for_ever();
  co_return 1;
}

}  // namespace

int main() { gyre::test::destroy_while_it_runs(&await_it); }
