// SPDX-License-Identifier: MIT
// What lies in a channel: a ring of items, allocated once, or as often as it doubles where it may grow.
//
// An item moves without an exception here, whatever T does: where moving a T can throw, it is put into a box on its way
// in, and taken out of it at the very end. So an exception of T's leaves either before anything has happened to the
// channel, or when the item can still go back to where it was, first in line.
#pragma once

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
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
  std::uint64_t number = 0;  // how many had left the channel when this one first did; 0: it has not
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

  item_ring(std::size_t capacity, room kind) : capacity_{capacity}, grows_{kind == room::grows} {
    if (capacity > 0) {
      slots_ = std::allocator<item>{}.allocate(std::bit_ceil(capacity));
      mask_ = std::bit_ceil(capacity) - 1;
    }
  }
  item_ring(const item_ring&) = delete;
  item_ring& operator=(const item_ring&) = delete;
  ~item_ring() {
    for (; first_ != end_; ++first_) std::destroy_at(&slot(first_));
    release();
    if constexpr (!moves_safely<T>)
      while (came_back_ != nullptr) came_back_ = std::move(came_back_->below);  // not each inside the one before
  }

  [[nodiscard]] bool empty() const noexcept { return first_ == end_ && came_back_count_ == 0; }
  [[nodiscard]] std::size_t size() const noexcept { return end_ - first_ + came_back_count_; }
  [[nodiscard]] std::size_t capacity() const noexcept {
    return grows_ ? std::numeric_limits<std::size_t>::max() : capacity_;
  }
  [[nodiscard]] bool grows() const noexcept { return grows_; }

  /// Whether there is room, or can be made. False where it grows(): there is no memory.
  [[nodiscard]] bool has_room() noexcept { return end_ - first_ < capacity_ || (grows_ && grow()); }

  /// When it has room.
  void push_back(item&& entering) noexcept { std::construct_at(&slot(end_++), std::move(entering)); }

  /// An item goes to who takes it: whether it lay in the ring, or goes by it.
  void note_leaving(item& leaving) noexcept {
    if constexpr (!moves_safely<T>)
      if (leaving->number == 0) leaving->number = ++left_count_;
  }

  /// An item that could not be taken out: it is the first again, whether there is room or not; behind those that came
  /// back as well and had left before it.
  void come_back(item&& returning) noexcept
    requires(!moves_safely<T>)
  {
    item* place = &came_back_;
    while (*place != nullptr && (*place)->number < returning->number) place = &(*place)->below;
    returning->below = std::move(*place);
    *place = std::move(returning);
    ++came_back_count_;
  }

  /// When it is not empty.
  void pop_front_into(std::optional<item>& taker) noexcept {
    if constexpr (!moves_safely<T>) {
      if (came_back_count_ > 0) return pop_came_back_into(taker);
    }
    item& first = slot(first_++);
    note_leaving(first);
    taker.emplace(std::move(first));
    std::destroy_at(&first);
  }

 private:
  void pop_came_back_into(std::optional<item>& taker) noexcept {
    item first = std::move(came_back_);
    came_back_ = std::move(first->below);
    --came_back_count_;
    taker.emplace(std::move(first));
  }

  item& slot(std::size_t number) noexcept { return slots_[number & mask_]; }

  void release() noexcept {
    if (slots_ != nullptr) std::allocator<item>{}.deallocate(slots_, mask_ + 1);
  }

  // Linear, and not often: it doubles.
  [[gnu::noinline]] bool grow() noexcept {
    constexpr std::size_t capacity_min = 16;
    const std::size_t larger_capacity = std::max(capacity_ * 2, capacity_min);
    item* larger = nullptr;
    try {
      larger = std::allocator<item>{}.allocate(larger_capacity);
    } catch (...) {
      return false;
    }
    for (std::size_t number = first_; number != end_; ++number) {
      std::construct_at(larger + (number & (larger_capacity - 1)), std::move(slot(number)));
      std::destroy_at(&slot(number));
    }
    release();
    slots_ = larger;
    mask_ = larger_capacity - 1;
    capacity_ = larger_capacity;
    return true;
  }

  struct nothing {};

  item* slots_ = nullptr;
  std::size_t mask_ = 0;  // their number is a power of two, the capacity as it was asked for
  std::size_t capacity_;

  // Numbers of items since the beginning: a send writes to one of the two, a receive to the other.
  std::size_t first_ = 0;
  std::size_t end_ = 0;

  bool grows_;
  std::conditional_t<moves_safely<T>, std::integral_constant<std::size_t, 0>, std::size_t> came_back_count_{};
  [[no_unique_address]] std::conditional_t<moves_safely<T>, nothing, std::uint64_t> left_count_{};
  [[no_unique_address]] std::conditional_t<moves_safely<T>, nothing, item> came_back_;
};

}  // namespace gyre::sync::detail
