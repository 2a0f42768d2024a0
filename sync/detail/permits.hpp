// SPDX-License-Identifier: MIT
// Permits that coroutines take and give back: what semaphore, shared_mutex and auto_event have in common.
//
// Strictly first in, first out. Permits that come while somebody waits go to who has waited longest, as soon as they
// are enough for that one; whoever comes later waits behind, also where there is enough for it. So nobody starves, and
// a permit that was granted is taken: it is not there any more for anybody else, whether its taker has been resumed yet
// or not.
#pragma once

#include <gyre/runtime/assert.hpp>
#include <gyre/runtime/suspension.hpp>
#include <gyre/sync/detail/short_lock.hpp>

#include <coroutine>
#include <cstdint>
#include <utility>

namespace gyre::sync::detail {

template <class Lock>
class permits_wait;

template <class Lock>
class permits : lock_word {
 public:
  static constexpr std::uint64_t count_max = number_max;

  explicit permits(std::uint64_t count) noexcept : lock_{count} {}

  [[nodiscard]] std::uint64_t available() const noexcept { return number_in(lock_.look()); }
  [[nodiscard]] bool nobody_waits() const noexcept { return (lock_.look() & waited) == 0; }

  /// Takes `count` if there are as many and nobody waits.
  [[nodiscard]] bool try_take(std::uint64_t count) noexcept {
    for (word seen = lock_.look();;) {
      if ((seen & waited) != 0 || number_in(seen) < count) return false;
      if (lock_.try_change(seen, seen - count * one)) return true;
    }
  }

  void give(std::uint64_t count) noexcept {
    for (word seen = lock_.look(); (seen & waited) == 0;) {
      GYRE_ASSERT(count <= count_max - number_in(seen), "more permits were given than can be counted");
      if (lock_.try_change(seen, seen + count * one)) return;
    }
    serve(count);
  }

  /// Gives one to who has waited longest. Where nobody waits, there is one afterwards, and not more.
  void give_one_at_most() noexcept {
    for (word seen = lock_.look(); (seen & waited) == 0;)
      if (lock_.try_change(seen, one)) return;  // also where it says so already: see event::set()
    serve_one_at_most();
  }

  /// Takes all that there are. Returns how many.
  std::uint64_t take_all() noexcept {
    for (word seen = lock_.look();;)
      if (lock_.try_change(seen, seen & waited)) return number_in(seen);
  }

  /// Takes what `entering` wants and returns false, or has it wait.
  [[nodiscard]] bool take_or_enter(permits_wait<Lock>& entering) noexcept;

  /// Takes `leaving` out if it waits still, and lets those on whom it stood in the way.
  [[nodiscard]] bool leave(permits_wait<Lock>& leaving) noexcept;

 private:
  void serve(std::uint64_t count) noexcept;
  void serve_one_at_most() noexcept;
  [[nodiscard]] word grant(std::uint64_t available, granted_suspensions& granted) noexcept;

  Lock lock_;
  suspension_list waiting_;  // under the lock
};

/// The wait for some of them.
template <class Lock>
class permits_wait : public suspension {
 public:
  [[nodiscard]] bool await_ready() noexcept { return from_.try_take(count_); }

  template <class Promise>
  bool await_suspend(std::coroutine_handle<Promise> awaiter) noexcept {
    if (!begin(awaiter) || from_.take_or_enter(*this)) return true;
    end_at_once();
    return false;
  }

 protected:
  permits_wait(const suspension_kind& its_kind, permits<Lock>& from, std::uint64_t count) noexcept
      : suspension{its_kind}, count_{count}, from_{from} {}
  permits_wait(permits_wait&& other) noexcept
      : suspension{std::move(other)}, count_{other.count_}, from_{other.from_} {}
  ~permits_wait() = default;

  static bool withdraw(suspension& self) noexcept {
    auto& mine = static_cast<permits_wait&>(self);
    return mine.from_.leave(mine);
  }

  [[nodiscard]] permits<Lock>& from() const noexcept { return from_; }
  [[nodiscard]] std::uint64_t count() const noexcept { return count_; }

 private:
  friend permits<Lock>;
  std::uint64_t count_;  // not in the order of a guard's members: both copied at once would wait for both stores
  permits<Lock>& from_;
};

/// Gives back what it holds when it ends.
template <class Lock>
class permits_guard {
 public:
  permits_guard(permits_guard&& other) noexcept : from_{std::exchange(other.from_, nullptr)}, count_{other.count_} {}
  permits_guard& operator=(permits_guard&& other) noexcept {
    if (this == &other) return *this;
    give_back_if_held();
    from_ = std::exchange(other.from_, nullptr);
    count_ = other.count_;
    return *this;
  }

  /// Whether it holds anything: it was not moved from, and did not give it back.
  [[nodiscard]] explicit operator bool() const noexcept { return from_ != nullptr; }

 protected:
  permits_guard(permits<Lock>& from, std::uint64_t count) noexcept : from_{&from}, count_{count} {}
  ~permits_guard() { give_back_if_held(); }

  void give_back() noexcept { std::exchange(from_, nullptr)->give(count_); }

  [[nodiscard]] std::uint64_t count() const noexcept { return count_; }
  [[nodiscard]] permits<Lock>& take() noexcept { return *std::exchange(from_, nullptr); }

 private:
  void give_back_if_held() noexcept {
    if (from_ != nullptr) give_back();
  }

  permits<Lock>* from_;
  std::uint64_t count_;
};

extern template class permits<short_lock>;
extern template class permits<no_lock>;

}  // namespace gyre::sync::detail
