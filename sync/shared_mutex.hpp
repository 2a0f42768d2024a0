// SPDX-License-Identifier: MIT
// Many readers or one writer.
//
// A semaphore in disguise: a reader takes one permit, a writer all of them (detail/permits.hpp).
#pragma once

#include <gyre/runtime/assert.hpp>
#include <gyre/runtime/result.hpp>
#include <gyre/runtime/suspension.hpp>
#include <gyre/sync/detail/permits.hpp>

#include <cstdint>
#include <optional>

namespace gyre::sync {

/// Held by many who read, or by one who writes.
///
///   const auto reading = co_await cache_lock.lock_shared();
///   …
///   const auto writing = co_await cache_lock.lock();
///
/// Pays where a hold lasts over a co_await and most of them read. Where nobody awaits anything while holding it, and
/// everybody is on one executor, nothing is needed at all; for threads that are not on executors there is
/// std::shared_mutex; for one at a time, or between processes, a mutex.
///
/// First in, first out, which prefers writers: a reader that comes while a writer waits goes behind it, though other
/// readers hold the lock. So writers do not starve, and neither do readers. Who gets the lock is queued on its own
/// executor, and resumed there in this turn or the next; all readers up to the next writer together.
///
/// It cannot be upgraded from reading to writing: two readers who both try would wait for each other for ever. Unlock,
/// lock() and look again. write_guard::downgrade() is the other way, which is safe.
///
/// Not recursive: a reader that locks again waits behind a writer who waits for that reader.
///
/// @cancellation  A wait that is stopped does not hold the lock, and is in nobody's way any more. A lock that was
///                granted before the stop came is delivered.
/// @threads       Any thread may try and unlock; a coroutine on any executor awaits. A guard can be given to another
///                thread. No signal handlers.
/// @limits        Readers at a time: a billion. It is free when it is destroyed.
template <class Lock>
class basic_shared_mutex {
 public:
  class lock_operation;
  class lock_shared_operation;
  class write_guard;

  /// Reads. Unlocks when it ends.
  class [[nodiscard("a guard that nobody keeps unlocks at once: name it")]] read_guard final
      : public detail::permits_guard<Lock> {
   public:
    /// Unlocks now. It must be held.
    void unlock() noexcept {
      GYRE_ASSERT(*this, "a guard is unlocked once: this one was unlocked before, or moved from");
      this->give_back();
    }

   private:
    friend basic_shared_mutex;
    friend lock_shared_operation;
    friend write_guard;
    explicit read_guard(detail::permits<Lock>& held) noexcept : detail::permits_guard<Lock>{held, 1} {}
  };

  /// Writes. Unlocks when it ends.
  class [[nodiscard("a guard that nobody keeps unlocks at once: name it")]] write_guard final
      : public detail::permits_guard<Lock> {
   public:
    /// Unlocks now. It must be held.
    void unlock() noexcept {
      GYRE_ASSERT(*this, "a guard is unlocked once: this one was unlocked before, or moved from");
      this->give_back();
    }

    /// Goes on reading, with nobody writing in between: lets in the readers that wait in front. This guard is empty
    /// afterwards.
    [[nodiscard("a guard that nobody keeps unlocks at once: name it")]]
    read_guard downgrade() noexcept {
      GYRE_ASSERT(*this, "a guard is downgraded while it is held: this one was unlocked before, or moved from");
      detail::permits<Lock>& held = this->take();
      held.give(readers_max - 1);
      return read_guard{held};
    }

   private:
    friend basic_shared_mutex;
    friend lock_operation;
    explicit write_guard(detail::permits<Lock>& held) noexcept : detail::permits_guard<Lock>{held, readers_max} {}
  };

  class [[nodiscard("a lock is awaited: what is not locks nothing")]] lock_operation final
      : public detail::permits_wait<Lock> {
   public:
    write_guard await_resume() {
      this->resumed();
      return write_guard{this->from()};
    }
    [[nodiscard]] result<write_guard> await_result() noexcept {
      if (const auto ended = this->resumed_with_result(); !ended) return ended.error();
      return write_guard{this->from()};
    }

   private:
    friend basic_shared_mutex;
    explicit lock_operation(detail::permits<Lock>& from) noexcept
        : detail::permits_wait<Lock>{kind, from, readers_max} {}
    static constexpr suspension_kind kind{"shared_mutex, to write", &lock_operation::withdraw};
  };

  class [[nodiscard("a lock is awaited: what is not locks nothing")]] lock_shared_operation final
      : public detail::permits_wait<Lock> {
   public:
    read_guard await_resume() {
      this->resumed();
      return read_guard{this->from()};
    }
    [[nodiscard]] result<read_guard> await_result() noexcept {
      if (const auto ended = this->resumed_with_result(); !ended) return ended.error();
      return read_guard{this->from()};
    }

   private:
    friend basic_shared_mutex;
    explicit lock_shared_operation(detail::permits<Lock>& from) noexcept : detail::permits_wait<Lock>{kind, from, 1} {}
    static constexpr suspension_kind kind{"shared_mutex, to read", &lock_shared_operation::withdraw};
  };

  basic_shared_mutex() noexcept = default;
  basic_shared_mutex(const basic_shared_mutex&) = delete;
  basic_shared_mutex& operator=(const basic_shared_mutex&) = delete;
  ~basic_shared_mutex() {
    GYRE_ASSERT(permits_.nobody_waits(), "a shared_mutex was destroyed while somebody waits for it");
    GYRE_ASSERT(permits_.available() == readers_max, "a shared_mutex was destroyed while somebody holds it");
  }

  /// Locks for writing.
  ///
  /// @return        co_await gives the guard that unlocks it.
  /// @cancellation  Safe; at once. Where it is free it is taken, also in a scope that is cancelled.
  lock_operation lock() noexcept { return lock_operation{permits_}; }

  /// Locks for reading.
  ///
  /// @return        co_await gives the guard that unlocks it.
  /// @cancellation  Safe; at once. Where it is free it is taken, also in a scope that is cancelled.
  lock_shared_operation lock_shared() noexcept { return lock_shared_operation{permits_}; }

  /// The same without a wait: nothing where somebody holds it so that this cannot, or where somebody waits.
  [[nodiscard("a guard that nobody keeps unlocks at once: name it")]]
  std::optional<write_guard> try_lock() noexcept {
    if (!permits_.try_take(readers_max)) return std::nullopt;
    return write_guard{permits_};
  }
  [[nodiscard("a guard that nobody keeps unlocks at once: name it")]]
  std::optional<read_guard> try_lock_shared() noexcept {
    if (!permits_.try_take(1)) return std::nullopt;
    return read_guard{permits_};
  }

 private:
  static constexpr std::uint64_t readers_max = 1'000'000'000;

  detail::permits<Lock> permits_{readers_max};
};

using shared_mutex = basic_shared_mutex<detail::short_lock>;

/// The same for coroutines of one executor, and nobody else: without atomic instructions.
using local_shared_mutex = basic_shared_mutex<detail::no_lock>;

}  // namespace gyre::sync
