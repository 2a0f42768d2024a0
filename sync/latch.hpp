// SPDX-License-Identifier: MIT
// A count that goes down to zero once, and those who wait until it has.
#pragma once

#include <gyre/runtime/assert.hpp>
#include <gyre/runtime/suspension.hpp>
#include <gyre/sync/detail/gate.hpp>

#include <cstdint>
#include <utility>

namespace gyre::sync {

/// Waits until so many things have happened.
///
///   sync::latch loaded{3};
///   …   loaded.count_down();                // three times, anywhere
///   …   co_await loaded.wait();
///
/// To wait for tasks to end take a task group or when_all(), which also give their results and stop the others when one
/// fails: a latch waits for ever for a task that was stopped before it counted. For the same again and again, a
/// barrier; for one thing, an event.
///
/// Those who wait are queued on their own executors in the order in which they came, and resumed there in this turn or
/// the next.
///
/// @cancellation  A wait that is stopped leaves the latch as it was. One that ended before the stop came has ended.
/// @threads       Any thread may count and look; a coroutine on any executor awaits. No signal handlers.
/// @limits        Counts to 2^62 - 1. It is destroyed when nobody awaits it any more. The last of those who were
///                resumed by the last count may do so at once, and so may who sees that it is done, though the last
///                count_down() or arrive_and_wait() has not returned yet. All others who use arrive_and_wait() have
///                to be back before: they count first, and then look whether they have to wait.
template <class Lock>
class basic_latch {
 public:
  class [[nodiscard]] wait_operation final : public detail::gate_wait<Lock> {
   private:
    friend basic_latch;
    explicit wait_operation(detail::gate<Lock>& waited_for) noexcept : detail::gate_wait<Lock>{kind, waited_for} {}
    static constexpr suspension_kind kind{"latch", &wait_operation::withdraw};
  };

  class [[nodiscard]] arrive_operation final : public detail::gate_wait<Lock> {
   public:
    [[nodiscard]] bool await_ready() const noexcept { return this->waited_for().lower(count_); }

   private:
    friend basic_latch;
    arrive_operation(detail::gate<Lock>& waited_for, std::uint64_t count) noexcept
        : detail::gate_wait<Lock>{kind, waited_for}, count_{count} {}
    static constexpr suspension_kind kind{"latch", &arrive_operation::withdraw};
    std::uint64_t count_;
  };

  /// @param count  How many things are to happen. Zero: it never makes anybody wait.
  explicit basic_latch(std::uint64_t count) noexcept : gate_{count} {
    GYRE_ASSERT(count <= detail::lock_word::number_max, "a latch counts less than that");
  }
  basic_latch(const basic_latch&) = delete;
  basic_latch& operator=(const basic_latch&) = delete;
  ~basic_latch() { GYRE_ASSERT(gate_.nobody_waits(), "a latch was destroyed while somebody waits for it"); }

  /// So many of them have happened. At zero whoever waits becomes ready, and runs after the caller has suspended. What
  /// was done before is seen by who goes on by it.
  ///
  /// @param count  As many as are left, or fewer.
  /// @threads      Any thread.
  void count_down(std::uint64_t count = 1) noexcept { gate_.lower(count); }

  /// Whether everything has happened.
  [[nodiscard]] bool try_wait() const noexcept { return gate_.is_open(); }

  /// Waits until everything has happened; not at all when it has.
  ///
  /// @cancellation  Safe; at once. What is done lets pass, also in a scope that is cancelled.
  wait_operation wait() noexcept { return wait_operation{gate_}; }

  /// count_down() and wait() in one.
  ///
  /// @cancellation  Safe; at once. It has counted, whenever the stop comes: what has happened has happened. To try
  ///                again after a deadline, wait().
  arrive_operation arrive_and_wait(std::uint64_t count = 1) noexcept { return {gate_, count}; }

 private:
  detail::gate<Lock> gate_;
};

using latch = basic_latch<detail::short_lock>;

/// The same for coroutines of one executor, and nobody else: without atomic instructions.
using local_latch = basic_latch<detail::no_lock>;

}  // namespace gyre::sync
