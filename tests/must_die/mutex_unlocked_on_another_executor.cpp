// SPDX-License-Identifier: MIT
// A guard is given up on another executor than that of the coroutine that locked, whom others wait for.
// must say: a mutex is unlocked on the executor whose coroutine locked it
#include <gyre/runtime/executor.hpp>
#include <gyre/sync/mutex.hpp>

namespace {

gyre::task<> lock_into(gyre::sync::mutex& locked, gyre::sync::mutex::guard& held) { held = co_await locked.lock(); }

gyre::task<> unlock(gyre::sync::mutex::guard& held) {
  held.unlock();
  co_return;
}

}  // namespace

int main() {
  gyre::executor first;
  gyre::executor second;
  gyre::sync::mutex locked;
  gyre::sync::mutex::guard held;
  gyre::sync::mutex::guard later;
  first.run(lock_into(locked, held));
  const auto waiting = first.start(lock_into(locked, later));
  first.run_ready();
  second.run(unlock(held));
}
