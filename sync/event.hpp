// SPDX-License-Identifier: MIT
// An event that stays set until somebody resets it.
#pragma once

#include <gyre/runtime/assert.hpp>
#include <gyre/runtime/suspension.hpp>
#include <gyre/sync/detail/gate.hpp>

namespace gyre::sync {

/// "It has happened": once set, everybody goes on, who waits now and who comes later.
///
///   sync::event configured;
///   …   co_await configured.wait();        // any number of coroutines, on any executor
///   …   configured.set();                  // any thread
///
/// To let one go on for each set(), an auto_event; to wait until several things have happened, a latch; to end what
/// goes on, a cancel of its scope, which needs no event.
///
/// Those who wait are queued on their own executors in the order in which they came, and resumed there in this turn or
/// the next.
///
/// @cancellation  A wait that is stopped leaves the event as it was. One that ended before the stop came has ended.
/// @threads       Any thread may set, reset and look; a coroutine on any executor awaits. No signal handlers.
/// @limits        It is destroyed when nobody awaits it any more. The last of those who were resumed by set() may do so
///                at once, and so may who sees that it is set, though set() has not returned yet.
template <class Lock>
class basic_event {
 public:
  class [[nodiscard]] wait_operation final : public detail::gate_wait<Lock> {
   private:
    friend basic_event;
    explicit wait_operation(detail::gate<Lock>& waited_for) noexcept : detail::gate_wait<Lock>{kind, waited_for} {}
    static constexpr suspension_kind kind{"event", &wait_operation::withdraw};
  };

  enum class state : bool { not_set, set };

  explicit basic_event(state at_first = state::not_set) noexcept : gate_{at_first == state::set ? 0u : 1u} {}
  basic_event(const basic_event&) = delete;
  basic_event& operator=(const basic_event&) = delete;
  ~basic_event() { GYRE_ASSERT(gate_.nobody_waits(), "an event was destroyed while somebody waits for it"); }

  /// Sets it. Whoever waits becomes ready, and runs after the caller has suspended. A second set() before a reset()
  /// changes nothing. What was done before any set() is seen by who goes on by it, and by who resets it afterwards.
  ///
  /// @threads  Any thread.
  void set() noexcept { gate_.open(); }

  /// Has those wait who come from now on. Who waited until a set() goes on, whenever it is resumed.
  ///
  /// @threads  Any thread.
  void reset() noexcept { gate_.close(); }

  /// Whether it was set a moment ago.
  [[nodiscard]] bool is_set() const noexcept { return gate_.is_open(); }

  /// Waits until it is set; not at all when it is.
  ///
  /// @return        co_await gives nothing. The event may have been reset again by then.
  /// @cancellation  Safe; at once. What is set lets pass, also in a scope that is cancelled.
  wait_operation wait() noexcept { return wait_operation{gate_}; }

 private:
  detail::gate<Lock> gate_;
};

using event = basic_event<detail::short_lock>;

/// The same for coroutines of one executor, and nobody else: without atomic instructions.
using local_event = basic_event<detail::no_lock>;

}  // namespace gyre::sync
