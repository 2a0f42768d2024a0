// SPDX-License-Identifier: MIT
// The slow way into a biased lock: for everybody but its owner.
#include <gyre/sync/detail/biased_lock.hpp>
#include <gyre/sync/detail/fence_everywhere.hpp>

namespace gyre::sync::detail {

thread_local constinit char biased_lock::mark_ = 0;

void biased_lock::enter_shared(const void* me) noexcept {
  lock();
  if (owner_.load(std::memory_order_relaxed) != nullptr) return end_bias();
  if (uses_count_ == never) [[likely]]
    return;
  if (latest_ != me) {
    latest_ = me;
    uses_count_ = 0;
  } else if (++uses_count_ == uses_before_bias) {
    if (can_fence_everywhere()) owner_.store(me, std::memory_order_relaxed);
    else uses_count_ = never;
  }
}

void biased_lock::lock() noexcept {
  patience waiting;  // what runs inside takes some 10 ns
  while (locked_.exchange(true, std::memory_order_acquire)) {
    do waiting.wait();
    while (locked_.load(std::memory_order_relaxed));
  }
}

void biased_lock::end_bias() noexcept {
  owner_.store(nullptr, std::memory_order_relaxed);
  fence_everywhere();
  patience waiting;
  while (inside_.load(std::memory_order_acquire)) waiting.wait();
  uses_count_ = never;
}

}  // namespace gyre::sync::detail
