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
//   biased  in_process: see below
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
//
// Biased: two atomic read-modify-writes are most of what a free lock costs, and most locks are used by one executor. A
// lock of a process that one executor uses again and again is therefore its own, held or free, until somebody else
// comes: `inside` says whether it is held, and that executor alone writes it, by plain stores. Nobody waits for such a
// lock: who has to wait makes an ordinary one of it first.
//
//   me -> me | biased           unlock, after enough uses in a row; `inside` says out
//   me | biased -> me, or 0     its executor: a coroutine of its own has to wait. As `inside` says; the next unlock for
//                               which nobody waits makes it biased again
//   owner | biased -> revoking  somebody else, who then waits for a full fence on every thread (fence_everywhere.hpp)
//   revoking -> owner, or 0     the same one: as `inside` says. The lock is an ordinary one for good
//
//   the executor locks           the executor unlocks           somebody else
//     me | biased, and out?        me | biased, and in?           owner | biased -> revoking
//     inside = in                  inside = leaving               fence_everywhere()
//     still me | biased: held      still me | biased:             inside is in: -> owner
//                                    inside = out: free           out: -> 0
//                                  else inside = in               leaving: looks until it is in, or out
//
// Where the executor finds that it is no longer biased, it waits until it is not `revoking` either, and then knows what
// was decided: when the word says `me` it holds the lock, or has to unlock it as any other. That can be told apart as
// nobody else makes `me` of the word. The store to `inside` and the look at the word after it need no fence of their
// own: the other one's comes between its store and its look.
//
// `leaving` is there since the store of `out` has to be the last touch: somebody else may lock, unlock and destroy the
// lock as soon as it is free. So the look comes before it; and who takes the bias away in between has to wait for the
// few instructions until the executor has said what it made of that look.
//
// An executor that has gone leaves a lock that is free, to whoever comes: its number is nobody else's. Not biased are
// locks of several processes, and any where the kernel has no membarrier(2).
//
// tests/sync/mutex_model_test.cpp runs basic_mutex_word in every order of its steps.
#pragma once

#include <gyre/runtime/executor.hpp>
#include <gyre/runtime/ops/futex.hpp>
#include <gyre/sync/detail/fence_everywhere.hpp>

#include <atomic>
#include <chrono>
#include <cstdint>

namespace gyre::sync::detail {

enum class lock_sort : std::uint8_t { in_process, shared, robust };

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

/// The memory that a lock lies in; the model of the tests has another one.
struct lock_memory {
  template <class T>
  using atomic = std::atomic<T>;
  template <class T>
  using plain = T;

  /// How often in a row one executor uses a lock before it is biased to it.
  static constexpr std::uint16_t uses_before_bias = 63;

  static bool can_fence_everywhere() noexcept { return detail::can_fence_everywhere(); }
  static void fence_everywhere() noexcept { detail::fence_everywhere(); }
  static void keep_order() noexcept { std::atomic_signal_fence(std::memory_order_seq_cst); }

  /// Looks until `done(value)`, which is a few instructions of another thread's away; returns the value.
  template <class T, class Done>
  static T wait_until(const std::atomic<T>& word, Done done) noexcept {
    patience waiting;
    for (;; waiting.wait())
      if (const T seen = word.load(std::memory_order_acquire); done(seen)) return seen;
  }
};

/// Nothing here throws but the model's memory, which leaves a step that way.
template <class Memory>
struct basic_mutex_word {
  static constexpr std::uint32_t waits = 0x8000'0000;  // linux/futex.h, FUTEX_WAITERS
  static constexpr std::uint32_t local = 0x4000'0000;
  static constexpr std::uint32_t died = 0x4000'0000;  // linux/futex.h, FUTEX_OWNER_DIED
  static constexpr std::uint32_t owner_mask = 0x3fff'ffff;
  static constexpr std::uint32_t biased = 0x2000'0000;  // part of the owner: to others it is held by nobody they know
  static constexpr std::uint32_t revoking = biased;     // to nobody any more
  static constexpr std::uint32_t a_thread = 1;

  // Of a biased lock, by its executor.
  static constexpr std::uint8_t out = 0;
  static constexpr std::uint8_t in = 1;
  static constexpr std::uint8_t leaving = 2;

