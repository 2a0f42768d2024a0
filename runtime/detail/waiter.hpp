// SPDX-License-Identifier: MIT
// Something that a coroutine waits for inside a cancel scope: the common part of operations, sleeps and locks.
//
// A waiter lives in the awaiting frame. From begin() to settle() the boundary above the coroutine points to it, so that
// a cancel of the scope finds it. settle() ends the wait and puts it in the executor's ready queue; from there the
// coroutine resumes and takes the result, or is unwound as stopped. All of it happens on the executor's thread.
//
//   idle -> waiting -> ready -> done          locks, sleeps, streams
//           waiting <- ready                  wait_again()
//   idle -> queued -> in_kernel -> …          operations: see operation.hpp
#pragma once

#include <gyre/runtime/assert.hpp>
#include <gyre/runtime/detail/promise_base.hpp>
#include <gyre/runtime/detail/runnable.hpp>
#include <gyre/runtime/fd_ref.hpp>

#include <concepts>
#include <coroutine>
#include <cstdint>

namespace gyre {
class executor;
class operation;
class suspension;
}  // namespace gyre

namespace gyre::detail {

class chain;
class task_tree;
class waiter;

/// What a wait is about, as far as it says: for diagnosis.
struct wait_details {
  int fd = -1;                      // the descriptor
  bool is_direct = false;           // which is a slot of the executor's table
  std::int64_t due_ns = INT64_MAX;  // when it will end by itself, on the executor's clock

  void tell(fd_ref about) noexcept {
    is_direct = about.is_direct();
    fd = is_direct ? about.slot() : about.get();
  }
};

struct waiter_kind : runnable_kind {
  /// The scope was cancelled while it waits: see that it settles soon. Never runs user code. May settle other waiters,
  /// and begins none.
  void (*cancel)(waiter& self) noexcept;

  /// What is waited for, for people: "recv", "sleep".
  const char* name;

  /// Says what a wait of this kind is about. Null: there is nothing to say.
  void (*describe)(const waiter& self, wait_details& told) noexcept = nullptr;
};

template <class Promise>
concept gyre_promise = std::derived_from<Promise, promise_base>;

/// The boundary above the coroutines of somebody else's type that run now on this thread: that of the gyre coroutine
/// which awaits them.
[[nodiscard]] boundary& foreign_boundary() noexcept;

/// Has coroutines of somebody else's type that run below find `bound`.
void enter_foreign(boundary& bound) noexcept;

/// `bound` ends: nobody finds it any more.
void forget_foreign(boundary& bound) noexcept;

class waiter : public runnable {
 public:
  /// Where the coroutine stands, for diagnosis; null for a coroutine of somebody else's type.
  [[nodiscard]] const promise_base* promise() const noexcept {
    return has(foreign) ? nullptr : &promise_of(coroutine());
  }
  [[nodiscard]] const char* name() const noexcept { return static_cast<const waiter_kind*>(kind)->name; }

  /// When the wait began, in milliseconds of the executor's clock, to the accuracy of its turns.
  [[nodiscard]] std::uint32_t since_ms() const noexcept { return static_cast<std::uint32_t>(state_ >> 32); }

  /// The scope that it waits in. From the co_await on.
  [[nodiscard]] cancel_scope& scope() const noexcept { return *bound().scope; }

  /// What it is about, as far as it says.
  [[nodiscard]] wait_details details() const noexcept {
    wait_details told;
    if (const auto describe = static_cast<const waiter_kind*>(kind)->describe) describe(*this, told);
    return told;
  }

  /// What else is waited for below the same boundary; null for nothing.
  [[nodiscard]] waiter* below() const noexcept {
    return has(stacked) && !is_lowest() ? reinterpret_cast<waiter*>(beneath_) : nullptr;
  }

  /// Asks it to settle soon. Does nothing to one that has settled.
  void cancel() noexcept {
    if (is_waiting()) static_cast<const waiter_kind*>(kind)->cancel(*this);
  }

  /// A stop arrives as the error operation_canceled instead of unwinding: for stopped_as_error(). Before it is awaited.
  void deliver_stop_as_error() noexcept { add(stop_as_error); }

 protected:
  // In order of what may be done: up to done it can be destroyed, from waiting on it can be cancelled.
  enum class stage : std::uint8_t { idle, done, ready, waiting, queued, in_kernel, cancel_queued, cancel_sent };

  // What is out of the ordinary about a wait. Beside the stage in one half of a word, so that one comparison says that
  // nothing is; the other half is since_ms().
  enum flag : std::uint32_t {
    stopped = 0x100,        // settled as stopped
    stop_as_error = 0x200,  // a stop resumes the coroutine
    foreign = 0x400,        // the coroutine is of somebody else's type
    stacked = 0x800,        // it is not the only one that waits below its boundary
    expired = 0x1000,       // operations: a deadline asked for the end
    linked = 0x2000,        // operations: a linked timeout goes with it
    timed_out = 0x4000,     // operations: a deadline ended it
    heard = 0x8000,         // operations: that linked timeout tells of its end (detail/clocked_deadline.hpp)
    composed = 0x1'0000,    // operations: an answer of few bytes is not the end
    unpolled = 0x2'0000,    // operations: it went to a ring that polls devices, which does not take its like
    unknown = 0x4'0000,     // operations: the kernel lacks its opcode, and was given none
    several = 0x8'0000,     // operations: it goes as entries of its own, side by side (detail/chain.hpp)
    alone = 0x10'0000,      // operations: it begins when all before it have ended, and what comes after waits for it
    personal = 0x20'0000    // operations: it has somebody else's rights (personality.hpp)
  };

