// SPDX-License-Identifier: MIT
// What channels have in common whatever they carry: who waits at them, how a wait is granted, and how it is cancelled.
//
// A send or a receive that has to wait has a `place` in one of the two queues of its channel; a select() has a place
// for each of its cases. Whose they are is a `party`: a coroutine, or a thread that blocks.
//
//   a place is taken out of its queue by     under the lock of its channel, and
//   the other side: pop_claimed()            claims its party, moves the item; after the lock, wakes the party
//   close()                                  the same without an item
//   a cancel                                 only if nobody has claimed its party
//   its party                                what is left of a select() that was granted elsewhere
//
// With one place, being in the queue is being unclaimed: the lock decides. With several, which lie under several locks,
// an atomic of the party decides: whoever changes `claimed_by_` from null. A place whose party is claimed already is
// dropped by whoever comes across it. Nobody ever waits for a claim, so that selects that meet each other on channels
// in any order cannot block each other; and a select takes the locks of its channels in the order of their addresses.
//
// Who has claimed a party is the only one that writes to its place from then on, until it wakes the party. So a cancel
// that comes later changes nothing: the item is on its way, and is delivered.
#pragma once

#include <gyre/runtime/suspension.hpp>
#include <gyre/sync/detail/biased_lock.hpp>

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <mutex>

namespace gyre::sync::detail {

class party;

/// How a send or a receive goes. As wide as a register: clang reads it back with what lies beside it, which a narrower
/// store would hold up by 6 ns.
enum class step : std::uint32_t {
  must_wait,
  done,
  closed,
  no_memory  ///< An unbounded channel could not grow.
};

/// Where a party stands in a queue of a channel. Under the channel's lock; once claimed, the claimer's.
struct place {
  place() noexcept {}

  // Links and all are set when it is queued: an operation that need not wait pays for nothing.
  place* previous;
  place* next = nullptr;  // null: in no queue
  party* whose;
  void* item;  // of a sender, what it sends; of a receiver, the optional that it wants filled
  step how;    // when it was claimed

  /// Leaves its queue. False: it was in none.
  bool leave() noexcept {
    if (next == nullptr) return false;
    previous->next = next;
    next->previous = previous;
    next = nullptr;
    return true;
  }
};

/// Who waits, at one place or at several.
class party {
 public:
  party(const party&) = delete;
  party& operator=(const party&) = delete;

  /// Decides that what happens at `at` is what it waited for. False: something else was.
  [[nodiscard]] bool claim(place& at) noexcept {
    return !has_several_places_ || decide(&at);  // with one place the lock of its channel has decided
  }

  /// The same for a cancel of one with several places.
  [[nodiscard]] bool claim_for_cancel() noexcept { return decide(&cancelled_); }

  /// Ends the wait, after it was claimed. It may be gone when this returns. Outside any lock.
  void wake() noexcept { wake_(*this); }

  /// Which of several places it was claimed at. For the party itself, awake.
  [[nodiscard]] place* claimed_by() const noexcept { return claimed_by_.load(std::memory_order_relaxed); }

 protected:
  enum class stands_at : std::uint8_t { one_place, several_places };
  using wake_fn = void (*)(party& self) noexcept;

  party(stands_at where, wake_fn on_wake) noexcept
      : wake_{on_wake}, has_several_places_{where == stands_at::several_places} {}
  ~party() = default;

 private:
  bool decide(place* by) noexcept {
    place* nobody = nullptr;
    return claimed_by_.compare_exchange_strong(nobody, by, std::memory_order_acq_rel, std::memory_order_relaxed);
  }
  static place cancelled_;

  const wake_fn wake_;
  std::atomic<place*> claimed_by_ = nullptr;
  const bool has_several_places_;
};

/// The places of one side of a channel, in the order in which they came. Under the channel's lock.
class place_queue {
 public:
  place_queue() noexcept { end_.previous = end_.next = &end_; }
  place_queue(const place_queue&) = delete;
  place_queue& operator=(const place_queue&) = delete;

  [[nodiscard]] bool empty() const noexcept { return end_.next == &end_; }

  void push_back(place& entering) noexcept {
    entering.previous = end_.previous;
    entering.next = &end_;
    end_.previous->next = &entering;
    end_.previous = &entering;
  }

  /// Takes out the first whose party can be claimed for it; null when there is none. Others are dropped on the way.
  [[nodiscard]] place* pop_claimed() noexcept {
    if (empty()) [[likely]]
      return nullptr;
    return pop_claimed_slowly();
  }

 private:
  [[nodiscard]] place* pop_claimed_slowly() noexcept;

  place end_;
};

/// A channel without what it carries.
class channel_base {
 public:
  channel_base(const channel_base&) = delete;
  channel_base& operator=(const channel_base&) = delete;

  /// Ends every wait that there is as closed, and every later one that finds nothing to take.
  void close() noexcept;

  [[nodiscard]] bool closed() const noexcept {
    const holding held{lock_};
    return closed_;
  }

 protected:
  channel_base() noexcept = default;
  ~channel_base();

  /// Whether an operation that need not wait gives way to others now, so that an endless row of them starves nobody,
  /// and a stop arrives. Once in an odd number: senders and receivers that take turns are both hit.
  [[nodiscard]] bool is_time_to_give_way() noexcept {
    if (++at_once_count_ < at_once_max) return false;
    at_once_count_ = 0;
    return true;
  }
  static constexpr std::uint32_t at_once_max = 255;

  /// Where a select() begins to look, among `count` cases: each as often as any other, in no order.
  [[nodiscard]] std::size_t any_of(std::size_t count) noexcept {
    dice_ = dice_ * 1664525U + 1013904223U;  // Numerical Recipes
    return static_cast<std::size_t>(static_cast<std::uint64_t>(dice_) * count >> 32U);
  }

  mutable biased_lock lock_;
  // All under the lock.
  bool closed_ = false;
  std::uint32_t at_once_count_ = 0;
  std::uint32_t dice_ = 0;
  place_queue senders_;    // only while there is no room
  place_queue receivers_;  // only while there is nothing to take

 private:
  friend class channel_wait;
  friend class select_wait;
  friend class select_round;
};

/// A coroutine that waits at one place.
class channel_wait final : public suspension, public party {
 public:
  channel_wait(const suspension_kind& its_kind, channel_base& at, place& its_place) noexcept
      : suspension{its_kind}, party{stands_at::one_place, &wake_coroutine}, channel_{at}, place_{its_place} {
    place_.whose = this;
  }

  using suspension::begin;
  using suspension::end_at_once;
  using suspension::is_undisturbed;
  using suspension::resumed;
  using suspension::resumed_with_result;

  static const suspension_kind kind_of_send;
  static const suspension_kind kind_of_receive;

 private:
  static void wake_coroutine(party& self) noexcept { static_cast<channel_wait&>(self).resume_from_any_thread(); }
  static bool withdraw(suspension& self) noexcept;

  channel_base& channel_;
  place& place_;
};

/// A thread that blocks at one place.
class blocked_thread final : public party {
 public:
  explicit blocked_thread(place& its_place) noexcept : party{stands_at::one_place, &wake_thread} {
    its_place.whose = this;
  }

  /// Until wake().
  void block() noexcept;

  /// Stops the program where blocking would stop an executor.
  static void check_that_it_may() noexcept;

 private:
  static void wake_thread(party& self) noexcept;

  std::mutex mutex_;
  std::condition_variable woken_;
  bool is_awake_ = false;
};

}  // namespace gyre::sync::detail
