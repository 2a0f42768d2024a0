// SPDX-License-Identifier: MIT
// Tasks that a test runs on the kernel, or drives by hand.
#pragma once

#include <gyre/runtime/executor.hpp>
#include <gyre/runtime/task.hpp>

#include "modes.hpp"

#include <utility>

namespace gyre::test {

/// What the task gives, on an executor of its own.
template <class T>
T run_now(task<T> body) {
  executor loop{options_under_test()};
  return loop.run(std::move(body));
}

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
