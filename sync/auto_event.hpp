// SPDX-License-Identifier: MIT
// An event that lets one through and closes behind it.
#pragma once

#include <gyre/runtime/assert.hpp>
#include <gyre/runtime/result.hpp>
#include <gyre/runtime/suspension.hpp>
#include <gyre/sync/detail/permits.hpp>

namespace gyre::sync {

/// "There is something to do": each set() has one waiter go on.
///
///   for (;;) {
///     co_await changed.wait();
///     handle(all_that_has_changed());      // several set() calls may have come by now: it remembers one
///   }
///
/// For one who waits and others who tell it to look. It does not count: where each set() matters take a semaphore, and
/// a channel where each comes with something. To have everybody go on, an event.
///
/// First in, first out. Who is let through is queued on its own executor, and resumed there in this turn or the next.
///
/// @cancellation  A wait that is stopped leaves the event as it was. One that was let through before the stop came goes
///                on: no set() is lost.
/// @threads       Any thread may set and try; a coroutine on any executor awaits. No signal handlers.
/// @limits        Nobody waits in it when it is destroyed.
template <class Lock>
class basic_auto_event {
 public:
  class [[nodiscard]] wait_operation final : public detail::permits_wait<Lock> {
   public:
    void await_resume() { this->resumed(); }
    [[nodiscard]] result<void> await_result() noexcept { return this->resumed_with_result(); }

   private:
    friend basic_auto_event;
    explicit wait_operation(detail::permits<Lock>& from) noexcept : detail::permits_wait<Lock>{kind, from, 1} {}
    static constexpr suspension_kind kind{"auto_event", &wait_operation::withdraw};
  };

  enum class state : bool { not_set, set };

  explicit basic_auto_event(state at_first = state::not_set) noexcept : permit_{at_first == state::set ? 1u : 0u} {}
  basic_auto_event(const basic_auto_event&) = delete;
  basic_auto_event& operator=(const basic_auto_event&) = delete;
  ~basic_auto_event() {
    GYRE_ASSERT(permit_.nobody_waits(), "an auto_event was destroyed while somebody waits for it");
  }

  /// Lets through who has waited longest, or else whoever comes next. A second set() before that changes nothing. What
  /// was done before any of them is seen by who is let through.
  ///
  /// Does not run the waiter, which is resumed after the caller has suspended.
  ///
  /// @threads  Any thread.
  void set() noexcept { permit_.give_one_at_most(); }

  /// Forgets a set() that nobody has come for.
  void reset() noexcept { static_cast<void>(permit_.take_all()); }

  /// Waits for a set() of its own; takes one that is there already.
  ///
  /// @cancellation  Safe; at once. What is set lets pass, also in a scope that is cancelled.
  wait_operation wait() noexcept { return wait_operation{permit_}; }

  /// Takes a set() that is there, and returns whether there was one.
  [[nodiscard]] bool try_wait() noexcept { return permit_.try_take(1); }

 private:
  detail::permits<Lock> permit_;  // one at most
};

using auto_event = basic_auto_event<detail::short_lock>;

/// The same for coroutines of one executor, and nobody else: without atomic instructions.
using local_auto_event = basic_auto_event<detail::no_lock>;

}  // namespace gyre::sync
