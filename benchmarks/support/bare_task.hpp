// SPDX-License-Identifier: MIT
// The least that a lazy coroutine type can be: a result, who awaits it, and a frame from the heap.
//
// It knows no executor, cannot be stopped, and loses exceptions: the floor for what gyre::task adds.
#pragma once

#include <coroutine>
#include <exception>
#include <utility>

namespace bench {

template <class T>
class [[nodiscard]] bare_task {
 public:
  struct promise_type {
    bare_task get_return_object() noexcept {
      return bare_task{std::coroutine_handle<promise_type>::from_promise(*this)};
    }
    std::suspend_always initial_suspend() const noexcept { return {}; }
    struct to_awaiter {
      to_awaiter() noexcept {}
      bool await_ready() const noexcept { return false; }
      std::coroutine_handle<> await_suspend(std::coroutine_handle<promise_type> ended) const noexcept {
        return ended.promise().awaiter;
      }
      void await_resume() const noexcept {}
    };
    to_awaiter final_suspend() const noexcept { return {}; }
    void return_value(T value) noexcept { result = value; }
    void unhandled_exception() const noexcept { std::terminate(); }

    std::coroutine_handle<> awaiter = std::noop_coroutine();
    T result{};
  };

  bare_task(bare_task&& other) noexcept : frame_{std::exchange(other.frame_, nullptr)} {}
  bare_task& operator=(bare_task&&) = delete;
  ~bare_task() {
    if (frame_) frame_.destroy();
  }

  bool await_ready() const noexcept { return false; }
  std::coroutine_handle<> await_suspend(std::coroutine_handle<> awaiter) const noexcept {
    frame_.promise().awaiter = awaiter;
    return frame_;
  }
  T await_resume() const noexcept { return frame_.promise().result; }

  // Runs the coroutine, which must not suspend for anything but other bare tasks, to its end.
  T run() const {
    frame_.resume();
    return frame_.promise().result;
  }

 private:
  explicit bare_task(std::coroutine_handle<promise_type> frame) noexcept : frame_{frame} {}

  std::coroutine_handle<promise_type> frame_;
};

}  // namespace bench
