// SPDX-License-Identifier: MIT
// A coroutine of another type dies while a gyre task that it awaits runs, and waits for nothing of gyre's.
// must say: a task was destroyed while it runs
#include <gyre/runtime/executor.hpp>

#include "../support/foreign_task.hpp"

#include <coroutine>

namespace {

gyre::task<> wait_for_ever() { co_await std::suspend_always{}; }

gyre::test::foreign_task await_it() {
  co_await wait_for_ever();
  co_return 1;
}

gyre::task<> begin_and_destroy() {
  auto body = await_it();
  body.await_suspend(std::noop_coroutine()).resume();
  co_return;  // must stop here
}

}  // namespace

int main() {
  gyre::executor loop;
  loop.run([]() -> gyre::task<> {
    co_await std::suspend_never{};  // something foreign, so that what is foreign below finds its scope
    co_await begin_and_destroy();
  });
}
