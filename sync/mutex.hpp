// SPDX-License-Identifier: MIT
// A mutex for coroutines on any executor, for plain threads, and for other processes that map it: docs/mutex.md.
//
// It is a word, and what waits for it lies elsewhere: detail/mutex_word.hpp has the protocol. Where only coroutines of
// one executor meet, they need a mutex for what has a co_await in the middle, and nothing for what has none.
#pragma once

#include <gyre/runtime/assert.hpp>
#include <gyre/runtime/ops/futex.hpp>
#include <gyre/runtime/result.hpp>
#include <gyre/sync/detail/lock_wait.hpp>
#include <gyre/sync/detail/mutex_word.hpp>

#include <type_traits>
#include <utility>

namespace gyre::sync {

using ops::futex_kind;

/// Held by one at a time.
///
/// Standard layout, no pointers: it can lie in memory that processes share. Who finds it free takes it. Who has to wait
/// comes after those who wait at the same executor, and is given it by the unlock of one of them without a system call;
/// but after 64 of these in a row those who sleep for it elsewhere come first.
///
/// For a few instructions without a co_await among them std::mutex is enough. Where many may read at a time take a
/// shared_mutex; where several may be inside, or another task gives it up, a semaphore; to hand things over, a channel;
/// where a process may be killed that uses it, a robust_mutex.
///
/// Who waits is queued on its own executor when the mutex is its, and resumed there in this turn or the next.
///
/// @threads  A coroutine unlocks it in a turn of the executor on which it locked it; a thread, anywhere.
/// @limits   Not recursive. An executor of number 2^29 of its process cannot use it. Between processes: one that is
///           killed while it holds it keeps it for ever; of one that is killed when it was woken and does not hold it
///           yet, nobody hears: it is free then, and others sleep for it until somebody else has had to wait for it.
class mutex {
 public:
  class guard;
  class lock_operation;

  /// @param kind  process_shared for one that other processes lock, too. Coroutines that wait for it have their
  ///              executor wait in the kernel, one for all of them, also while one of them holds it.
  explicit constexpr mutex(futex_kind kind = futex_kind::process_private) noexcept
      : word_{.sort = kind == futex_kind::process_private ? detail::lock_sort::in_process : detail::lock_sort::shared,
              .uses = kind == futex_kind::process_private ? std::uint16_t{0} : detail::mutex_word::never} {}
  mutex(const mutex&) = delete;
  mutex& operator=(const mutex&) = delete;

  /// Nobody may hold it, or wait for it.
  ~mutex() { GYRE_ASSERT(!word_.is_held(), "a mutex was destroyed while somebody holds it"); }

  /// Waits until it is held.
  ///
  ///   const auto held = co_await m.lock();
  ///
  /// @return        A guard, which unlocks it.
  /// @errors        std::bad_alloc   it is taken, and there is no memory for the executor's queue
  /// @cancellation  Safe: a coroutine that was stopped does not hold it, and keeps nobody from it. Where it is free it
  ///                is taken, also in a scope that is cancelled.
  /// @limits        When it is taken by another executor or thread, Linux 6.7 wakes the executor; before that, and with
  ///                executor_options::iopoll, it looks again each millisecond.
  [[nodiscard("a lock is awaited: what is not locks nothing")]]
  lock_operation lock() noexcept;

  /// Takes it if nobody holds it, also before those who wait.
  ///
  /// @return   A guard that holds it, or that says no: `if (const auto held = m.try_lock())`.
  /// @threads  Any.
  [[nodiscard("a guard that nobody keeps unlocks at once: name it")]]
  guard try_lock() noexcept;

  /// Blocks the thread until it is held.
  ///
  /// @threads  Any thread, outside the turns of executors.
  [[nodiscard("a guard that nobody keeps unlocks at once: name it")]]
  guard lock_blocking() noexcept;

  /// Gives it up, without its guard: guard::release(). Who waits becomes ready; nobody runs inside the call.
  void unlock() noexcept {
    if (!word_.try_unlock_at_once(word_.my_tag())) [[unlikely]]
      detail::unlock_with_waiters(word_);
  }

 private:
  friend class condition_variable;
  detail::mutex_word word_;
};

/// Holds a mutex as long as it lives, or until unlock().
class [[nodiscard("a guard that nobody keeps unlocks at once: name it")]] mutex::guard {
 public:
  /// Holds nothing.
  guard() noexcept = default;
  /// Holds what is locked here.
  explicit guard(mutex& locked) noexcept : mutex_{&locked} {}
  guard(guard&& other) noexcept : mutex_{std::exchange(other.mutex_, nullptr)} {}
  guard& operator=(guard&& other) noexcept {
    if (this != &other) {
      unlock();
      mutex_ = std::exchange(other.mutex_, nullptr);
    }
    return *this;
  }
  ~guard() { unlock(); }

  /// Whether it holds something.
  explicit operator bool() const noexcept { return mutex_ != nullptr; }

  /// Gives it up now.
  void unlock() noexcept {
    if (mutex_ != nullptr) std::exchange(mutex_, nullptr)->unlock();
  }

  /// Lets go of it and leaves it locked: whoever is given it calls unlock(). Null when it holds nothing.
  [[nodiscard]] mutex* release() noexcept { return std::exchange(mutex_, nullptr); }

 private:
  friend class condition_variable;
  mutex* mutex_ = nullptr;
};

/// The wait of mutex::lock().
class [[nodiscard("a lock is awaited: what is not locks nothing")]] mutex::lock_operation final
    : public detail::lock_operation_base {
 public:
  guard await_resume() {
    resumed();
    return guard{*mutex_};
  }
  [[nodiscard]] result<guard> await_result() noexcept {
    if (const auto ended = resumed_with_result(); !ended) return ended.error();
    return guard{*mutex_};
  }

 private:
  friend mutex;
  explicit lock_operation(mutex& locked) noexcept : lock_operation_base{locked.word_}, mutex_{&locked} {}
  mutex* mutex_;
};

inline mutex::lock_operation mutex::lock() noexcept { return lock_operation{*this}; }

inline mutex::guard mutex::try_lock() noexcept {
  auto how = detail::claimed::cleanly;
  return detail::try_claim_at_once(word_, how) ? guard{*this} : guard{};
}

inline mutex::guard mutex::lock_blocking() noexcept {
  if (!word_.try_lock_at_once(word_.my_tag())) static_cast<void>(detail::claim_blocking(word_));
  return guard{*this};
}

static_assert(std::is_standard_layout_v<mutex> && sizeof(mutex) == 8, "it lies in memory that processes share");

}  // namespace gyre::sync
