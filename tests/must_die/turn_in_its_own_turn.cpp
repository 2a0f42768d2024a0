// SPDX-License-Identifier: MIT
// A coroutine turns the executor that it runs on, from inside the turn of another one.
// must say: an executor is not run in its own turn
#include <gyre/runtime/executor.hpp>
#include <gyre/runtime/ops/misc.hpp>

int main() {
  gyre::executor outer;
  outer.run([&]() -> gyre::task<> {
    co_await gyre::ops::nop();
    gyre::executor inner;
    inner.run([&]() -> gyre::task<> {
      outer.run_ready();  // must stop here
      co_return;
    });
  });
}
