// SPDX-License-Identifier: MIT
// A mutex whose owner may be killed: the next one hears of it. For memory that processes share; else sync/mutex.hpp.
#pragma once

#include <gyre/runtime/assert.hpp>
#include <gyre/runtime/error.hpp>
#include <gyre/runtime/result.hpp>
#include <gyre/sync/detail/lock_wait.hpp>
#include <gyre/sync/detail/robust_lock.hpp>

#include <cerrno>
#include <system_error>
#include <type_traits>
#include <utility>

namespace gyre::sync {

/// As mutex, process_shared; and when the process or the thread that holds it ends, however it ends, one of those who
/// wait gets it.
///
///   auto held = co_await m.lock();
///   if (held.owner_died()) {
///     repair();
///     held.make_consistent();
///   }
///
/// Among the threads and executors of one process, and with a condition_variable, take a mutex, which costs less.
///
/// Who waits is queued on its own executor when the mutex is its, and resumed there in this turn or the next.
///
/// Standard layout. It has two pointers, which mean something to its owner alone.
///
/// @threads  The owner is a thread: for a coroutine, that of its executor. It is unlocked there.
/// @limits   glibc, on machines of 64 bits. A thread holds at most 2048 robust mutexes at a time, those of
///           pthread_mutex_t included: of more the kernel does not look after the oldest. The memory stays mapped as
///           long as it is held. Not with a condition_variable. While a coroutine or thread waits it looks at the word
///           itself each 100 ms, as whoever was woken may have been killed before it had the mutex.
/// @source   set_robust_list(2), get_robust_list(2).
class robust_mutex {
 public:
  class guard;
  class lock_operation;

  robust_mutex() noexcept = default;
  robust_mutex(const robust_mutex&) = delete;
  robust_mutex& operator=(const robust_mutex&) = delete;

  /// Nobody may hold it, or wait for it.
  ~robust_mutex() {
    GYRE_ASSERT(detail::mutex_word::owner(lock_.word.value.load(std::memory_order_relaxed)) == 0,
                "a mutex was destroyed while somebody holds it");
  }

  /// Waits until it is held.
  ///
  /// @return        A guard, which unlocks it, and says whether the last owner died.
  /// @errors        state_not_recoverable   an owner died, and the next one unlocked it without make_consistent()
  ///                not_supported           the C library is not glibc
  ///                std::bad_alloc          it is taken, and there is no memory for the executor's queue
  /// @cancellation  As mutex::lock().
  [[nodiscard("a lock is awaited: what is not locks nothing")]]
  lock_operation lock() noexcept;

  /// Takes it if nobody holds it. Otherwise as lock(): the errors, too.
  [[nodiscard("a guard that nobody keeps unlocks at once: name it")]]
  guard try_lock();

  /// Blocks the thread until it is held. Otherwise as lock().
  ///
  /// @threads  Any thread, outside the turns of executors.
  [[nodiscard("a guard that nobody keeps unlocks at once: name it")]]
  guard lock_blocking();

 private:
  [[nodiscard]] guard taken(detail::claimed how);
  detail::robust_lock lock_;
};

/// Holds a robust_mutex as long as it lives, or until unlock().
class [[nodiscard("a guard that nobody keeps unlocks at once: name it")]] robust_mutex::guard {
 public:
  /// Holds nothing.
  guard() noexcept = default;
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

  /// Whether an owner ended while it held the mutex, and nobody has said make_consistent() since: what it protects may
  /// be half done.
  [[nodiscard]] bool owner_died() const noexcept {
    return mutex_ != nullptr && mutex_->lock_.state != detail::robust_lock::condition::consistent;
  }

  /// What it protects is whole again. Without that, unlock() gives the mutex up for good.
  void make_consistent() noexcept {
    GYRE_ASSERT(mutex_ != nullptr, "who holds it says that it is consistent");
    mutex_->lock_.state = detail::robust_lock::condition::consistent;
  }

  /// Gives it up now.
  void unlock() noexcept {
    if (mutex_ != nullptr) detail::unlock_with_waiters(std::exchange(mutex_, nullptr)->lock_.word);
  }

 private:
  friend robust_mutex;
  explicit guard(robust_mutex& locked) noexcept : mutex_{&locked} {}
  robust_mutex* mutex_ = nullptr;
};

/// The wait of robust_mutex::lock().
class [[nodiscard("a lock is awaited: what is not locks nothing")]] robust_mutex::lock_operation final
    : public detail::lock_operation_base {
 public:
  [[nodiscard]] bool await_ready() { return try_at_once(); }

  guard await_resume() {
    resumed();
    return mutex_->taken(how());
  }
  [[nodiscard]] result<guard> await_result() noexcept {
    if (const auto ended = resumed_with_result(); !ended) return ended.error();
    if (how() == detail::claimed::but_given_up_on) return std::make_error_code(std::errc::state_not_recoverable);
    return guard{*mutex_};
  }

 private:
  friend robust_mutex;
  explicit lock_operation(robust_mutex& locked) noexcept : lock_operation_base{locked.lock_.word}, mutex_{&locked} {}
  robust_mutex* mutex_;
};

inline robust_mutex::lock_operation robust_mutex::lock() noexcept { return lock_operation{*this}; }

inline robust_mutex::guard robust_mutex::try_lock() {
  detail::require_robust_list();
  auto how = detail::claimed::cleanly;
  return detail::try_claim_at_once(lock_.word, how) ? taken(how) : guard{};
}

inline robust_mutex::guard robust_mutex::lock_blocking() {
  detail::require_robust_list();
  return taken(detail::claim_blocking(lock_.word));
}

inline robust_mutex::guard robust_mutex::taken(detail::claimed how) {
  if (how == detail::claimed::but_given_up_on) gyre::detail::throw_errno(ENOTRECOVERABLE, "robust_mutex");
  return guard{*this};
}

static_assert(std::is_standard_layout_v<robust_mutex> && sizeof(robust_mutex) == 40,
              "it lies in memory that processes share");

}  // namespace gyre::sync
