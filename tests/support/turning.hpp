// SPDX-License-Identifier: MIT
// Root tasks that a test drives by hand.
#pragma once

#include <gyre/runtime/executor.hpp>
#include <gyre/runtime/task.hpp>

namespace gyre::test {

/// Turns, and sleeps in between, until the task has ended.
template <class T>
void turn_until_done(executor& loop, const root_task<T>& root) {
  while (!root.done()) loop.turn(/*may_park=*/true);
}

/// Cancels the other when its turn comes.
inline task<> cancel_other(root_task<void>& other) {
  other.cancel();
  co_return;
}

}  // namespace gyre::test
