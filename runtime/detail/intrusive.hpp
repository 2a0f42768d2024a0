// SPDX-License-Identifier: MIT
// Two lists whose links live in their elements: a FIFO queue, and a ring that an element can leave by itself.
//
// Neither allocates, owns or moves an element.
#pragma once

#include <gyre/runtime/assert.hpp>

#include <cstddef>
#include <type_traits>

namespace gyre::detail {

/// First in, first out, through the member `next` that T has or inherits as a pointer. Not movable: the
/// empty queue points into itself.
template <class T>
class intrusive_queue {
 public:
  intrusive_queue() noexcept = default;
  intrusive_queue(const intrusive_queue&) = delete;
  intrusive_queue& operator=(const intrusive_queue&) = delete;

  [[nodiscard]] bool empty() const noexcept { return head_ == nullptr; }
  [[nodiscard]] T* front() const noexcept { return head_; }

  void push_back(T& element) noexcept {
    element.next = nullptr;
    *tail_ = &element;
    tail_ = &element.next;
  }

  /// The first element, or null when there is none.
  T* pop_front() noexcept {
    T* const first = head_;
    if (first == nullptr) return nullptr;
    head_ = first->next;
    if (head_ == nullptr) tail_ = &head_;
    return first;
  }

  /// Moves everything that `other` holds to the front of this queue, in its order.
  void take_front(intrusive_queue& other) noexcept {
    if (other.empty()) return;
    *other.tail_ = head_;
    if (head_ == nullptr) tail_ = other.tail_;
    head_ = other.head_;
    other.head_ = nullptr;
    other.tail_ = &other.head_;
  }

  /// Moves everything that `other` holds to the back of this queue, in its order.
  void take_back(intrusive_queue& other) noexcept {
    if (other.empty()) return;
    *tail_ = other.head_;
    tail_ = other.tail_;
    other.head_ = nullptr;
    other.tail_ = &other.head_;
  }

  /// Takes `element` out of the middle; linear. Returns whether it was there.
  bool remove(T& element) noexcept {
    for (T** link = &head_; *link != nullptr; link = &(*link)->next) {
      if (*link != &element) continue;
      *link = element.next;
      if (*link == nullptr) tail_ = link;
      return true;
    }
    return false;
  }

  /// Whether its links lead to where its end is said to be; looked at as far as `most` elements. For GYRE_ASSERT_ALL.
  [[nodiscard]] bool is_sound(std::size_t most) const noexcept {
    T* const* link = &head_;
    for (; *link != nullptr && most > 0; --most) link = &(*link)->next;
    return *link != nullptr || link == tail_;
  }

  /// Appends many elements, keeping the end of the queue at hand. The queue is not to be touched until end(), but in
  /// interrupt().
  class appender {
   public:
    explicit appender(intrusive_queue& extended) noexcept : queue_{extended}, tail_{extended.tail_} {}

    void push_back(T& element) noexcept {
      *tail_ = &element;
      tail_ = &element.next;
    }

    /// Calls `fn`, which may use the queue.
    template <class Fn>
    void interrupt(Fn fn) noexcept {
      end();
      fn();
      tail_ = queue_.tail_;
    }

    void end() noexcept {
      *tail_ = nullptr;
      queue_.tail_ = tail_;
    }

   private:
    intrusive_queue& queue_;
    T** tail_;
  };

 private:
  T* head_ = nullptr;
  T** tail_ = &head_;
};

/// The links of an element of an intrusive_ring. An element out of any ring points to itself.
class ring_links {
 public:
  ring_links() noexcept = default;
  ring_links(const ring_links&) = delete;
  ring_links& operator=(const ring_links&) = delete;

  /// Leaves the ring. Does nothing out of one.
  void unlink() noexcept {
    previous_->next_ = next_;
    next_->previous_ = previous_;
    previous_ = next_ = this;
  }

  [[nodiscard]] bool linked() const noexcept { return next_ != this; }

 private:
  template <class T>
  friend class intrusive_ring;

  ring_links* previous_ = this;
  ring_links* next_ = this;
};

/// Elements in the order in which they came; each can leave in constant time, without knowing the ring.
/// T derives from ring_links.
template <class T>
class intrusive_ring {
 public:
  [[nodiscard]] bool empty() const noexcept { return !sentinel_.linked(); }

  void push_back(T& element) noexcept {
    ring_links& links = element;
    links.previous_ = sentinel_.previous_;
    links.next_ = &sentinel_;
    sentinel_.previous_->next_ = &links;
    sentinel_.previous_ = &links;
  }

  /// The oldest element, or null.
  [[nodiscard]] T* front() noexcept { return element(sentinel_.next_); }

  /// Whoever came after `current`, or null.
  [[nodiscard]] T* after(T& current) noexcept { return element(static_cast<ring_links&>(current).next_); }

  /// Calls `visit(element)` for each. The visit may unlink the element that it is given, and no other.
  template <class Visit>
  void for_each(Visit visit) {
    for (ring_links* links = sentinel_.next_; links != &sentinel_;) {
      ring_links* const following = links->next_;
      visit(static_cast<T&>(*links));
      links = following;
    }
  }

 private:
  T* element(ring_links* links) noexcept { return links == &sentinel_ ? nullptr : static_cast<T*>(links); }

  ring_links sentinel_;
};

}  // namespace gyre::detail
