// SPDX-License-Identifier: MIT
// Something that a coroutine waits for inside a cancel scope: the common part of operations, sleeps and locks.
//
// A waiter lives in the awaiting frame. From begin() until it runs, the boundary above the coroutine points to it, so that a cancel of the
// scope finds it. settle() ends the wait and puts it in the executor's ready queue; when it runs, the coroutine resumes, or is
// unwound as stopped. All of it happens on the executor's thread.
//
//   idle -> waiting -> ready -> done          locks, sleeps, streams
//   idle -> queued -> in_kernel -> …          operations: see operation.hpp
#pragma once

#include <gyre/runtime/assert.hpp>
#include <gyre/runtime/detail/promise_base.hpp>
#include <gyre/runtime/detail/runnable.hpp>

#include <concepts>
#include <coroutine>
#include <cstdint>

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

/// The boundary above the coroutines of somebody else's type that run now on this thread: that of the gyre coroutine which
/// awaits them.
[[nodiscard]] boundary& foreign_boundary() noexcept;

/// Has coroutines of somebody else's type that run below find `bound`.
void enter_foreign(boundary& bound) noexcept;

/// `bound` ends: nobody finds it any more.
void forget_foreign(boundary& bound) noexcept;

class waiter : public runnable {
 public:
  /// Where the coroutine stands, for diagnosis; null for a coroutine of somebody else's type.
  [[nodiscard]] const promise_base* promise() const noexcept { return (flags_ & foreign) != 0 ? nullptr : &promise_of(awaiter_); }
  [[nodiscard]] const char* name() const noexcept { return static_cast<const waiter_kind*>(kind)->name; }

  /// When the wait began, in milliseconds of the executor's clock, to the accuracy of its turns.
  [[nodiscard]] std::uint32_t since_ms() const noexcept { return since_ms_; }

  /// Whether it can still be cancelled: it has not settled.
  [[nodiscard]] bool is_waiting() const noexcept { return stage_ >= stage::waiting; }

  /// What else is waited for below the same boundary; null for nothing.
  [[nodiscard]] waiter* below() const noexcept { return below_; }

  void cancel() noexcept { static_cast<const waiter_kind*>(kind)->cancel(*this); }

  /// A stop arrives as the error operation_canceled instead of unwinding: for stopped_as_error(). Before it is awaited.
  void deliver_stop_as_error() noexcept { flags_ |= stop_as_error; }

 protected:
  // In order of what may be done: up to done it can be destroyed, from waiting on it can be cancelled.
  enum class stage : std::uint8_t { idle, done, ready, waiting, queued, in_kernel, cancel_queued, cancel_sent };

  // Bits of flags_.
  enum : std::uint8_t {
    stopped = 1,        // settled as stopped
    stop_as_error = 2,  // a stop resumes the coroutine
    foreign = 4,        // the coroutine is of somebody else's type
    expired = 8,        // operations: a deadline asked for the end
    linked = 16         // operations: a linked timeout goes with it
  };

  // Links and awaiter are set by begin(): whoever awaits pays for each store, and nobody looks before.
  explicit waiter(const waiter_kind& its_kind, std::uint8_t flags = 0) noexcept : runnable{its_kind}, stage_{stage::idle}, flags_{flags} {}
  ~waiter() { GYRE_ASSERT(stage_ <= stage::done, "an operation or a wait was destroyed in flight: its frame must stay until it has ended"); }

  /// Notes who waits, and where a cancel finds it. When the scope is already cancelled it settles as stopped at once and
  /// returns false: then there is nothing to wait for.
  template <class Promise>
  bool begin(std::coroutine_handle<Promise> awaiter) noexcept {
    return begin_below(awaiter, bound_of(awaiter));
  }

  template <class Promise>
  boundary& bound_of(std::coroutine_handle<Promise> awaiter) noexcept {
    if constexpr (gyre_promise<Promise>) {
      return *awaiter.promise().bound;
    } else {
      flags_ |= foreign | stop_as_error;
      return foreign_boundary();
    }
  }

  /// Ends the wait and queues the coroutine. `as_stopped`: it is unwound instead of resumed.
  void settle(bool as_stopped) noexcept;

  /// Resumes or unwinds: the `run` of every waiter kind.
  static void run(runnable& self) noexcept;

  [[nodiscard]] bool was_stopped() const noexcept { return (flags_ & stopped) != 0; }
  [[nodiscard]] cancel_scope& scope() const noexcept { return *bound_->scope; }
  [[nodiscard]] gyre::executor& loop() const noexcept;

  std::coroutine_handle<> awaiter_;
  boundary* bound_;
  waiter* below_;
  std::uint32_t since_ms_;
  stage stage_;
  std::uint8_t flags_;

 private:
  friend class gyre::executor;
  bool begin_below(std::coroutine_handle<> awaiter, boundary& bound) noexcept;
  void leave_boundary() noexcept;
};

}  // namespace gyre::detail
