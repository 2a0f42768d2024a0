// SPDX-License-Identifier: MIT
// An awaitable of another library that suspends that library's coroutines only.
// must say: its await_suspend() does not take a coroutine of gyre's, but only those of its own library
#include <gyre/runtime/task.hpp>

#include <coroutine>

struct their_promise;

struct their_own {
  bool await_ready() const noexcept;
  void await_suspend(std::coroutine_handle<their_promise> awaiting) noexcept;
  int await_resume() noexcept;
};

gyre::task<int> awaits() { co_return co_await their_own{}; }
