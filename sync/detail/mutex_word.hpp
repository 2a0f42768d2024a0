// SPDX-License-Identifier: MIT
// The word of a lock: what its bits say, who may make which move, and how plain threads take and leave it.
//
//   owner   0 when it is free. Otherwise who holds it, as far as others need to know:
//             in_process    an executor: its number + 1; a thread: 1
//             shared        1
//             robust        the thread, as the kernel calls it: for a coroutine that of its executor
//   waits   somebody may sleep in the kernel: whoever leaves the lock has to wake one
//   local   in_process, held by an executor: coroutines of the same executor wait in its own queue (lock_queue.hpp),
//           and nothing of theirs need be in the kernel for that
//   died    robust: the kernel found that the owner had ended
//
//   0 -> me                     lock, acquire
//   owner -> owner | waits      somebody else goes to sleep, and waits on exactly the word that it has made
//   me | local                  set and taken away by the owner's executor, on its thread
//   me -> 0                     unlock, release
//   me | waits -> 0             unlock; then one is woken
//   0 | waits -> me | waits     as 0 -> me
//   me | waits -> 0 | waits     a bounded number of hand-overs is over: one is woken, and those who wait at the owner's
//                               executor let it go first
//   owner -> waits | died       the kernel, when the owner has ended. It wakes one
//
// Nobody sleeps for ever. When somebody sleeps, the word says `waits`, or one that was woken is on its way: that one
// says `waits` when it takes the lock, or when it finds it taken. One that is woken and does not want the lock any more
// wakes the next: see lock_queue.hpp.
#pragma once

#include <gyre/runtime/executor.hpp>
#include <gyre/runtime/ops/futex.hpp>

#include <atomic>
#include <chrono>
#include <cstdint>

namespace gyre::sync::detail {

enum class lock_sort : std::uint32_t { in_process, shared, robust };

/// How long one who waits for a robust lock sleeps before it looks for itself. Whoever is woken may be killed before it
/// has the lock, and then nobody wakes the next: the kernel sees to that only where somebody held it. The same where
/// who waits has let others in: see lock_queue.hpp.
inline constexpr std::chrono::nanoseconds look_interval = std::chrono::milliseconds{100};

/// Who holds a lock now.
enum class claimed : std::uint8_t {
  cleanly,
  after_a_death,    // robust: what the lock protects may be half done
  but_given_up_on,  // robust: somebody left it so. The lock is not held
};

struct mutex_word {
  static constexpr std::uint32_t waits = 0x8000'0000;  // linux/futex.h, FUTEX_WAITERS
  static constexpr std::uint32_t local = 0x4000'0000;
  static constexpr std::uint32_t died = 0x4000'0000;  // linux/futex.h, FUTEX_OWNER_DIED
  static constexpr std::uint32_t owner_mask = 0x3fff'ffff;
  static constexpr std::uint32_t a_thread = 1;

  std::atomic<std::uint32_t> value = 0;
  lock_sort sort = lock_sort::in_process;

  [[nodiscard]] static std::uint32_t owner(std::uint32_t value) noexcept { return value & owner_mask; }

  [[nodiscard]] ops::futex_kind kind() const noexcept {
    return sort == lock_sort::in_process ? ops::futex_kind::process_private : ops::futex_kind::process_shared;
  }

  /// What the word says when who runs here holds it. Not for robust ones.
  [[nodiscard]] std::uint32_t my_tag() const noexcept {
    if (sort != lock_sort::in_process || !executor::has_current()) return a_thread;
    return executor::current().number() + 1;
  }

  /// One atomic operation: nobody holds it, and nobody waits. Where that is not so a look tells it for less.
  [[nodiscard]] bool try_lock_plainly(std::uint32_t tag) noexcept {
    std::uint32_t free = value.load(std::memory_order_relaxed);
    return free == 0 && value.compare_exchange_strong(free, tag, std::memory_order_acquire, std::memory_order_relaxed);
  }
  [[nodiscard]] bool try_unlock_plainly(std::uint32_t tag) noexcept {
    return value.load(std::memory_order_relaxed) == tag &&
           value.compare_exchange_strong(tag, 0, std::memory_order_release, std::memory_order_relaxed);
  }
};

/// my_tag(), for every sort.
[[nodiscard]] std::uint32_t tag_for(const mutex_word& lock) noexcept;

/// Makes `desired` of a free lock that says `seen`; otherwise puts what it says now into `seen`, and returns false.
[[nodiscard]] bool try_claim(mutex_word& lock, std::uint32_t& seen, std::uint32_t desired, claimed& how) noexcept;

/// Whether it can be had at once, whoever waits for it.
[[nodiscard]] bool try_claim_at_once(mutex_word& lock, claimed& how) noexcept;

/// Gives a lock up that is held here; its word then says `left`. Returns what it said.
std::uint32_t give_up(mutex_word& lock, std::uint32_t left) noexcept;

/// The same, and lets in who sleeps for it.
void give_up_and_wake(mutex_word& lock) noexcept;

/// For threads: sleeps until it is held.
[[nodiscard]] claimed claim_blocking(mutex_word& lock) noexcept;

/// Unlocks where that was not one atomic operation: somebody waits, here or elsewhere.
void unlock_with_waiters(mutex_word& lock) noexcept;

}  // namespace gyre::sync::detail
