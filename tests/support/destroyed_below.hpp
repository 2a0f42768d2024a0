// SPDX-License-Identifier: MIT
// How a coroutine of another type dies while it runs below a gyre task: for programs that must not survive that.
#pragma once

#include <gyre/runtime/executor.hpp>
#include <gyre/runtime/task.hpp>

#include "foreign_task.hpp"

#include <coroutine>

namespace gyre::test {

inline task<> begin_and_destroy(foreign_task (*begun)()) {
  auto body = begun();
  body.await_suspend(std::noop_coroutine()).resume();
  co_return;  // must stop here
}

/// Begins it below a task, and destroys it where it waits.
inline void destroy_while_it_runs(foreign_task (*begun)()) {
  executor loop;
  loop.run([begun]() -> task<> {
    co_await std::suspend_never{};  // something foreign, so that what is foreign below finds its scope
    co_await begin_and_destroy(begun);
  });
}

}  // namespace gyre::test
