// SPDX-License-Identifier: MIT
// Cleanup that has to wait for something, and that a stop does not keep from being done.
//
// A stop destroys frames and resumes nobody. So what is to be cleaned up behind is awaited as a task whose stop is an
// error; then the cleanup runs in a shield; and then the stop goes on, at a checkpoint.
#pragma once

#include <gyre/runtime/as_result.hpp>
#include <gyre/runtime/scope.hpp>
#include <gyre/runtime/task.hpp>
#include <gyre/runtime/this_task.hpp>

#include <exception>
#include <utility>

namespace gyre::fs::detail {

/// Awaits `body`, and `undo` where that gave no value. A failure of `undo` is not told: there is one already.
template <class T>
task<T> or_undo(task<T> body, task<> undo) {
  std::exception_ptr failure;
  try {
    co_return co_await stopped_as_error(std::move(body));
  } catch (...) {
    failure = std::current_exception();
  }
  (void)co_await as_result(shield(std::move(undo)));
  co_await this_task::checkpoint();
  std::rethrow_exception(failure);
}

}  // namespace gyre::fs::detail
