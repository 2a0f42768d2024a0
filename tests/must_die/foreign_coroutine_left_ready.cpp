// SPDX-License-Identifier: MIT
// A coroutine of another library is resumed by one below another task, waits there, and that task ends
// when the wait has ended and the coroutine has not gone on.
// must say: is about to go on below it
#include <gyre/runtime/executor.hpp>
#include <gyre/runtime/this_task.hpp>

#include "../support/foreign_task.hpp"

#include <coroutine>
#include <utility>

namespace {

using gyre::test::foreign_task;

// An event as another library would have it: who sets it resumes who waits, there and then.
struct event {
  event() noexcept = default;
  bool await_ready() const noexcept { return false; }
  void await_suspend(std::coroutine_handle<> awaiting) noexcept { waiting = awaiting; }
  void await_resume() const noexcept {}
  void set() { std::exchange(waiting, nullptr).resume(); }

  std::coroutine_handle<> waiting;
};

foreign_task wait_and_yield(event& happened) {
  co_await happened;
  co_await gyre::this_task::yield();
  co_return 1;
}

foreign_task set(event& happens) {
  happens.set();
  co_return 2;
}

gyre::task<> await_one(foreign_task body) { co_await std::move(body); }

}  // namespace

int main() {
  gyre::executor loop;
  event happened;
  auto waiter = loop.start(await_one(wait_and_yield(happened)));
  loop.run_ready();
  auto setter = loop.start(await_one(set(happened)));
  loop.run_ready();  // must stop here
}
