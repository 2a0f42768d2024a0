// SPDX-License-Identifier: MIT
// A coroutine of another type dies while it awaits tasks side by side: they would go on without an owner.
// must say: what runs side by side was destroyed while it runs
#include <gyre/runtime/executor.hpp>
#include <gyre/runtime/ops/misc.hpp>
#include <gyre/runtime/when_all.hpp>

#include "../support/foreign_task.hpp"

#include <coroutine>

namespace {

gyre::test::foreign_task await_both() {
  co_await gyre::when_all(gyre::ops::nop(), gyre::ops::nop());
  co_return 1;
}

gyre::task<> begin_and_destroy() {
  auto body = await_both();
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