  // Links and awaiter are set by begin(): whoever awaits pays for each store, and nobody looks before.
  explicit waiter(const waiter_kind& its_kind) noexcept : runnable{its_kind, uninitialised{}} {}
  waiter(const waiter_kind& its_kind, const waiter& moved_from) noexcept
      : runnable{its_kind, uninitialised{}}, state_{moved_from.state_ & flags_mask} {
    GYRE_ASSERT(moved_from.current() == stage::idle, "an operation stays where it was awaited");
  }
  ~waiter() {
    GYRE_ASSERT(current() <= stage::done,
                "an operation or a wait was destroyed in flight: its frame must stay until it has ended");
  }

  /// Notes who waits, and where a cancel finds it. When the scope is already cancelled it settles as stopped at once
  /// and returns false: then there is nothing to wait for.
  template <class Promise>
  bool begin(std::coroutine_handle<Promise> awaiter) noexcept {
    return begin_below(awaiter, bound_of(awaiter));
  }
  bool begin_below(std::coroutine_handle<> awaiter, boundary& bound) noexcept;

  template <class Promise>
  boundary& bound_of(std::coroutine_handle<Promise> awaiter) noexcept {
    if constexpr (gyre_promise<Promise>) {
      return *awaiter.promise().bound;
    } else {
      add(foreign);
      add(stop_as_error);
      return foreign_boundary();
    }
  }

  /// Ends the wait and queues the coroutine. `as_stopped`: it is unwound instead of resumed.
  void settle(bool as_stopped) noexcept;

  /// Ends the wait without queueing the coroutine, which runs on here: not as stopped.
  void settle_in_place() noexcept;

  /// The same where the coroutine runs on later: whoever calls has it run through its kind.
  void settle_unqueued() noexcept;

  /// From its kind's run(), when what it was queued for is gone: waits on. When its scope has been cancelled meanwhile
  /// it settles as stopped and returns false.
  bool wait_again() noexcept;

  /// The first thing that await_resume() does: the coroutine is back.
  void end_wait() noexcept { set(stage::done); }

  /// Unwinds, or resumes a coroutine of somebody else's type: the `run` of every waiter kind.
  static void run_slowly(runnable& self) noexcept;

  [[nodiscard]] bool was_stopped() const noexcept { return has(stopped); }
  [[nodiscard]] bool is_waiting() const noexcept { return current() >= stage::waiting; }
  [[nodiscard]] gyre::executor& loop() const noexcept;

  /// The boundary that it waits below. From the co_await on.
  [[nodiscard]] boundary& bound() const noexcept {
    return has(foreign) ? bound_of_stack() : *promise_of(coroutine()).bound;
  }

  [[nodiscard]] stage current() const noexcept { return static_cast<stage>(lower_half() & stage_mask); }
  void set(stage next_stage) noexcept { state_ = (state_ & ~stage_mask) | static_cast<std::uint64_t>(next_stage); }
  [[nodiscard]] bool has(flag asked) const noexcept { return (state_ & asked) != 0; }
  void add(flag added) noexcept { state_ |= added; }

  /// Whether it is at `expected`, with nothing out of the ordinary.
  [[nodiscard]] bool is_plainly(stage expected) const noexcept { return lower_half() == plain_state(expected); }
  /// Whether there is nothing but that.
  [[nodiscard]] bool is_but_for(flag expected_flag, stage expected) const noexcept {
    return lower_half() == (expected_flag | plain_state(expected));
  }
  /// @param since  The executor's clock, as coarse_clock::last_look_ms() gives it.
  void set_plainly(stage next_stage, std::uint64_t since = 0) noexcept { state_ = plain_state(next_stage) | since; }
  static constexpr std::uint32_t plain_state(stage of) noexcept { return static_cast<std::uint32_t>(of); }

 private:
  friend class gyre::executor;
  friend class gyre::operation;
  friend class gyre::suspension;
  friend class chain;
  friend class task_tree;
  static constexpr std::uint64_t stage_mask = 0xff;
  static constexpr std::uint64_t flags_mask = 0xffff'ff00;

  [[nodiscard]] std::uint32_t lower_half() const noexcept { return static_cast<std::uint32_t>(state_); }
  void note_since(std::uint64_t since) noexcept { state_ = lower_half() | since; }
  void enter_boundary(boundary& bound) noexcept;
  void leave_boundary() noexcept;
  [[nodiscard]] boundary& bound_of_stack() const noexcept;
  [[nodiscard]] bool is_lowest() const noexcept { return (beneath_ & lowest) != 0; }
  void be_lowest_of(boundary& bound) noexcept { beneath_ = reinterpret_cast<std::uintptr_t>(&bound) | lowest; }
  static constexpr std::uintptr_t lowest = 1;

  // Only with `foreign` or `stacked`: the next of the stack of those who wait below the boundary; the lowest has the
  // boundary's address, and this bit. A gyre coroutine that waits alone has no need of it: its promise knows.
  std::uintptr_t beneath_;
  std::uint64_t state_ = 0;  // stage and flags; in the upper half, since when it waits
};

}  // namespace gyre::detail