  // Who uses it, from the lowest bit on; the holder's, until it is biased:
  //   6 bits   how often in a row, up to uses_before_bias
  //   2 bits   how often it was somebody else, up to changes_max
  //   8 bits   the lowest of the latest owner
  static constexpr std::uint16_t one_change = 0x40;
  static constexpr std::uint16_t one_user = 0x100;
  static constexpr std::uint16_t changes_max = 3;
  static constexpr std::uint16_t never = 0xffff;  // it will not be biased, or not again

  typename Memory::template atomic<std::uint32_t> value{0};
  lock_sort sort = lock_sort::in_process;
  typename Memory::template atomic<std::uint8_t> inside{out};
  typename Memory::template plain<std::uint16_t> uses{};

  [[nodiscard]] static std::uint32_t owner(std::uint32_t value) noexcept { return value & owner_mask; }
  [[nodiscard]] static bool is_biased(std::uint32_t value) noexcept { return (value & biased) != 0; }

  [[nodiscard]] ops::futex_kind kind() const noexcept {
    return sort == lock_sort::in_process ? ops::futex_kind::process_private : ops::futex_kind::process_shared;
  }

  /// What the word says when who runs here holds it. Not for robust ones.
  [[nodiscard]] std::uint32_t my_tag() const noexcept {
    if (sort != lock_sort::in_process || !executor::has_current()) return a_thread;
    return executor::current().number() + 1;
  }

  /// For its destructor, when nobody else is at it.
  [[nodiscard]] bool is_held() const {
    const std::uint32_t seen = value.load(std::memory_order_relaxed);
    return is_biased(seen) ? inside.load(std::memory_order_relaxed) != out : owner(seen) != 0;
  }

  /// Nobody holds it, and nobody waits: a plain store, or one atomic operation. Where that is not so a look tells it
  /// for less.
  [[nodiscard]] bool try_lock_at_once(std::uint32_t tag) {
    std::uint32_t seen = value.load(std::memory_order_relaxed);
    if (seen == (tag | biased)) {
      if (inside.load(std::memory_order_relaxed) != out) return false;
      inside.store(in, std::memory_order_relaxed);
      Memory::keep_order();
      return value.load(std::memory_order_relaxed) == seen || try_lock_without_bias(tag);
    }
    return seen == 0 && value.compare_exchange_strong(seen, tag, std::memory_order_acquire, std::memory_order_relaxed);
  }

  [[nodiscard]] bool try_unlock_at_once(std::uint32_t tag) {
    std::uint32_t seen = value.load(std::memory_order_acquire);
    if (seen == (tag | biased)) {
      if (inside.load(std::memory_order_relaxed) != in) return false;
      inside.store(leaving, std::memory_order_relaxed);
      Memory::keep_order();
      if (value.load(std::memory_order_relaxed) != seen) return try_unlock_without_bias(tag);
      inside.store(out, std::memory_order_release);
      return true;
    }
    if (seen != tag) return seen == revoking && try_unlock_without_bias(tag);
    return uses == never ? value.compare_exchange_strong(seen, 0, std::memory_order_release, std::memory_order_relaxed)
                         : try_unlock_and_count(tag);
  }

  /// Makes an ordinary lock of a biased one, and returns what the word says then.
  [[nodiscard]] std::uint32_t without_bias(std::uint32_t seen, std::uint32_t tag) {
    return is_biased(seen) ? end_bias(seen, tag) : seen;
  }

  /// Returns when it is held, for one that sleeps by itself: a thread.
  ///
  /// @param try_to_claim  Makes of a free lock that says its first argument its second; or puts there what it says.
  /// @param sleep         Sleeps as long as the word says that. Returns whether it may have been woken.
  template <class TryToClaim, class Sleep>
  void claim_asleep(std::uint32_t tag, TryToClaim try_to_claim, Sleep sleep) {
    std::uint32_t others_sleep = 0;  // whoever has slept knows nothing of others: who left the lock made 0 of it
    std::uint32_t seen = value.load(std::memory_order_relaxed);
    for (;;) {
      seen = without_bias(seen, tag);
      if (owner(seen) == 0) {
        if (try_to_claim(seen, tag | others_sleep | (seen & waits))) return;
        continue;
      }
      const std::uint32_t said = seen | waits;
      if (seen != said &&
          !value.compare_exchange_weak(seen, said, std::memory_order_relaxed, std::memory_order_relaxed))
        continue;
      if (sleep(said)) others_sleep = waits;
      seen = value.load(std::memory_order_relaxed);
    }
  }

