// SPDX-License-Identifier: MIT
// What lies in a channel: a ring of items, allocated once, or as often as it doubles where it may grow.
//
// An item moves without an exception here, whatever T does: where moving a T can throw, it is put into a box on its way
// in, and taken out of it at the very end. So an exception of T's leaves either before anything has happened to the
// channel, or when the item can still go back to where it was, first in line.
#pragma once

#include <gyre/runtime/assert.hpp>

#include <cstddef>
#include <limits>
#include <memory>
#include <optional>
#include <type_traits>
#include <utility>

namespace gyre::sync::detail {

/// A T that is moved by a pointer; and those that came back, linked.
template <class T>
struct box {
  explicit box(T&& its_value) : value{std::move(its_value)} {}
  T value;
  std::unique_ptr<box> below;
};

template <class T>
inline constexpr bool moves_safely = std::is_nothrow_move_constructible_v<T>;

/// How a channel keeps a T.
template <class T>
using parcel = std::conditional_t<moves_safely<T>, T, std::unique_ptr<box<T>>>;

template <class T>
parcel<T> wrap(T&& value) noexcept(moves_safely<T>) {
  if constexpr (moves_safely<T>) return std::move(value);
  else return std::make_unique<box<T>>(std::move(value));
}

template <class T>
class item_ring {
 public:
  using item = parcel<T>;

  enum class room : std::uint8_t { fixed, grows };

  item_ring(std::size_t slots_count, room kind) : slots_count_{slots_count}, grows_{kind == room::grows} {
    if (slots_count > 0) slots_ = std::allocator<item>{}.allocate(slots_count);
  }
  item_ring(const item_ring&) = delete;
  item_ring& operator=(const item_ring&) = delete;
  ~item_ring() {
    while (items_count_ > 0) drop_first();
    release();
  }

  [[nodiscard]] bool empty() const noexcept { return items_count_ == 0 && !came_back(); }
  [[nodiscard]] std::size_t size() const noexcept { return items_count_ + came_back_count_; }
  [[nodiscard]] std::size_t capacity() const noexcept {
    return grows_ ? std::numeric_limits<std::size_t>::max() : slots_count_;
  }

  /// Whether there is a slot, or one can be had. False and `grows()`: there is no memory.
  [[nodiscard]] bool has_room() noexcept { return items_count_ < slots_count_ || (grows_ && grow()); }
  [[nodiscard]] bool grows() const noexcept { return grows_; }

  /// When it has room.
  void push_back(item&& entering) noexcept {
    std::construct_at(slot(items_count_), std::move(entering));
    ++items_count_;
  }

  /// An item that could not be taken out: it is the first again, whether there is room or not.
  void come_back(item&& returning) noexcept
    requires(!moves_safely<T>)
  {
    returning->below = std::move(came_back_);
    came_back_ = std::move(returning);
    ++came_back_count_;
  }

  /// When it is not empty.
  void pop_front_into(std::optional<item>& taker) noexcept {
    if constexpr (!moves_safely<T>) {
      if (came_back_ != nullptr) return pop_came_back_into(taker);
    }
    taker.emplace(std::move(*slot(0)));
    drop_first();
  }

 private:
  [[nodiscard]] bool came_back() const noexcept { return !moves_safely<T> && came_back_count_ > 0; }

  void pop_came_back_into(std::optional<item>& taker) noexcept {
    item first = std::move(came_back_);
    came_back_ = std::move(first->below);
    --came_back_count_;
    taker.emplace(std::move(first));
  }

  item* slot(std::size_t index) noexcept {
    const std::size_t position = first_ + index;
    return slots_ + (position < slots_count_ ? position : position - slots_count_);
  }

  void drop_first() noexcept {
    std::destroy_at(slots_ + first_);
    if (++first_ == slots_count_) first_ = 0;
    --items_count_;
  }

  void release() noexcept {
    if (slots_ != nullptr) std::allocator<item>{}.deallocate(slots_, slots_count_);
  }

  // Linear, and not often: it doubles.
  [[gnu::noinline]] bool grow() noexcept {
    constexpr std::size_t slots_min = 16;
    const std::size_t larger_count = slots_count_ == 0 ? slots_min : slots_count_ * 2;
    item* larger = nullptr;
    try {
      larger = std::allocator<item>{}.allocate(larger_count);
    } catch (...) {
      return false;
    }
    for (std::size_t index = 0; index < items_count_; ++index) {
      std::construct_at(larger + index, std::move(*slot(index)));
      std::destroy_at(slot(index));
    }
    release();
    slots_ = larger;
    slots_count_ = larger_count;
    first_ = 0;
    return true;
  }

  struct nothing {};

  item* slots_ = nullptr;
  std::size_t slots_count_;
  std::size_t first_ = 0;
  std::size_t items_count_ = 0;
  bool grows_;
  std::size_t came_back_count_ = 0;
  [[no_unique_address]] std::conditional_t<moves_safely<T>, nothing, item> came_back_;
};

}  // namespace gyre::sync::detail
