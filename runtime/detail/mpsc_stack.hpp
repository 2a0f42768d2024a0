// SPDX-License-Identifier: MIT
// What other threads hand to an executor: any thread pushes, the executor takes everything at once.
#pragma once

#include <gyre/runtime/detail/runnable.hpp>

#include <atomic>
#include <utility>

namespace gyre::detail {

class mpsc_stack {
 public:
  /// From any thread, also from a signal handler: one compare-and-swap loop, no lock, no allocation.
  void push(runnable& element) noexcept {
    runnable* head = head_.load(std::memory_order_relaxed);
    do element.next = head;
    while (!head_.compare_exchange_weak(head, &element, std::memory_order_release, std::memory_order_relaxed));
  }

  [[nodiscard]] bool empty() const noexcept { return head_.load(std::memory_order_relaxed) == nullptr; }

  /// Everything that was pushed, oldest first, linked through `next`. The owner's thread only.
  [[nodiscard]] runnable* take_all() noexcept {
    runnable* newest = head_.exchange(nullptr, std::memory_order_acquire);
    runnable* oldest = nullptr;
    while (newest != nullptr) {
      runnable* const earlier = newest->next;
      newest->next = oldest;
      oldest = newest;
      newest = earlier;
    }
    return oldest;
  }

 private:
  static_assert(std::atomic<runnable*>::is_always_lock_free, "a signal handler pushes too");
  std::atomic<runnable*> head_ = nullptr;
};

}  // namespace gyre::detail
