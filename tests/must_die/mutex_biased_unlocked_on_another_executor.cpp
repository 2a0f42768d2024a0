// SPDX-License-Identifier: MIT
// A mutex that one executor uses alone is unlocked on another one.
// must say: a mutex is unlocked on the executor whose coroutine locked it
#include <gyre/runtime/executor.hpp>
#include <gyre/sync/mutex.hpp>

#include "../support/biased.hpp"

int main() {
  gyre::executor first;
  gyre::executor second;
  gyre::sync::mutex locked;
  gyre::test::bias(locked, first);
  first.run([&]() -> gyre::task<> {
    const auto held = co_await locked.lock();
    second.run([&]() -> gyre::task<> {
      locked.unlock();
      co_return;
    });
  });
}
