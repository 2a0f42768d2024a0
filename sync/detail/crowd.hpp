// SPDX-License-Identifier: MIT
// Those who wait for the same: watch and broadcast wake all of them at once, and each looks for itself what there is.
//
// What is woken has been taken out of the list under the lock, all together; a cancel that comes then finds it gone,
// and does nothing: who is resumed finds something new, as it was woken for it.
#pragma once

#include <gyre/runtime/suspension.hpp>
#include <gyre/sync/detail/biased_lock.hpp>

#include <coroutine>
#include <cstddef>
#include <cstdint>

namespace gyre::sync::detail {

class crowd {
 public:
  crowd(const crowd&) = delete;
  crowd& operator=(const crowd&) = delete;

 protected:
  crowd() noexcept = default;
  ~crowd();

  /// Somebody who may wait here begins to exist, under the lock, and ends, outside it.
  void enter() noexcept { ++members_count_; }
  void leave() noexcept;

  void close_and_wake() noexcept;
  [[nodiscard]] bool is_closed() const noexcept;

  /// Whether a wait that finds something at once gives way to others now: see channel_base.
  [[nodiscard]] bool is_time_to_give_way() noexcept {
    if (++at_once_count_ < at_once_max) return false;
    at_once_count_ = 0;
    return true;
  }
  static constexpr std::uint32_t at_once_max = 255;

  mutable biased_lock lock_;
  // All under the lock.
  bool closed_ = false;
  std::uint32_t at_once_count_ = 0;
  std::size_t members_count_ = 0;
  suspension_list waiting_;

 private:
  friend class crowd_wait;
};

/// A wait for a crowd to be woken.
class crowd_wait : public suspension {
 protected:
  explicit crowd_wait(const suspension_kind& its_kind) noexcept : suspension{its_kind} {}
  crowd_wait(crowd_wait&&) noexcept = default;

  /// The await_suspend() of who waits in `at` as long as must_wait(), which is asked under the lock.
  template <class Promise, class MustWait>
  bool wait_in(crowd& at, std::coroutine_handle<Promise> awaiter, MustWait must_wait) noexcept {
    if (!begin(awaiter)) return true;
    at_ = &at;
    bool gives_way = false;
    {
      const holding held{at.lock_};
      if (must_wait()) {
        at.waiting_.push_back(*this);
        return true;
      }
      gives_way = at.is_time_to_give_way();
    }
    if (gives_way) resume_next_turn();
    else end_at_once();
    return gives_way;
  }

  static const suspension_kind kind_of_watch;
  static const suspension_kind kind_of_broadcast;

 private:
  static bool withdraw(suspension& self) noexcept;

  crowd* at_ = nullptr;
};

}  // namespace gyre::sync::detail