 private:
  [[nodiscard, gnu::noinline, gnu::cold]] std::uint32_t end_bias(std::uint32_t seen, std::uint32_t tag) {
    while (is_biased(seen)) {
      if (seen == revoking) seen = wait_until_revoked();
      else if (seen == (tag | biased)) drop_bias(seen, tag);
      else revoke_bias(seen);
    }
    return seen;
  }
  [[nodiscard]] std::uint32_t wait_until_revoked() const {
    return Memory::wait_until(value, [](std::uint32_t says) { return says != revoking; });
  }

  // The bias is another's to take away, or is gone.
  [[nodiscard, gnu::noinline, gnu::cold]] bool try_lock_without_bias(std::uint32_t tag) {
    std::uint32_t seen = wait_until_revoked();
    if (owner(seen) == tag) return true;
    return seen == 0 && value.compare_exchange_strong(seen, tag, std::memory_order_acquire, std::memory_order_relaxed);
  }
  [[nodiscard, gnu::noinline, gnu::cold]] bool try_unlock_without_bias(std::uint32_t tag) {
    inside.store(in, std::memory_order_release);
    std::uint32_t seen = wait_until_revoked();
    return seen == tag && value.compare_exchange_strong(seen, 0, std::memory_order_release, std::memory_order_relaxed);
  }

  // By the executor that it is biased to.
  void drop_bias(std::uint32_t& seen, std::uint32_t tag) {
    const bool is_held_here = inside.load(std::memory_order_relaxed) == in;
    const std::uint32_t ordinary = is_held_here ? tag : 0;
    if (!value.compare_exchange_strong(seen, ordinary, std::memory_order_acq_rel, std::memory_order_relaxed)) return;
    if (is_held_here) inside.store(out, std::memory_order_relaxed);
    seen = ordinary;
  }

  // By anybody else.
  void revoke_bias(std::uint32_t& seen) {
    const std::uint32_t its_owner = seen & ~biased;
    if (!value.compare_exchange_strong(seen, revoking, std::memory_order_acq_rel, std::memory_order_relaxed)) return;
    Memory::fence_everywhere();
    const std::uint8_t was = Memory::wait_until(inside, [](std::uint8_t says) { return says != leaving; });
    seen = was == in ? its_owner : 0;
    uses = never;
    value.store(seen, std::memory_order_release);
  }

  [[nodiscard, gnu::noinline]] bool try_unlock_and_count(std::uint32_t tag) {
    const bool is_enough = count_use(tag);
    std::uint32_t seen = tag;
    return value.compare_exchange_strong(seen, is_enough ? tag | biased : 0, std::memory_order_release,
                                         std::memory_order_relaxed);
  }

  // Returns whether it is to be biased to who holds it.
  [[nodiscard]] bool count_use(std::uint32_t tag) {
    std::uint16_t counted = uses;
    const auto user = static_cast<std::uint16_t>(tag % 0x100 * one_user);
    const auto changes_count = static_cast<std::uint16_t>(counted % one_user / one_change);
    if (counted / one_user * one_user != user) {
      const bool is_shared = changes_count == changes_max;
      uses = is_shared ? never : static_cast<std::uint16_t>(user + (changes_count + 1) * one_change);
    } else if (counted % one_change < Memory::uses_before_bias) {
      uses = ++counted;
    } else {
      const bool can_be_biased = tag != a_thread && Memory::can_fence_everywhere();
      if (!can_be_biased) uses = never;
      return can_be_biased;
    }
    return false;
  }
};

using mutex_word = basic_mutex_word<lock_memory>;
extern template struct basic_mutex_word<lock_memory>;
static_assert(sizeof(mutex_word) == 8);

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
