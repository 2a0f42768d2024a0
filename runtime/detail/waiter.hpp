// SPDX-License-Identifier: MIT
// Something that a coroutine waits for inside a cancel scope: the common part of operations, sleeps and locks.
//
// A waiter lives in the awaiting frame. From begin() to settle() it is in its scope's list, where a cancel finds it; from
// settle() until it runs it is in the executor's ready queue; then the coroutine resumes, or is unwound as stopped.
//
//   idle -> waiting -> ready -> done
//
// All of it happens on the executor's thread.
#pragma once

#include <gyre/runtime/assert.hpp>
#include <gyre/runtime/detail/intrusive.hpp>
#include <gyre/runtime/detail/promise_base.hpp>
#include <gyre/runtime/detail/runnable.hpp>

#include <concepts>
#include <coroutine>
#include <cstdint>
#include <utility>

namespace gyre {
class executor;
}

namespace gyre::detail {

class waiter;

struct waiter_kind : runnable_kind {
  /// The scope was cancelled while it waits: see that it settles soon. Never runs user code, and must not settle any
  /// other waiter.
  void (*cancel)(waiter& self) noexcept;

  /// What is waited for, for people: "recv", "sleep".
  const char* name;
};

template <class Promise>
concept gyre_promise = std::derived_from<Promise, promise_base>;

class waiter : public runnable, public ring_links {
 public:
  /// Where the coroutine stands, for diagnosis; null for a coroutine of somebody else's type.
  [[nodiscard]] const promise_base* promise() const noexcept { return foreign_ ? nullptr : &promise_of(awaiter_); }
  [[nodiscard]] const char* name() const noexcept { return static_cast<const waiter_kind*>(kind)->name; }

  /// When the wait began, in milliseconds of the executor's clock, to the accuracy of its turns.
  [[nodiscard]] std::uint32_t since_ms() const noexcept { return since_ms_; }

  // A stop arrives as the error operation_canceled instead of unwinding: stopped_as_error(), and coroutines of somebody
  // else's type.
  void deliver_stop_as_error() noexcept { stop_as_error_ = true; }

  void cancel() noexcept { static_cast<const waiter_kind*>(kind)->cancel(*this); }

 protected:
  enum class phase : std::uint8_t { idle, waiting, ready, done };

  explicit waiter(const waiter_kind& its_kind) noexcept : runnable{its_kind} {}
  ~waiter() { GYRE_ASSERT(phase_ == phase::idle || phase_ == phase::done, "destroyed while a coroutine waits in it"); }

  /// Notes who waits and enters its scope's list. When the scope is already cancelled it settles as stopped at once and
  /// returns false: then there is nothing to wait for.
  template <class Promise>
  bool begin(std::coroutine_handle<Promise> awaiter) noexcept {
    if constexpr (gyre_promise<Promise>) {
      return enter_scope(awaiter, *awaiter.promise().scope);
    } else {
      foreign_ = stop_as_error_ = true;
      return enter_scope(awaiter, foreign_scope());
    }
  }

  /// Ends the wait: leaves the scope and queues the coroutine. `stopped`: it is unwound instead of resumed.
  void settle(bool stopped) noexcept;

  /// The scope that a coroutine of somebody else's type is in: that of the gyre coroutine that awaits it.
  static cancel_scope& foreign_scope() noexcept;

  /// Resumes or unwinds: the `run` of every waiter kind.
  static void run(runnable& self) noexcept;

  [[nodiscard]] bool stopped() const noexcept { return stopped_; }
  [[nodiscard]] bool stop_is_error() const noexcept { return stop_as_error_; }

  std::coroutine_handle<> awaiter_;
  cancel_scope* scope_ = nullptr;
  std::uint32_t since_ms_ = 0;
  phase phase_ = phase::idle;
  bool stopped_ = false;
  bool stop_as_error_ = false;
  bool foreign_ = false;

 private:
  bool enter_scope(std::coroutine_handle<> awaiter, cancel_scope& scope) noexcept;
};

}  // namespace gyre::detail
