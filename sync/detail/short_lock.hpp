// SPDX-License-Identifier: MIT
// A number, whether anybody waits for it, and a lock of one bit, all in one word: what user-space locks are made of.
//
// While nobody waits the number is changed by one compare-and-swap, and no lock is taken. Where a list of waits is
// touched too, the lock is held for a few instructions: who finds it held spins, then yields, and at last sleeps for
// moments, since its holder may have been taken off its processor. Nothing is resumed, posted or called while it is
// held.
//
//   number, nobody waits       -> number'                  try_change()
//   number, somebody waits     -> number' | waited         try_change()
//   anything that is unlocked  -> the same | locked        lock()
//   locked                     -> anything unlocked        unlock(), by who holds it; nobody else changes the word
//
// Objects for one executor only have a number and no lock: no_lock, which looks the same from outside.
//
// The lock is opened and the new number published by one store. So who sees the number that it waited for, and takes
// it as leave to destroy the object, does so when whoever changed it touches the object no more.
#pragma once

#include <gyre/runtime/suspension.hpp>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <thread>

namespace gyre::sync::detail {

/// What the word says.
struct lock_word {
  using word = std::uint64_t;
  static constexpr word locked = 1;
  static constexpr word waited = 2;  // the list that the lock guards is not empty
  static constexpr word one = 4;     // the number begins above these two bits
  static constexpr word number_max = ~word{0} / one;

  [[nodiscard]] static constexpr word number_in(word seen) noexcept { return seen / one; }
};

/// For any thread.
class short_lock : public lock_word {
 public:
  explicit short_lock(word number) noexcept : word_{number * one} {}

  /// The word as it was a moment ago, locked or not.
  [[nodiscard]] word look() const noexcept { return word_.load(std::memory_order_acquire); }

  /// Makes `to` of the word if it is unlocked and still `seen`. If it was not, `seen` is a newer look, and unlocked.
  [[nodiscard]] bool try_change(word& seen, word to) noexcept {
    if ((seen & locked) == 0 &&
        word_.compare_exchange_weak(seen, to, std::memory_order_acq_rel, std::memory_order_acquire)) [[likely]]
      return true;
    wait_while_locked(seen);
    return false;
  }

  /// Returns what the word says beside the lock.
  [[nodiscard]] word lock() noexcept {
    word seen = look();
    while (!try_change(seen, seen | locked)) {
    }
    return seen;
  }

  /// Opens the lock, and has the word say `to`.
  void unlock(word to) noexcept { word_.store(to, std::memory_order_release); }

  static void resume(suspension& granted) noexcept { granted.resume_from_any_thread(); }

 private:
  void wait_while_locked(word& seen) const noexcept {
    constexpr unsigned spins_max = 64;  // about a microsecond: many times what the lock is held for
    constexpr unsigned yields_max = 1000;
    for (unsigned rounds_count = 1; (seen & locked) != 0; ++rounds_count, seen = look()) {
      if (rounds_count <= spins_max) pause();
      else if (rounds_count <= yields_max) std::this_thread::yield();
      else std::this_thread::sleep_for(std::chrono::microseconds{50});  // the holder may be of a lower priority
    }
  }

  static void pause() noexcept {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    asm volatile("yield");
#endif
  }

  std::atomic<word> word_;
};

/// For one executor: nobody else is ever between two steps.
class no_lock : public lock_word {
 public:
  explicit no_lock(word number) noexcept : word_{number * one} {}

  [[nodiscard]] word look() const noexcept { return word_; }
  [[nodiscard]] bool try_change(word&, word to) noexcept {
    word_ = to;
    return true;
  }
  [[nodiscard]] word lock() noexcept { return word_; }
  void unlock(word to) noexcept { word_ = to; }

  static void resume(suspension& granted) noexcept { granted.resume(); }

 private:
  word word_;
};

/// Resumes all that were granted something, without the lock.
template <class Lock>
void resume_all(granted_suspensions& granted) noexcept {
  while (suspension* const first = granted.pop_front()) Lock::resume(*first);
}

}  // namespace gyre::sync::detail
