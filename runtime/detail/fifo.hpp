// SPDX-License-Identifier: MIT
// A queue of plain values in one piece of memory, which grows when it is full and never shrinks.
#pragma once

#include <cstddef>
#include <memory>
#include <new>
#include <type_traits>
#include <utility>

namespace gyre::detail {

/// In the steady state it allocates nothing, where std::deque does so again and again.
template <class T>
  requires std::is_trivially_copyable_v<T>
class fifo {
 public:
  /// @param capacity  A power of two, which it begins with.
  explicit fifo(std::size_t capacity) : items_{std::make_unique<T[]>(capacity)}, mask_{capacity - 1} {}

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
    std::unique_ptr<T[]> larger{new (std::nothrow) T[2 * (mask_ + 1)]};
    if (larger == nullptr) return false;
    const std::size_t count = size();
    for (std::size_t i = 0; i < count; ++i) larger[i] = items_[(begin_ + i) & mask_];
    items_ = std::move(larger);
    mask_ = 2 * mask_ + 1;
    begin_ = 0;
    end_ = count;
    return true;
  }

  std::unique_ptr<T[]> items_;
  std::size_t mask_;
  std::size_t begin_ = 0;  // both count on, and wrap together
  std::size_t end_ = 0;
};

}  // namespace gyre::detail
