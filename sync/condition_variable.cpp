// SPDX-License-Identifier: MIT
// Who is told of a notify; how threads wait for one.
#include <gyre/runtime/assert.hpp>
#include <gyre/runtime/executor.hpp>
#include <gyre/sync/condition_variable.hpp>
#include <gyre/sync/detail/word_queues.hpp>
#include <gyre/sync/futex.hpp>

namespace gyre::sync {
namespace {

using detail::condition_words;

// Those who wait at the executor whose turn it is, if there are any.
detail::condition_queue* own_waiters_or_null(const condition_words& words) noexcept {
  if (!executor::has_current()) return nullptr;
  auto* const queues = executor::current().local_or_null<detail::word_queues>();
  if (queues == nullptr) return nullptr;
  auto* const queue = queues->conditions.find(&words);
  return queue != nullptr && queue->has_waiters() ? queue : nullptr;
}

}  // namespace

condition_variable::wait_operation condition_variable::wait(mutex::guard& held) noexcept {
  GYRE_ASSERT(static_cast<bool>(held), "who waits for a condition holds its mutex");
  return wait_operation{words_, *held.mutex_};
}

void condition_variable::wait_blocking(mutex::guard& held) noexcept {
  GYRE_ASSERT(static_cast<bool>(held), "who waits for a condition holds its mutex");
  mutex& locked = *held.mutex_;
  words_.waiters_count.fetch_add(1, std::memory_order_relaxed);
  const std::uint32_t seen = condition_words::count(words_.notifies.load(std::memory_order_relaxed));
  locked.unlock();
  futex_wait_blocking(words_.word(), seen, words_.kind);
  words_.waiters_count.fetch_sub(1, std::memory_order_relaxed);
  static_cast<void>(locked.lock_blocking().release());
}

void condition_variable::notify_one() noexcept {
  if (words_.waiters_count.load(std::memory_order_relaxed) == 0) return;
  words_.notifies.fetch_add(condition_words::one_notify, std::memory_order_release);
  if (auto* const own = own_waiters_or_null(words_)) own->notify_one(words_);
  else futex_wake(words_.word(), 1, words_.kind);
}

void condition_variable::notify_all() noexcept {
  if (words_.waiters_count.load(std::memory_order_relaxed) == 0) return;
  words_.notifies.fetch_add(condition_words::one_notify_of_all, std::memory_order_release);
  if (auto* const own = own_waiters_or_null(words_)) own->notify_all(words_);
  if (words_.waiters_count.load(std::memory_order_relaxed) > 0) futex_wake(words_.word(), every_waiter, words_.kind);
}

}  // namespace gyre::sync
