// SPDX-License-Identifier: MIT
// The least that a coroutine which gives items to another one can be: the item, and who awaits it.
//
// It never ends, cannot wait for anything, and loses exceptions: the floor for what gyre::stream adds.
#pragma once

#include <coroutine>
#include <exception>
#include <utility>

namespace bench {

template <class T>
class [[nodiscard]] bare_generator {
 public:
  struct promise_type;
  using handle = std::coroutine_handle<promise_type>;

  struct to_awaiter {
    to_awaiter() noexcept {}
    bool await_ready() const noexcept { return false; }
    std::coroutine_handle<> await_suspend(handle yielding) const noexcept { return yielding.promise().awaiter; }
    void await_resume() const noexcept {}
  };

  struct promise_type {
    bare_generator get_return_object() noexcept { return bare_generator{handle::from_promise(*this)}; }
    std::suspend_always initial_suspend() const noexcept { return {}; }
    std::suspend_always final_suspend() const noexcept { return {}; }
    to_awaiter yield_value(T given) noexcept {
      item = given;
      return to_awaiter{};
    }
    void unhandled_exception() const noexcept { std::terminate(); }

    std::coroutine_handle<> awaiter;
    T item{};
  };

  class next_item {
   public:
    explicit next_item(handle from) noexcept : from_{from} {}
    bool await_ready() const noexcept { return false; }
    std::coroutine_handle<> await_suspend(std::coroutine_handle<> awaiting) const noexcept {
      from_.promise().awaiter = awaiting;
      return from_;
    }
    T await_resume() const noexcept { return from_.promise().item; }

   private:
    handle from_;
  };

  bare_generator(bare_generator&& other) noexcept : frame_{std::exchange(other.frame_, nullptr)} {}
  bare_generator& operator=(bare_generator&&) = delete;
  ~bare_generator() {
    if (frame_) frame_.destroy();
  }

  [[nodiscard]] next_item next() const noexcept { return next_item{frame_}; }

 private:
  explicit bare_generator(handle frame) noexcept : frame_{frame} {}

  handle frame_;
};

}  // namespace bench
