// SPDX-License-Identifier: MIT
// Regions that can be stopped: by hand, by a deadline, by the region around them.
//
// A scope knows everything that waits inside it. Cancelling it is level-triggered: what waits now ends stopped, and so
// does every later wait inside. How a cancel reaches the kernel is operation.hpp's business; how a stopped coroutine
// is taken down is detail/promise_base.hpp's; the functions that open scopes are scope.hpp's, and deadline.hpp's.
#pragma once

#include <gyre/runtime/detail/intrusive.hpp>
#include <gyre/runtime/detail/timer_heap.hpp>
#include <gyre/runtime/detail/waiter.hpp>
#include <gyre/runtime/point_in_time.hpp>

#include <chrono>
#include <cstdint>
#include <optional>
#include <string_view>
#include <utility>

namespace gyre {

class executor;

namespace detail {

class awaiting_coroutine;
class task_tree;

/// A point on the executor's clock in the words of the standard library, and back.
[[nodiscard]] inline std::chrono::steady_clock::time_point time_point_of(clock_ns time) noexcept {
  return std::chrono::steady_clock::time_point{std::chrono::nanoseconds{time}};
}
[[nodiscard]] inline clock_ns clock_of(std::chrono::steady_clock::time_point time) noexcept {
  return std::chrono::nanoseconds{time.time_since_epoch()}.count();
}

}  // namespace detail

/// One node in the tree of scopes.
///
/// A scope is opened by with_cancel_scope(), with_timeout(), shield(), with_task_group(), and by the root task. It is
/// neither copied nor moved, and only its executor's thread touches it.
class cancel_scope : public detail::ring_links {
 public:
  cancel_scope(const cancel_scope&) = delete;
  cancel_scope& operator=(const cancel_scope&) = delete;

  /// Asks everything inside to stop: this scope, and every scope inside it that is not shielded.
  ///
  /// What waits in the kernel is cancelled there, and ends with its own completion: a result that was already produced
  /// is delivered. Runs nothing inline: coroutines end soon after. A second cancel does nothing. So
  /// it can be called from anywhere: inside the scope, from a child or a sibling, from a destructor.
  ///
  /// @param reason  Shown by dump_tasks() beside whoever does not stop. Not copied: it stays as long as the scope,
  ///                as a literal does.
  /// @threads       The executor's thread.
  void cancel(std::string_view reason = {}) noexcept;

  /// Whether this scope was cancelled, or inherited it from one around it.
  [[nodiscard]] bool stop_requested() const noexcept { return stop_requested_; }

  /// What the cancel that came first, here or in a scope around, was given as its reason. Empty without one.
  [[nodiscard]] std::string_view stop_reason() const noexcept;

  /// Has the scope cancel itself at `when`. Replaces the deadline that it had; in the past: as soon as the
  /// executor looks at its timers.
  ///
  /// Where deadlines nest, the nearest one comes first: a later one inside cannot put off the one outside. Who opened
  /// the scope says what the deadline means there: with_timeout() throws timed_out, with_cancel_scope() returns without
  /// a value. A scope that was cancelled stays so.
  ///
  /// @param when  A time_point of std::chrono::steady_clock, gyre::boot_clock or std::chrono::system_clock. On the last
  ///              the deadline follows when somebody sets that clock.
  /// @threads     The executor's thread.
  void set_deadline(point_in_time when) noexcept;

  /// Forgets its deadline. Those of the scopes around it stay.
  ///
  /// @threads  The executor's thread.
  void clear_deadline() noexcept;

  /// When it will cancel itself, or was to; nullopt without a deadline of its own. For one on another clock: as it
  /// looks now on the steady clock.
  [[nodiscard]] std::optional<std::chrono::steady_clock::time_point> deadline() const noexcept;

  /// The nearest deadline of this scope and of those around it, up to the innermost one that is shielded.
  [[nodiscard]] std::optional<std::chrono::steady_clock::time_point> nearest_deadline() const noexcept;

  /// The executor that everything in this scope runs on.
  [[nodiscard]] gyre::executor& executor() const noexcept { return *executor_; }

  /// The scope around this one; null for the root.
  [[nodiscard]] cancel_scope* parent() const noexcept { return parent_; }

  // What follows is for those who write scopes and waiters of their own; a user of scopes needs none of it.

  enum class kind : std::uint8_t { plain, shielded };

  /// The root of an executor.
  explicit cancel_scope(gyre::executor& owner) noexcept;

  /// Inside `parent`. A shielded scope does not inherit its cancel.
  ///
  /// @param opener  Whose co_await it lasts as long as, for diagnosis; null for none.
  cancel_scope(cancel_scope& parent, kind how, const detail::awaiting_coroutine* opener = nullptr) noexcept;

  ~cancel_scope();

  /// Whether the deadline is what cancelled it, before anything else did.
  [[nodiscard]] bool deadline_expired() const noexcept { return deadline_expired_; }

  /// Whether it was cancelled by itself (by hand or deadline), whatever happened around it.
  [[nodiscard]] bool cancelled_itself() const noexcept { return cancelled_itself_; }

  /// Whether no coroutine runs in it and no scope is open inside it.
  [[nodiscard]] bool empty() const noexcept { return boundaries_.empty() && children_.empty(); }

  /// A line of coroutines that begins here; it leaves by boundary.unlink().
  void enter(detail::boundary& entering) noexcept {
    entering.scope = this;
    if (!stop_requested_) entering.undisturbed_on = executor_;
    boundaries_.push_back(entering);
  }

 private:
  friend class detail::task_tree;
  struct deadline_timer : detail::timer {
    explicit deadline_timer(cancel_scope& its_scope) noexcept : timer{kind_of_deadline}, scope{its_scope} {}
    static void expired(detail::timer& self) noexcept;
    static const detail::timer_kind kind_of_deadline;
    cancel_scope& scope;
  };

  // The next scope of a walk through this one's tree, parents first; without `inside`, past the tree of `current`.
  cancel_scope* following(cancel_scope& current, bool inside) noexcept;
  void stop_waiters() noexcept;
  void assert_may_move_deadline() const noexcept;

  gyre::executor* executor_;
  cancel_scope* parent_;
  const detail::awaiting_coroutine* opener_ = nullptr;  // for diagnosis
  detail::intrusive_ring<detail::boundary> boundaries_;
  detail::intrusive_ring<cancel_scope> children_;
  deadline_timer deadline_{*this};
  std::string_view reason_;  // of the cancel that began here
  bool stop_requested_ = false;
  bool stop_began_here_ = false;
  bool has_deadline_ = false;
  detail::clock_id deadline_clock_ = detail::clock_id::steady;
  bool cancelled_itself_ = false;
  bool deadline_expired_ = false;
  bool shielded_ = false;
};

}  // namespace gyre
