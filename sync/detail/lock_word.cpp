// SPDX-License-Identifier: MIT
// The moves of a lock's word, and what plain threads do when it is taken.
#include <gyre/runtime/assert.hpp>
#include <gyre/sync/detail/lock_word.hpp>
#include <gyre/sync/detail/word_queues.hpp>
#include <gyre/sync/futex.hpp>

namespace gyre::sync::detail {

std::uint32_t tag_for(const lock_word& lock) noexcept { return lock.my_tag(); }

bool try_claim(lock_word& lock, std::uint32_t& seen, std::uint32_t desired, claimed& how) noexcept {
  how = claimed::cleanly;
  return lock.value.compare_exchange_strong(seen, desired, std::memory_order_acquire, std::memory_order_relaxed);
}

bool try_claim_at_once(lock_word& lock, claimed& how) noexcept {
  const std::uint32_t tag = tag_for(lock);
  std::uint32_t seen = lock.value.load(std::memory_order_relaxed);
  while (lock_word::owner(seen) == 0)
    if (try_claim(lock, seen, tag | (seen & lock_word::waits), how)) return true;
  return false;
}

std::uint32_t give_up(lock_word& lock, std::uint32_t left) noexcept {
  return lock.value.exchange(left, std::memory_order_release);
}

void give_up_and_wake(lock_word& lock) noexcept {
  const auto kind = lock.kind();  // once it is given up, somebody else may destroy it
  if ((give_up(lock, 0) & lock_word::waits) != 0) futex_wake(lock.value, 1, kind);
}

claimed claim_blocking(lock_word& lock) noexcept {
  GYRE_ASSERT(!executor::has_current(), "a turn of an executor never blocks: co_await lock() instead");
  const std::uint32_t tag = tag_for(lock);
  std::uint32_t others_sleep = 0;  // whoever has slept knows nothing of others: who left the lock made 0 of it
  std::uint32_t seen = lock.value.load(std::memory_order_relaxed);
  for (;;) {
    claimed how = claimed::cleanly;
    if (lock_word::owner(seen) == 0) {
      if (try_claim(lock, seen, tag | others_sleep | (seen & lock_word::waits), how)) return how;
      continue;
    }
    const std::uint32_t said = seen | lock_word::waits;
    if (seen != said && !lock.value.compare_exchange_weak(seen, said, std::memory_order_relaxed)) continue;
    if (futex_wait_blocking(lock.value, said, lock.kind())) others_sleep = lock_word::waits;
    seen = lock.value.load(std::memory_order_relaxed);
  }
}

void unlock_with_waiters(lock_word& lock) noexcept {
  [[maybe_unused]] const std::uint32_t owner = lock_word::owner(lock.value.load(std::memory_order_relaxed));
  GYRE_ASSERT(owner == tag_for(lock) || (lock.sort == lock_sort::in_process && owner == lock_word::a_thread),
              "a mutex is unlocked on the executor whose coroutine locked it, in one of its turns");
  if (executor::has_current())
    if (word_queues* const queues = executor::current().local_or_null<word_queues>())
      if (lock_queue* const queue = queues->locks.find(&lock.value); queue != nullptr && queue->has_waiters())
        return queue->hand_over(lock);
  give_up_and_wake(lock);
}

}  // namespace gyre::sync::detail
