// SPDX-License-Identifier: MIT
// A place where a fixed number of coroutines wait for each other, again and again.
#pragma once

#include <gyre/runtime/assert.hpp>
#include <gyre/runtime/result.hpp>
#include <gyre/runtime/suspension.hpp>
#include <gyre/sync/detail/short_lock.hpp>

#include <coroutine>
#include <cstdint>
#include <type_traits>
#include <utility>

namespace gyre::sync {

namespace detail {

/// What does not depend on the function that is called between two phases.
class barrier_base {
 public:
  class [[nodiscard]] arrive_operation final : public suspension {
   public:
    [[nodiscard]] bool await_ready() const noexcept { return false; }

    template <class Promise>
    bool await_suspend(std::coroutine_handle<Promise> awaiter) noexcept {
      if (!begin(awaiter) || barrier_.arrive(*this)) return true;
      end_at_once();
      return false;
    }
    void await_resume() { resumed(); }
    [[nodiscard]] result<void> await_result() noexcept { return resumed_with_result(); }

   private:
    friend barrier_base;
    explicit arrive_operation(barrier_base& at) noexcept : suspension{kind}, barrier_{at} {}
    static bool withdraw(suspension& self) noexcept;
    static const suspension_kind kind;
    barrier_base& barrier_;
  };

  barrier_base(const barrier_base&) = delete;
  barrier_base& operator=(const barrier_base&) = delete;

  /// How many can arrive in a phase.
  [[nodiscard]] static constexpr std::uint64_t max() noexcept { return short_lock::number_max; }

  /// Arrives, and waits until all others have. The last one calls the completion function and does not wait.
  ///
  /// @cancellation  Safe; at once. A coroutine that is stopped here has not arrived, so that it may arrive again: the
  ///                others wait for it, or until it drops. A phase that was complete before the stop came is. In a
  ///                scope that is cancelled already nobody arrives, not the last one either.
  arrive_operation arrive_and_wait() noexcept { return arrive_operation{*this}; }

  /// Arrives for the last time, and does not wait: the later phases have one less to wait for. If all others have
  /// arrived, calls the completion function. For who leaves early; may be called in a destructor.
  ///
  /// @threads  Any thread.
  void arrive_and_drop() noexcept;

 protected:
  using complete_fn = void (*)(barrier_base& self) noexcept;

  barrier_base(std::uint64_t expected_count, complete_fn complete) noexcept;
  ~barrier_base();

 private:
  [[nodiscard]] bool arrive(arrive_operation& entering) noexcept;
  [[nodiscard]] bool leave(arrive_operation& leaving) noexcept;
  void complete_phase() noexcept;

  const complete_fn complete_;

  short_lock lock_;               // its number: who is still to arrive in this phase
  std::uint64_t expected_count_;  // in the next, under the lock
  suspension_list waiting_;       // those who have arrived, under the lock
};

struct no_completion {
  void operator()() const noexcept {}
};

}  // namespace detail

/// Has coroutines that work in phases wait for each other after each of them.
///
///   sync::barrier rows_done{workers_count, [&]() noexcept { std::swap(now, before); }};
///   …   for (int step = 0; step < steps_count; ++step) {      // in each worker
///   …     compute(rows, before, now);
///   …     co_await rows_done.arrive_and_wait();
///   …   }
///
/// For one phase only, a latch; where the work of a phase can be tasks that end with it, when_all().
///
/// When the last has arrived, the function is called, and then those who wait become ready: queued on their own
/// executors in the order in which they came, and resumed there in this turn or the next. They see what the function
/// did, and it sees what all did before they arrived.
///
/// @tparam Completion  Called without arguments between two phases, by whoever arrives last, inside its call. Does not
///                     throw, and does not arrive.
/// @cancellation       See arrive_and_wait(). A worker that ends for good calls arrive_and_drop(), best in a
///                     destructor, or else the others wait for it until they are stopped, too.
/// @threads            Coroutines on any executors arrive and wait; any thread may drop. No signal handlers.
/// @limits             Counts to max(), 2^62 - 1. Nobody waits in it when it is destroyed.
template <class Completion = detail::no_completion>
class barrier final : public detail::barrier_base {
  static_assert(std::is_nothrow_invocable_v<Completion&>,
                "a barrier's completion function is called without arguments, and is noexcept: nobody could catch what "
                "it throws");

 public:
  /// @param expected_count  How many arrive in a phase; one at least, and max() at most.
  explicit barrier(std::uint64_t expected_count,
                   Completion completion = {}) noexcept(std::is_nothrow_move_constructible_v<Completion>)
      : barrier_base{expected_count, &call}, completion_{std::move(completion)} {}

 private:
  static void call(barrier_base& self) noexcept { static_cast<barrier&>(self).completion_(); }

  [[no_unique_address]] Completion completion_;
};

}  // namespace gyre::sync
