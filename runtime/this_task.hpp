// SPDX-License-Identifier: MIT
// What a coroutine can ask about itself, and two ways to give way: its scope, its deadline, yield() and checkpoint().
//
// All of these are awaited, also those that never suspend: an executor does not note which coroutine it runs, since
// every resume would pay for that. A co_await hands the coroutine over, and with it its scope.
#pragma once

#include <gyre/runtime/cancel_scope.hpp>
#include <gyre/runtime/detail/waiter.hpp>
#include <gyre/runtime/error.hpp>
#include <gyre/runtime/executor.hpp>
#include <gyre/runtime/result.hpp>
#include <gyre/runtime/task.hpp>

#include <cerrno>
#include <chrono>
#include <coroutine>
#include <cstdint>
#include <optional>

namespace gyre {
namespace detail {

/// Reads something of the scope that the awaiting coroutine is in. Never suspends.
template <class T, T (*Read)(cancel_scope& scope) noexcept>
class scope_query {
 public:
  using gyre_awaitable = void;

  scope_query() noexcept {}
  bool await_ready() const noexcept { return false; }

  template <class Promise>
  bool await_suspend(std::coroutine_handle<Promise> asking) noexcept {
    scope_ = &awaiting_coroutine{asking}.scope();
    return false;
  }
  T await_resume() const noexcept { return Read(*scope_); }

 private:
  cancel_scope* scope_ = nullptr;
};

inline cancel_scope& read_scope(cancel_scope& scope) noexcept { return scope; }
inline bool read_stop_requested(cancel_scope& scope) noexcept { return scope.stop_requested(); }
inline std::optional<std::chrono::steady_clock::time_point> read_deadline(cancel_scope& scope) noexcept {
  return scope.nearest_deadline();
}

}  // namespace detail

/// The wait of this_task::yield() and this_task::checkpoint(): for nothing at all.
///
///   idle -> ready -> done              nothing is out of the ordinary: straight into the ready queue
///   idle -> waiting -> ready -> done   its scope is cancelled, or the coroutine is of somebody else's type
///   idle -> done                       a checkpoint in a scope that is not cancelled
class [[nodiscard]] yield_operation final : public detail::waiter {
 public:
  enum class when : std::uint8_t { always, when_stopped };

  explicit yield_operation(when suspends) noexcept : waiter{kind_of(suspends)}, suspends_{suspends} {}
  yield_operation(yield_operation&& other) noexcept
      : waiter{kind_of(other.suspends_), other}, suspends_{other.suspends_} {}

  bool await_ready() const noexcept { return false; }

  template <class Promise>
  bool await_suspend(std::coroutine_handle<Promise> awaiter) noexcept {
    detail::boundary& bound = bound_of(awaiter);
    gyre::executor* const loop = detail::current_executor;
    const bool plain = loop == bound.undisturbed_on && is_plainly(stage::idle);
    if (!plain) [[unlikely]]
      return suspend_with_care(awaiter, bound);
    if (suspends_ == when::when_stopped) return false;
    set_coroutine(awaiter);
    set_plainly(stage::ready);
    loop->make_ready_next_turn(*this);
    return true;
  }

  /// Throws operation_canceled when the stop was asked for as an error: stopped_as_error().
  void await_resume() {
    end_wait();
    if (was_stopped()) [[unlikely]]
      detail::throw_errno(ECANCELED, name());
  }
  [[nodiscard]] result<void> await_result() noexcept {
    end_wait();
    if (was_stopped()) return detail::errno_code(ECANCELED);
    return {};
  }

 private:
  bool suspend_with_care(std::coroutine_handle<> awaiter, detail::boundary& bound) noexcept;
  static const detail::waiter_kind& kind_of(when suspends) noexcept {
    return suspends == when::always ? kind_of_yield : kind_of_checkpoint;
  }
  static const detail::waiter_kind kind_of_yield;
  static const detail::waiter_kind kind_of_checkpoint;

  when suspends_;
};

namespace this_task {

/// The innermost scope that the awaiting coroutine is in: that of the nearest with_cancel_scope(), with_timeout() of a
/// task, shield(), task group, or of the root task. Cancelling it stops this coroutine at its next wait, too.
///
/// @return        A reference that is good for as long as the coroutine itself: the scope outlives what runs in it.
/// @cancellation  None: never suspends, and is no point where a stop arrives.
[[nodiscard]] inline auto scope() noexcept { return detail::scope_query<cancel_scope&, &detail::read_scope>{}; }

/// Whether the scope was cancelled, so that the next wait is stopped: for long computations, and for cleanup that does
/// less when nobody waits for the rest.
///
/// @cancellation  None: never suspends, and is no point where a stop arrives. checkpoint() is one.
[[nodiscard]] inline auto stop_requested() noexcept {
  return detail::scope_query<bool, &detail::read_stop_requested>{};
}

/// The nearest deadline of the scopes around: when what runs here will be stopped, if nothing else comes first.
///
/// @return        A point on the executor's steady clock, in the past when the deadline has passed already; nullopt
///                when there is none. The innermost shield ends the search: deadlines outside it do not count, its own
///                does. A deadline on a single operation is no scope's.
/// @cancellation  None: never suspends, and is no point where a stop arrives.
[[nodiscard]] inline auto deadline() noexcept {
  return detail::scope_query<std::optional<std::chrono::steady_clock::time_point>, &detail::read_deadline>{};
}

/// Goes on in the executor's next turn: what is ready runs first, and the kernel is looked at, so that those whose
/// operations have completed get their turn.
///
/// @cancellation  In a scope that is cancelled it ends stopped. A cancel that comes while it is in the queue takes
///                effect at the next wait.
/// @limits        Allocates nothing; costs no system call by itself.
[[nodiscard]] inline yield_operation yield() noexcept { return yield_operation{yield_operation::when::always}; }

/// Ends stopped when the scope is cancelled, and otherwise goes on without suspending: a place for a stop to arrive in
/// code that computes.
///
/// It lets nobody else run, and a stop is asked for by somebody who runs: a long computation wants yield() now and
/// then.
[[nodiscard]] inline yield_operation checkpoint() noexcept {
  return yield_operation{yield_operation::when::when_stopped};
}

}  // namespace this_task
}  // namespace gyre
