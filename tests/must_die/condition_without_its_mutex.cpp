// SPDX-License-Identifier: MIT
// A coroutine waits for a condition with a guard that holds nothing.
// must say: who waits for a condition holds its mutex
#include <gyre/runtime/executor.hpp>
#include <gyre/sync/condition_variable.hpp>

namespace {

gyre::task<> wait_for(gyre::sync::condition_variable& changed) {
  gyre::sync::mutex::guard held;
  co_await changed.wait(held);
}

}  // namespace

int main() {
  gyre::executor loop;
  gyre::sync::condition_variable changed;
  loop.run(wait_for(changed));
}
