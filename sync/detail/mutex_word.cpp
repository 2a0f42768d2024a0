// SPDX-License-Identifier: MIT
// The moves of a lock's word, and what plain threads do when it is taken.
#include <gyre/runtime/assert.hpp>
#include <gyre/sync/detail/mutex_word.hpp>
#include <gyre/sync/detail/robust_lock.hpp>
#include <gyre/sync/detail/word_queues.hpp>
#include <gyre/sync/futex.hpp>

#include <linux/futex.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <cerrno>

namespace gyre::sync::detail {

template struct basic_mutex_word<lock_memory>;

std::uint32_t tag_for(const mutex_word& lock) noexcept {
  return lock.sort == lock_sort::robust ? this_thread_id() : lock.my_tag();
}

bool try_claim(mutex_word& lock, std::uint32_t& seen, std::uint32_t desired, claimed& how) noexcept {
  if (lock.sort == lock_sort::robust) return try_claim_robust(lock, seen, desired, how);
  how = claimed::cleanly;
  return lock.value.compare_exchange_strong(seen, desired, std::memory_order_acquire, std::memory_order_relaxed);
}

bool try_claim_at_once(mutex_word& lock, claimed& how) noexcept {
  const std::uint32_t tag = tag_for(lock);
  std::uint32_t seen = lock.value.load(std::memory_order_relaxed);
  if (seen == (tag | mutex_word::biased)) {
    if (lock.try_lock_at_once(tag)) return true;
    seen = lock.value.load(std::memory_order_relaxed);
    if (seen == (tag | mutex_word::biased)) return false;  // held here
  }
  seen = lock.without_bias(seen, tag);
  while (mutex_word::owner(seen) == 0)
    if (try_claim(lock, seen, tag | (seen & mutex_word::waits), how)) return true;
  return false;
}

std::uint32_t give_up(mutex_word& lock, std::uint32_t left) noexcept {
  return lock.value.exchange(left, std::memory_order_release);
}

void give_up_and_wake(mutex_word& lock) noexcept {
  if (lock.sort == lock_sort::robust) return give_up_robust_and_wake(lock);
  const auto kind = lock.kind();  // once it is given up, somebody else may destroy it
  if ((give_up(lock, 0) & mutex_word::waits) != 0) futex_wake(lock.value, 1, kind);
}

namespace {

// FUTEX_WAIT of a robust lock, and no longer than look_interval: see there.
bool futex_wait_for_a_while(const std::atomic<std::uint32_t>& word, std::uint32_t expected) noexcept {
  const timespec time{.tv_sec = 0, .tv_nsec = look_interval.count()};
  return ::syscall(SYS_futex, &word, FUTEX_WAIT, expected, &time, nullptr, 0) == 0 || errno != EAGAIN;
}

}  // namespace

claimed claim_blocking(mutex_word& lock) noexcept {
  GYRE_ASSERT(!executor::has_current(), "a turn of an executor never blocks: co_await lock() instead");
  claimed how = claimed::cleanly;
  lock.claim_asleep(
      tag_for(lock), [&](std::uint32_t& seen, std::uint32_t desired) { return try_claim(lock, seen, desired, how); },
      [&](std::uint32_t said) {
        const bool is_robust = lock.sort == lock_sort::robust;
        return is_robust ? futex_wait_for_a_while(lock.value, said)
                         : futex_wait_blocking(lock.value, said, lock.kind());
      });
  return how;
}

void unlock_with_waiters(mutex_word& lock) noexcept {
  [[maybe_unused]] const std::uint32_t owner = mutex_word::owner(lock.value.load(std::memory_order_relaxed));
  GYRE_ASSERT(owner == tag_for(lock) || (lock.sort == lock_sort::in_process && owner == mutex_word::a_thread),
              "a mutex is unlocked on the executor whose coroutine locked it, in one of its turns");
  if (lock.sort == lock_sort::robust && is_inconsistent(lock)) return give_up_and_wake(lock);
  if (executor::has_current())
    if (word_queues* const queues = executor::current().local_or_null<word_queues>())
      if (lock_queue* const queue = queues->locks.find(&lock.value); queue != nullptr && queue->has_waiters())
        return queue->hand_over(lock);
  give_up_and_wake(lock);
}

}  // namespace gyre::sync::detail
