// SPDX-License-Identifier: MIT
// A gate that is closed a number of times, and open when that number is zero: what event and latch have in common.
//
// Who comes to an open gate goes through. When it opens, all who wait go through, in the order in which they came, and
// nobody who comes later is among them: they are taken out together, in constant time, however many they are.
#pragma once

#include <gyre/runtime/assert.hpp>
#include <gyre/runtime/suspension.hpp>
#include <gyre/sync/detail/short_lock.hpp>

#include <coroutine>
#include <cstdint>
#include <utility>

namespace gyre::sync::detail {

template <class Lock>
class gate : lock_word {
 public:
  explicit gate(std::uint64_t closed_count) noexcept : lock_{closed_count} {}

  [[nodiscard]] bool is_open() const noexcept { return closed_count() == 0; }
  [[nodiscard]] std::uint64_t closed_count() const noexcept { return number_in(lock_.look()); }
  [[nodiscard]] bool nobody_waits() const noexcept { return (lock_.look() & waited) == 0; }

  /// Opens it, however often it is closed.
  ///
  /// Writes the word also where it is open: who closes it next then sees what was done before this, and need not be
  /// told again. With a mere look this one could see it open while the other sees nothing done, and waits.
  void open() noexcept {
    for (word seen = lock_.look(); (seen & waited) == 0;)
      if (lock_.try_change(seen, 0)) return;
    let_all_through();
  }

  /// Closes it once, if it is open.
  void close() noexcept {
    for (word seen = lock_.look();;) {
      const bool was_open = number_in(seen) == 0;
      if (lock_.try_change(seen, was_open ? one : seen)) return;
    }
  }

  /// Takes `count` from how often it is closed, which is as much at least: opens it when nothing is left.
  /// Returns whether nothing is left. Then the gate may be gone: who was let through destroys it.
  bool lower(std::uint64_t count) noexcept {
    for (word seen = lock_.look();;) {
      GYRE_ASSERT(count <= number_in(seen), "a latch is counted down to zero and not below");
      const bool opens = number_in(seen) == count;
      if (opens && (seen & waited) != 0) {
        let_all_through();
        return true;
      }
      if (lock_.try_change(seen, seen - count * one)) return opens;
    }
  }

  /// Has `entering` wait, unless the gate is open: then returns false.
  [[nodiscard]] bool enter(suspension& entering) noexcept;

  /// Takes `leaving` out, if it waits still.
  [[nodiscard]] bool leave(suspension& leaving) noexcept;

 private:
  void let_all_through() noexcept;

  Lock lock_;
  suspension_list waiting_;  // under the lock
};

template <class Lock>
class gate_wait : public suspension {
 public:
  [[nodiscard]] bool await_ready() const noexcept { return gate_.is_open(); }

  template <class Promise>
  bool await_suspend(std::coroutine_handle<Promise> awaiter) noexcept {
    if (!begin(awaiter) || gate_.enter(*this)) return true;
    end_at_once();
    return false;
  }
  void await_resume() { resumed(); }
  [[nodiscard]] result<void> await_result() noexcept { return resumed_with_result(); }

 protected:
  gate_wait(const suspension_kind& its_kind, gate<Lock>& waited_for) noexcept
      : suspension{its_kind}, gate_{waited_for} {}
  gate_wait(gate_wait&& other) noexcept : suspension{std::move(other)}, gate_{other.gate_} {}
  ~gate_wait() = default;

  static bool withdraw(suspension& self) noexcept {
    auto& mine = static_cast<gate_wait&>(self);
    return mine.gate_.leave(mine);
  }

  [[nodiscard]] gate<Lock>& waited_for() const noexcept { return gate_; }

 private:
  gate<Lock>& gate_;
};

extern template class gate<short_lock>;
extern template class gate<no_lock>;

}  // namespace gyre::sync::detail
