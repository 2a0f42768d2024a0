// SPDX-License-Identifier: MIT
// A queue of plain values: one place of its own, and then one piece of memory, which grows when it is full and never
// shrinks.
#pragma once

#include <gyre/runtime/assert.hpp>

#include <cstddef>
#include <memory>
#include <new>
#include <type_traits>
#include <utility>

namespace gyre::detail {

/// In the steady state it allocates nothing, where std::deque does so again and again; and nothing at all where each
/// value is taken before the next one comes.
template <class T>
  requires std::is_trivially_copyable_v<T>
class fifo {
 public:
  /// @param first_capacity  A power of two, 2 or more: what it has room for when one place is not enough.
  explicit fifo(std::size_t first_capacity) noexcept : next_capacity_{first_capacity} {
    GYRE_ASSERT(first_capacity >= 2, "a queue that grows has more room than before");
  }
  fifo(const fifo&) = delete;  // it points into itself
  fifo& operator=(const fifo&) = delete;

  [[nodiscard]] bool empty() const noexcept { return begin_ == end_; }
  [[nodiscard]] std::size_t size() const noexcept { return end_ - begin_; }

  /// Returns whether there was memory for it.
  [[nodiscard]] bool push_back(const T& item) noexcept {
    if (size() > mask_ && !grow()) return false;
    items_[end_++ & mask_] = item;
    return true;
  }

  /// There must be one.
  [[nodiscard]] T pop_front() noexcept { return items_[begin_++ & mask_]; }

 private:
  bool grow() noexcept {
    std::unique_ptr<T[]> larger{new (std::nothrow) T[next_capacity_]};
    if (larger == nullptr) return false;
    const std::size_t count = size();
    for (std::size_t i = 0; i < count; ++i) larger[i] = items_[(begin_ + i) & mask_];
    grown_ = std::move(larger);
    items_ = grown_.get();
    mask_ = next_capacity_ - 1;
    next_capacity_ *= 2;
    begin_ = 0;
    end_ = count;
    return true;
  }

  T own_{};
  T* items_ = &own_;
  std::unique_ptr<T[]> grown_;
  std::size_t next_capacity_;
  std::size_t mask_ = 0;
  std::size_t begin_ = 0;  // both count on, and wrap together
  std::size_t end_ = 0;
};

}  // namespace gyre::detail
