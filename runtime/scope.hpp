// SPDX-License-Identifier: MIT
// The functions that open a cancel scope around some work: with_cancel_scope() and shield().
//
// A scope function is a boundary: a stop that its own scope caused ends there; one that came from outside goes on
// outwards.
#pragma once

#include <gyre/runtime/cancel_scope.hpp>
#include <gyre/runtime/detail/timer_heap.hpp>
#include <gyre/runtime/task.hpp>

#include <cerrno>
#include <concepts>
#include <coroutine>
#include <exception>
#include <functional>
#include <optional>
#include <type_traits>
#include <utility>

namespace gyre {
namespace detail {

/// Awaits a task in a scope of its own. The scope exists from the co_await until the task has ended.
template <class T>
class scoped_task : protected bounded_task<T> {
 public:
  using gyre_awaitable = void;

  bool await_ready() const noexcept { return false; }

 protected:
  /// @param name      Of the function that opens the scope; a literal.
  /// @param on_ended  For those who have something to do before the scope goes: it ends with body_ended().
  scoped_task(const char* name, cancel_scope::kind kind, boundary::ended_fn on_ended = &body_ended) noexcept
      : bounded_task<T>{on_ended}, awaiting_{name}, kind_{kind} {}
  scoped_task(scoped_task&& other) noexcept
      : scoped_task{other.awaiting_.what(), other.kind_} {}  // before it is awaited

  /// Opens the scope and starts the task that `make_body(scope)` returns.
  template <class Promise, class Fn>
  std::coroutine_handle<> begin_in_scope(std::coroutine_handle<Promise> awaiting, Fn&& make_body) noexcept {
    awaiting_.begin(awaiting);
    scope_.emplace(awaiting_.scope(), kind_, &awaiting_);
    try {
      this->hold(std::forward<Fn>(make_body)(*scope_));
    } catch (...) {
      no_body_ = std::current_exception();
      scope_.reset();
      return awaiting;
    }
    return this->begin(*scope_);
  }

  /// Whether the scope itself ended the task: its own cancel or deadline, not one from outside. Through a shield none
  /// comes from outside.
  [[nodiscard]] bool stopped_here() const noexcept {
    return stopped_ && (kind_ == cancel_scope::kind::shielded || !awaiting_.scope().stop_requested());
  }

  /// Whether it was the deadline that did so.
  [[nodiscard]] bool timed_out_here() const noexcept { return timed_out_ && stopped_here(); }

  /// The task's value or exception, when it was not stopped here.
  T take() {
    if (no_body_) std::rethrow_exception(no_body_);
    if (stopped_) throw_errno(ECANCELED, "task");
    return this->take_result();
  }

  /// The value as an optional, or for void whether there is one: empty when the task was stopped here.
  auto take_unless_stopped_here() {
    if constexpr (std::is_void_v<T>) {
      if (stopped_here()) return false;
      take();
      return true;
    } else {
      if (stopped_here()) return std::optional<T>{};
      return std::optional<T>{take()};
    }
  }

  static next_step body_ended(boundary& self, ending how) noexcept {
    auto& awaiter = static_cast<scoped_task&>(static_cast<bounded_task<T>&>(self));
    awaiter.leave_scope();
    awaiter.timed_out_ = awaiter.scope_->deadline_expired();
    awaiter.scope_.reset();
    awaiter.stopped_ = how == ending::stopped;
    const bool goes_on = awaiter.stopped_ && !awaiter.stopped_here();
    if (goes_on && awaiter.awaiting_.can_be_stopped()) return awaiter.awaiting_.stopped();
    return awaiter.awaiting_.resumed();
  }

 private:
  awaiting_coroutine awaiting_;
  std::optional<cancel_scope> scope_;
  std::exception_ptr no_body_;
  cancel_scope::kind kind_;
  bool stopped_ = false;
  bool timed_out_ = false;
};

template <class T>
class shielded_task final : public scoped_task<T> {
 public:
  explicit shielded_task(task<T>&& body) noexcept
      : scoped_task<T>{"shield", cancel_scope::kind::shielded}, body_{std::move(body)} {}

  template <class Promise>
  std::coroutine_handle<> await_suspend(std::coroutine_handle<Promise> awaiting) noexcept {
    return this->begin_in_scope(awaiting, [this](cancel_scope&) noexcept { return std::move(body_); });
  }
  T await_resume() { return this->take(); }

 private:
  task<T> body_;
};

/// What with_cancel_scope() awaits: `fn` stays here, captures and all, until its task has ended.
template <class Fn, class T = awaited_t<std::invoke_result_t<Fn&, cancel_scope&>>>
class cancellable_region final : public scoped_task<T> {
 public:
  explicit cancellable_region(Fn&& fn)
      : scoped_task<T>{"with_cancel_scope", cancel_scope::kind::plain}, fn_{std::move(fn)} {}

  template <class Promise>
  std::coroutine_handle<> await_suspend(std::coroutine_handle<Promise> awaiting) noexcept {
    return this->begin_in_scope(awaiting, fn_);
  }

  auto await_resume() { return this->take_unless_stopped_here(); }

 private:
  Fn fn_;
};

/// Any awaitable as a task.
template <class Awaitable>
auto as_task(Awaitable awaitable) -> task<awaited_t<Awaitable>> {
  co_return co_await for_caller(std::move(awaitable));
}

}  // namespace detail

/// Runs `fn(scope)` in a scope that can be cancelled from inside, or by whoever got hold of it.
///
/// @param fn      Called at once; returns the task to run. Lives until the task has ended, captures and all.
/// @return        co_await gives optional<T>, empty when the scope was cancelled before the task returned; for
///                task<void>, a bool: whether it ran to its end.
/// @errors        What the task throws.
/// @cancellation  Absorbs the stop of its own scope. One from outside goes on outwards.
template <class Fn>
  requires std::invocable<Fn&, cancel_scope&>
detail::cancellable_region<Fn> with_cancel_scope(Fn fn) {
  return detail::cancellable_region<Fn>{std::move(fn)};
}

/// Runs something that cancels from outside cannot reach: cleanup that has to wait for something.
///
/// Give it a deadline, shield(duration, x) of deadline.hpp: nothing else ends it.
///
/// @param body    A task, or an operation.
/// @errors        What it throws; operation_canceled when it cancelled the shield itself, by this_task::scope().
template <class T>
[[nodiscard]] detail::shielded_task<T> shield(task<T> body) noexcept {
  return detail::shielded_task<T>{std::move(body)};
}

template <detail::own_awaitable Awaitable>
[[nodiscard]] auto shield(Awaitable awaitable) {
  return shield(detail::as_task(std::move(awaitable)));
}

}  // namespace gyre
