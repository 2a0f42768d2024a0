// SPDX-License-Identifier: MIT
// A counted number of permits: how many may do something at a time.
//
// What a wait is: runtime/suspension.hpp. How permits are handed on: detail/permits.hpp.
#pragma once

#include <gyre/runtime/assert.hpp>
#include <gyre/runtime/result.hpp>
#include <gyre/runtime/suspension.hpp>
#include <gyre/sync/detail/permits.hpp>

#include <cstdint>
#include <optional>
#include <utility>

namespace gyre::sync {

/// Permits that are taken, waited for, and given back.
///
///   sync::semaphore connections{64};
///   …
///   const auto permit = co_await connections.acquire();   // given back at the end of the block
///
/// For one at a time take a mutex, whose hold belongs to somebody; for many readers or one writer a shared_mutex; to
/// bound how many tasks of one group run, task_group_options::max_tasks. To hand over things, and not just the right to
/// do something, a channel.
///
/// First in, first out: who waits for many is not overtaken by those who want few. Who is granted its permits is queued
/// on its own executor, and resumed there in this turn or the next.
///
/// @cancellation  A wait that is stopped has taken nothing. Permits that were granted before the stop came are
///                delivered: the coroutine goes on, and is stopped at its next wait.
/// @threads       Any thread may do anything but await, which a coroutine does on any executor. No signal handlers.
/// @limits        Permits: 2^62 - 1. Nobody waits in it when it is destroyed.
template <class Lock>
class basic_semaphore {
 public:
  class acquire_operation;

  /// Permits that are held. Gives them back when it ends; can be moved, also to another thread.
  class [[nodiscard("permits that nobody keeps are given back at once: name them")]] permits final
      : public detail::permits_guard<Lock> {
   public:
    /// Gives them back now. They must be held.
    void release() noexcept {
      GYRE_ASSERT(*this, "permits are given back once: these were given back before, or moved from");
      this->give_back();
    }

    /// Leaves them taken for good: somebody else calls semaphore::release() for them, or nobody does, and the semaphore
    /// has become smaller.
    void forget() noexcept { static_cast<void>(this->take()); }

    using detail::permits_guard<Lock>::count;

   private:
    friend basic_semaphore;
    friend acquire_operation;
    using detail::permits_guard<Lock>::permits_guard;
  };

  class [[nodiscard("permits are awaited: what is not takes none")]] acquire_operation final
      : public detail::permits_wait<Lock> {
   public:
    permits await_resume() {
      this->resumed();
      return permits{this->from(), this->count()};
    }
    [[nodiscard]] result<permits> await_result() noexcept {
      if (const auto ended = this->resumed_with_result(); !ended) return ended.error();
      return permits{this->from(), this->count()};
    }

   private:
    friend basic_semaphore;
    acquire_operation(detail::permits<Lock>& from, std::uint64_t count) noexcept
        : detail::permits_wait<Lock>{kind, from, count} {}
    static constexpr suspension_kind kind{"semaphore", &acquire_operation::withdraw};
  };

  /// @param count  Permits at first.
  explicit basic_semaphore(std::uint64_t count) noexcept : permits_{count} {
    GYRE_ASSERT(count <= detail::permits<Lock>::count_max, "a semaphore has fewer permits than that");
  }
  basic_semaphore(const basic_semaphore&) = delete;
  basic_semaphore& operator=(const basic_semaphore&) = delete;
  ~basic_semaphore() {
    GYRE_ASSERT(permits_.nobody_waits(), "a semaphore was destroyed while somebody waits for permits");
  }

  /// Takes `count` permits, at once or when it is this one's turn and there are as many.
  ///
  /// @param count   One or more. More than there will ever be: waits until it is stopped, and so do all behind it.
  /// @return        co_await gives the permits, which give themselves back.
  /// @cancellation  Safe; at once. Permits that are there are taken, also in a scope that is cancelled.
  acquire_operation acquire(std::uint64_t count = 1) noexcept {
    check(count);
    return {permits_, count};
  }

  /// The same without a wait: nothing where there are too few, or where somebody waits.
  [[nodiscard("permits that nobody keeps are given back at once: name them")]]
  std::optional<permits> try_acquire(std::uint64_t count = 1) noexcept {
    check(count);
    if (!permits_.try_take(count)) return std::nullopt;
    return permits{permits_, count};
  }

  /// Adds permits: those that somebody has forgotten, or new ones. Whoever waits for them becomes ready, in the order
  /// in which they came, and runs after the caller, never inside the call.
  ///
  /// @threads  Any thread.
  void release(std::uint64_t count = 1) noexcept { permits_.give(count); }

  /// How many there were a moment ago. Of those somebody may wait for more.
  [[nodiscard]] std::uint64_t available() const noexcept { return permits_.available(); }

 private:
  static void check(std::uint64_t count) noexcept {
    GYRE_ASSERT(count > 0 && count <= detail::permits<Lock>::count_max, "one permit or more is acquired");
  }

  detail::permits<Lock> permits_;
};

using semaphore = basic_semaphore<detail::short_lock>;

/// The same for coroutines of one executor, and nobody else: without atomic instructions.
using local_semaphore = basic_semaphore<detail::no_lock>;

}  // namespace gyre::sync
