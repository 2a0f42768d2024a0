// SPDX-License-Identifier: MIT
// Mutexes that are biased to an executor: how one becomes so, and whether it is.
#pragma once

#include <gyre/runtime/executor.hpp>
#include <gyre/runtime/task.hpp>
#include <gyre/sync/detail/mutex_word.hpp>
#include <gyre/sync/mutex.hpp>

#include <atomic>
#include <cstdint>

namespace gyre::test {

inline constexpr int uses_before_bias = sync::detail::lock_memory::uses_before_bias + 2;

/// A mutex is its word.
inline sync::detail::mutex_word& word_of(sync::mutex& locked) noexcept {
  return reinterpret_cast<sync::detail::mutex_word&>(locked);
}

inline bool is_biased(sync::mutex& locked) noexcept {
  return sync::detail::mutex_word::is_biased(word_of(locked).value.load(std::memory_order_relaxed));
}

inline task<> lock_often(sync::mutex& locked, int count) {
  for (; count > 0; --count) const auto held = co_await locked.lock();
}

/// Uses a mutex that nobody holds on `loop` until it is biased, in turns of that. Not where the kernel has no
/// membarrier(2), and not for one that processes share.
inline void bias(sync::mutex& locked, executor& loop) { loop.run(lock_often(locked, uses_before_bias)); }

}  // namespace gyre::test
