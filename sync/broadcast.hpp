// SPDX-License-Identifier: MIT
// A queue of which every subscriber gets every item: broadcast<T>.
//
// The last `capacity` items lie in a ring. Each subscriber has a place of its own in the row of all items; it copies
// what it receives, so that an item stays until it is overwritten. A send never waits:
//
//   a subscriber is             receive() then
//   up to date                  waits
//   behind, by capacity at most gives the next item
//   further behind              gives the oldest that is left, and says how many it has missed
//
// So the slowest subscriber costs the others nothing, and a bounded memory. Where no item may be missed, each
// subscriber has a channel of its own, and the sender waits for the slowest.
//
// Not the type to use: where each item goes to one of several, channel; where the latest value alone counts, watch.
#pragma once

#include <gyre/runtime/assert.hpp>
#include <gyre/runtime/result.hpp>
#include <gyre/runtime/suspension.hpp>
#include <gyre/sync/detail/biased_lock.hpp>
#include <gyre/sync/detail/crowd.hpp>
#include <gyre/sync/detail/filled.hpp>

#include <algorithm>
#include <concepts>
#include <coroutine>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

namespace gyre::sync {

template <class T>
class subscriber;

/// One item, as subscriber::receive() gives it.
template <class T>
struct broadcast_item {
  T value;
  std::uint64_t missed_count = 0;  ///< Items before it that were overwritten before this subscriber took them.
};

/// A queue of items for everybody.
///
///   broadcast<price> prices{256};
///   subscriber<price> mine{prices};                                      // gets what is sent from here on
///   while (const auto item = co_await mine.receive()) show(item->value, item->missed_count);
///
/// @threads  All of it is open to all threads, and to coroutines of all executors. Who waits is resumed on its own
///           executor, in this turn of it or the next. It outlives its subscribers, which an assertion checks.
/// @limits   T can be copied. It is copied under a lock, where other threads spin meanwhile: a large one goes behind a
///           pointer, broadcast<std::shared_ptr<const message>>.
template <class T>
class broadcast : detail::crowd {
  static_assert(std::copy_constructible<T> && std::movable<T>, "each subscriber gets a copy");

 public:
  using value_type = T;

  /// @param capacity  How far a subscriber may fall behind before it misses items; at least 1. Memory for as many is
  ///                  taken here.
  explicit broadcast(std::size_t capacity) : capacity_{capacity} {
    GYRE_ASSERT(capacity > 0, "a broadcast keeps at least one item: for a hand-over there is channel");
    ring_.reserve(capacity);
  }

  /// Sends an item to everybody who subscribes now. Never waits: subscribers that are `capacity` behind lose their
  /// oldest item. Whoever waits is woken.
  ///
  /// @return  How many subscribers there are. None: nobody will ever receive the item.
  /// @errors  What moving a T throws: nothing was sent, but the oldest item can be what a failed swap left. None when T
  ///          moves without an exception.
  /// @limits  Linear in those who wait. After close() it does nothing, and returns 0.
  std::size_t send(T item) {
    granted_suspensions woken;
    std::size_t subscribers_count = 0;
    {
      const detail::holding held{lock_};
      if (closed_) return 0;
      // The oldest item leaves with the parameter: it is destroyed outside the lock.
      if (ring_.size() < capacity_) ring_.push_back(std::move(item));
      else std::ranges::swap(ring_[static_cast<std::size_t>(sent_count_ % capacity_)], item);
      ++sent_count_;
      subscribers_count = members_count_;
      waiting_.move_all_to(woken);
    }
    woken.resume_all();
    return subscribers_count;
  }

  /// Says that nothing more will come: subscribers receive what they have not received yet, and then nothing. A second
  /// close() does nothing.
  void close() noexcept { close_and_wake(); }

  /// Whether close() was called.
  [[nodiscard]] bool closed() const noexcept { return is_closed(); }

  [[nodiscard]] std::size_t capacity() const noexcept { return capacity_; }

  [[nodiscard]] std::size_t subscribers_count() const noexcept {
    const detail::holding held{lock_};
    return members_count_;
  }

 private:
  friend subscriber<T>;
  const std::size_t capacity_;
  std::vector<T> ring_;  // item n lies at n % capacity_
  std::uint64_t sent_count_ = 0;
};

/// Somebody who gets what a broadcast sends.
///
/// @threads  One coroutine at a time uses it; different subscribers are independent. Between two uses it can be handed
///           to another thread. It is not moved while receive() is awaited.
template <class T>
class subscriber {
 public:
  class receive_operation;

  /// Gets what is sent from now on.
  explicit subscriber(broadcast<T>& source) : source_{&source} {
    const detail::holding held{source.lock_};
    next_ = source.sent_count_;
    source.enter();
  }
  subscriber(subscriber&& other) noexcept : source_{std::exchange(other.source_, nullptr)}, next_{other.next_} {}
  subscriber& operator=(subscriber&&) = delete;
  ~subscriber() {
    if (source_ != nullptr) source_->leave();
  }

  /// Gives the next item; waits until there is one.
  ///
  /// @return        co_await gives std::optional<broadcast_item<T>>: the item, and how many were missed before it;
  ///                empty when the broadcast is closed and everything was received.
  /// @errors        What copying a T throws: the item is then the next one still.
  /// @cancellation  Safe: what was not delivered is the next one still. In a scope that is cancelled already it ends
  ///                stopped, also where there is an item.
  [[nodiscard]] receive_operation receive() noexcept { return receive_operation{*this}; }

  /// The next item if there is one.
  [[nodiscard]] std::optional<broadcast_item<T>> try_receive() {
    std::optional<broadcast_item<T>> item;
    receive_if_any(item);
    return item;
  }

 private:
  // Copies it to where it stays: what throws later would lose it.
  void receive_if_any(std::optional<broadcast_item<T>>& item) {
    const detail::holding held{source_->lock_};
    if (next_ == source_->sent_count_) return;
    const std::uint64_t oldest =
        source_->sent_count_ - std::min<std::uint64_t>(source_->sent_count_, source_->capacity_);
    const std::uint64_t taken = std::max(next_, oldest);
    item.emplace(source_->ring_[static_cast<std::size_t>(taken % source_->capacity_)], taken - next_);
    next_ = taken + 1;
  }
  [[nodiscard]] bool must_wait() const noexcept { return next_ == source_->sent_count_ && !source_->closed_; }

  broadcast<T>* source_;
  std::uint64_t next_;  // number of the item that it gets next
};

/// The wait of subscriber::receive().
template <class T>
class [[nodiscard]] subscriber<T>::receive_operation final : public detail::crowd_wait {
 public:
  using value_type = std::optional<broadcast_item<T>>;

  bool await_ready() const noexcept { return false; }
  template <class Promise>
  bool await_suspend(std::coroutine_handle<Promise> awaiter) noexcept {
    return wait_in(*by_->source_, awaiter, [this]() noexcept { return by_->must_wait(); });
  }

  value_type await_resume() {
    resumed();
    return by_->try_receive();
  }
  [[nodiscard]] result<value_type> await_result() {
    if (const auto ended = resumed_with_result(); !ended) return ended.error();
    return detail::filled<broadcast_item<T>>(
        [this](std::optional<broadcast_item<T>>& item) { by_->receive_if_any(item); });
  }

 private:
  friend subscriber<T>;
  explicit receive_operation(subscriber& by) noexcept : crowd_wait{kind_of_broadcast}, by_{&by} {}

  subscriber* by_;
};

}  // namespace gyre::sync
