// SPDX-License-Identifier: MIT
// One value that changes now and then, and those who want to know its latest state: watch<T>.
//
// A configuration, the address of a leader, how far a job has come: who was away for three changes wants the last one,
// and not three. So nothing is queued here, and nobody is waited for.
//
//   set()       replaces the value, counts it (`version_`), and wakes all observers that wait
//   observer    knows which version it has seen; changed() waits until there is another one
//
// Woken observers take the value when they run, in a turn of their executors: of several changes until then they see
// the last. An observer that is woken by a change and stopped at the same time is resumed, with the value.
//
// Not the type to use: where each item counts, channel; where each counts for everybody, broadcast; for one thing that
// happens once and has no value, event.
#pragma once

#include <gyre/runtime/assert.hpp>
#include <gyre/runtime/result.hpp>
#include <gyre/runtime/suspension.hpp>
#include <gyre/sync/detail/biased_lock.hpp>
#include <gyre/sync/detail/crowd.hpp>
#include <gyre/sync/detail/filled.hpp>

#include <concepts>
#include <coroutine>
#include <cstdint>
#include <functional>
#include <optional>
#include <type_traits>
#include <utility>

namespace gyre::sync {

template <class T>
class observer;

/// A value with observers.
///
///   watch<settings> current{load()};                                   // who sets it
///   observer<settings> seen{current};                                  // who looks
///   while (const auto changed = co_await seen.changed()) apply(*changed);
///
/// @threads  All of it is open to all threads, and to coroutines of all executors. Who waits is resumed on its own
///           executor, in this turn of it or the next. It outlives its observers, which an assertion checks.
/// @limits   T can be copied. It is copied and replaced under a lock, where other threads spin meanwhile: a large one
///           goes behind a pointer, watch<std::shared_ptr<const settings>>. Allocates nothing.
template <class T>
class watch : detail::crowd {
  static_assert(std::copy_constructible<T>, "each observer gets a copy");

 public:
  using value_type = T;

  explicit watch(T initial) noexcept(std::is_nothrow_move_constructible_v<T>) : value_{std::move(initial)} {}

  /// Replaces the value. Whoever waits for a change is woken, also if the new one equals the old one.
  ///
  /// @errors  What T's moves throw: the value is then what a failed swap left, and nobody is woken.
  /// @limits  Linear in those who wait.
  void set(T value)
    requires std::is_move_assignable_v<T>
  {
    update([&value](T& current) { std::ranges::swap(current, value); });  // the old one ends outside the lock
  }

  /// Changes the value in place: `change(value)`, which no other change comes between.
  ///
  /// @param change  Called at once, under the lock: short, and without a use of this watch. When it throws, nobody is
  ///                woken.
  template <std::invocable<T&> Fn>
  void update(Fn change) {
    granted_suspensions woken;
    {
      const detail::holding held{lock_};
      std::invoke(change, value_);
      ++version_;
      waiting_.move_all_to(woken);
    }
    woken.resume_all();
  }

  /// A copy of the value as it is now.
  [[nodiscard]] T get() const {
    const detail::holding held{lock_};
    return value_;
  }

  /// Says that there will be no other change: observers that wait, and that have seen the last, get nothing. A second
  /// close() does nothing.
  void close() noexcept { close_and_wake(); }

  /// Whether close() was called.
  [[nodiscard]] bool closed() const noexcept { return is_closed(); }

 private:
  friend observer<T>;
  T value_;
  std::uint64_t version_ = 0;
};

/// Somebody who follows a watch, and knows what it has seen.
///
/// @threads  One coroutine at a time uses it; different observers are independent. Between two uses it can be handed to
///           another thread. It is not moved while changed() is awaited.
template <class T>
class observer {
 public:
  class changed_operation;

  /// Has seen the value as it is now: changed() waits for the next.
  explicit observer(watch<T>& observed) : observed_{&observed} {
    const detail::holding held{observed.lock_};
    seen_version_ = observed.version_;
    observed.enter();
  }
  observer(observer&& other) noexcept
      : observed_{std::exchange(other.observed_, nullptr)}, seen_version_{other.seen_version_} {}
  observer& operator=(observer&&) = delete;
  ~observer() {
    if (observed_ != nullptr) observed_->leave();
  }

  /// Waits until there is a value that it has not seen, and takes it.
  ///
  /// @return        co_await gives std::optional<T>: the latest value; empty when the watch is closed and the last
  ///                value was seen.
  /// @errors        What copying a T throws: the value then counts as not seen.
  /// @cancellation  Safe: what was not delivered counts as not seen. In a scope that is cancelled already it ends
  ///                stopped, also where there is a value that it has not seen.
  [[nodiscard]] changed_operation changed() noexcept { return changed_operation{*this}; }

  /// Whether there is a value that it has not seen.
  [[nodiscard]] bool has_changed() const noexcept {
    const detail::holding held{observed_->lock_};
    return observed_->version_ != seen_version_;
  }

  /// A copy of the latest value, which counts as seen.
  [[nodiscard]] T get() {
    const detail::holding held{observed_->lock_};
    T copy{observed_->value_};
    seen_version_ = observed_->version_;
    return copy;
  }

 private:
  // Copies it to where it stays: what throws later would lose it.
  void see_if_new(std::optional<T>& copy) {
    const detail::holding held{observed_->lock_};
    if (observed_->version_ == seen_version_) return;
    copy.emplace(observed_->value_);
    seen_version_ = observed_->version_;
  }
  [[nodiscard]] bool must_wait() const noexcept { return observed_->version_ == seen_version_ && !observed_->closed_; }

  watch<T>* observed_;
  std::uint64_t seen_version_;
};

/// The wait of observer::changed().
template <class T>
class [[nodiscard]] observer<T>::changed_operation final : public detail::crowd_wait {
 public:
  using value_type = std::optional<T>;

  bool await_ready() const noexcept { return false; }
  template <class Promise>
  bool await_suspend(std::coroutine_handle<Promise> awaiter) noexcept {
    return wait_in(*by_->observed_, awaiter, [this]() noexcept { return by_->must_wait(); });
  }

  std::optional<T> await_resume() {
    resumed();
    std::optional<T> seen;
    by_->see_if_new(seen);
    return seen;
  }
  [[nodiscard]] result<std::optional<T>> await_result() {
    if (const auto ended = resumed_with_result(); !ended) return ended.error();
    return detail::filled<T>([this](std::optional<T>& seen) { by_->see_if_new(seen); });
  }

 private:
  friend observer<T>;
  explicit changed_operation(observer& by) noexcept : crowd_wait{kind_of_watch}, by_{&by} {}

  observer* by_;
};

}  // namespace gyre::sync
