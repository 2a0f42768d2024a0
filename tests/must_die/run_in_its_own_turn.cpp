// SPDX-License-Identifier: MIT
// A coroutine runs another task by its own executor's run() instead of awaiting it.
// must say: an executor is not run in its own turn
#include <gyre/runtime/executor.hpp>
#include <gyre/runtime/ops/misc.hpp>

int main() {
  gyre::executor loop;
  loop.run([&]() -> gyre::task<> {
    loop.run([]() -> gyre::task<> { co_await gyre::ops::nop(); });  // must stop here
    co_return;
  });
}
