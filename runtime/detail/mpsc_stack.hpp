// SPDX-License-Identifier: MIT
// What other threads hand to an executor: any thread pushes, the executor takes everything at once.
#pragma once

#include <atomic>

namespace gyre::detail {

/// @tparam Element  Has the member `next`, a pointer to another one.
/// @tparam Memory   Whose atomics these are: see inbox.hpp.
template <class Element, class Memory>
class basic_mpsc_stack {
 public:
  /// From any thread, also from a signal handler: one compare-and-swap loop, no lock, no allocation.
  void push(Element& element) {
    Element* head = head_.load(std::memory_order_relaxed);
    do element.next = head;
    while (!head_.compare_exchange_weak(head, &element, std::memory_order_release, std::memory_order_relaxed));
  }

  [[nodiscard]] bool empty() const { return head_.load(std::memory_order_relaxed) == nullptr; }

  /// Everything that was pushed, oldest first, linked through `next`. The owner's thread only.
  [[nodiscard]] Element* take_all() {
    Element* newest = head_.exchange(nullptr, std::memory_order_acquire);
    Element* oldest = nullptr;
    while (newest != nullptr) {
      Element* const earlier = newest->next;
      newest->next = oldest;
      oldest = newest;
      newest = earlier;
    }
    return oldest;
  }

 private:
  static_assert(std::atomic<Element*>::is_always_lock_free, "a signal handler pushes too");
  typename Memory::template atomic<Element*> head_{nullptr};
};

}  // namespace gyre::detail
