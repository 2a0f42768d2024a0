// SPDX-License-Identifier: MIT
// A coroutine that waits for a lock: the base of lock() and of a condition variable's wait(), which ends in one.
#pragma once

#include <gyre/runtime/suspension.hpp>
#include <gyre/sync/detail/mutex_word.hpp>

namespace gyre::sync::detail {

class lock_queue;

class lock_wait : public suspension {
 public:
  /// The lock is its, or was given up on: it goes on. Called by the queue that it has left.
  void granted(claimed how) noexcept {
    how_ = how;
    resume();
  }

  [[nodiscard]] mutex_word& lock() const noexcept { return *lock_; }

 protected:
  lock_wait(const suspension_kind& its_kind, mutex_word& lock) noexcept : suspension{its_kind}, lock_{&lock} {}
  lock_wait(lock_wait&&) noexcept = default;
  ~lock_wait() = default;

  /// Finds the executor's queue for the lock. May be out of memory; from then on nothing is.
  void prepare_to_wait();

  /// Nothing came of it: the scope was cancelled already.
  void wait_no_more() noexcept;

  /// Takes the lock at once where that can be, otherwise waits for it.
  void wait_for_lock() noexcept;

  /// For withdraw().
  [[nodiscard]] bool leave_queue() noexcept;

  [[nodiscard]] claimed how() const noexcept { return how_; }
  [[nodiscard]] bool try_lock_at_once() noexcept { return try_claim_at_once(*lock_, how_); }

 private:
  mutex_word* lock_;
  lock_queue* queue_ = nullptr;
  claimed how_ = claimed::cleanly;
};

/// The wait of lock().
class lock_operation_base : public lock_wait {
 public:
  /// Whether it was free: then nobody waits, and the scope is not asked.
  [[nodiscard]] bool await_ready() {
    if (lock().try_lock_at_once(lock().my_tag())) [[likely]]
      return true;
    prepare_to_wait();
    return false;
  }

  template <class Promise>
  void await_suspend(std::coroutine_handle<Promise> awaiter) noexcept {
    if (begin(awaiter)) wait_for_lock();
    else wait_no_more();
  }

 protected:
  /// await_ready() for a robust lock, which has more to do than one atomic operation.
  [[nodiscard]] bool try_at_once();

  explicit lock_operation_base(mutex_word& lock) noexcept : lock_wait{kind_of_lock, lock} {}
  lock_operation_base(lock_operation_base&&) noexcept = default;

 private:
  static const suspension_kind kind_of_lock;
  static bool withdraw(suspension& self) noexcept;
};

}  // namespace gyre::sync::detail
