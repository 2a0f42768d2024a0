// SPDX-License-Identifier: MIT
// A coroutine type that knows nothing of gyre, as another library would have it: it can await gyre's tasks and
// operations, and they can await it.
#pragma once

#include <coroutine>
#include <exception>
#include <utility>

namespace gyre::test {

/// A lazy coroutine that computes an int. Who awaits it, or start(), runs it; result() gives what came of it.
class [[nodiscard]] foreign_task {
 public:
  struct promise_type {
    struct final_awaiter {
      final_awaiter() noexcept {}
      bool await_ready() const noexcept { return false; }
      std::coroutine_handle<> await_suspend(std::coroutine_handle<promise_type> ended) noexcept {
        return ended.promise().awaiting;
      }
      void await_resume() const noexcept {}
    };

    foreign_task get_return_object() noexcept {
      return foreign_task{std::coroutine_handle<promise_type>::from_promise(*this)};
    }
    std::suspend_always initial_suspend() noexcept { return {}; }
    final_awaiter final_suspend() noexcept { return {}; }
    void return_value(int returned) noexcept { value = returned; }
    void unhandled_exception() noexcept { error = std::current_exception(); }

    std::coroutine_handle<> awaiting = std::noop_coroutine();
    std::exception_ptr error;
    int value = 0;
  };

  foreign_task(foreign_task&& other) noexcept : frame_{std::exchange(other.frame_, nullptr)} {}
  foreign_task& operator=(foreign_task&&) = delete;
  ~foreign_task() {
    if (frame_) frame_.destroy();
  }

  bool await_ready() const noexcept { return false; }
  std::coroutine_handle<> await_suspend(std::coroutine_handle<> awaiting) noexcept {
    frame_.promise().awaiting = awaiting;
    return frame_;
  }
  int await_resume() {
    if (frame_.promise().error) std::rethrow_exception(frame_.promise().error);
    return frame_.promise().value;
  }

 private:
  explicit foreign_task(std::coroutine_handle<promise_type> frame) noexcept : frame_{frame} {}

  std::coroutine_handle<promise_type> frame_;
};

}  // namespace gyre::test
