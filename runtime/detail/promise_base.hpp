// SPDX-License-Identifier: MIT
// What every gyre coroutine's promise knows: who waits for it, who owns its frame, and which scope it is in.
//
// A coroutine ends in one of three ways, and two of them are the same walk:
//
//   value, exception   final_suspend() resumes the awaiting coroutine (continuation), by symmetric transfer;
//                      when a boundary waits instead of a coroutine, it tells the boundary `ended`.
//   stopped            the coroutine is suspended at a co_await that will never return. unwind() destroys its
//                      frame, then the frame of who awaits it, and so on up to the first boundary, which is told
//                      `stopped`. Innermost first, like an exception; a loop, so that a million frames need no
//                      more stack than one.
//
// A boundary is where a stop can end: a scope, a deadline, a task group's child, the root, or a coroutine of
// somebody else's type, which hears of it as an exception. Between a boundary and the next one below it runs one line
// of coroutines, of which only the innermost can wait; so the boundary knows what it waits for, and a cancel of the
// scope finds it there.
#pragma once

#include <gyre/runtime/detail/intrusive.hpp>

#include <coroutine>
#include <cstdint>
#include <source_location>

namespace gyre {
class cancel_scope;
}

namespace gyre::detail {

enum class ending : std::uint8_t { ended, stopped };

/// Where the one owner of a frame keeps its handle. unwind() empties it when it destroys the frame.
struct frame_slot {
  std::coroutine_handle<> frame;
};

class awaiting_coroutine;
class waiter;

/// What follows when a boundary has been told.
struct next_step {
  std::coroutine_handle<> coroutine;
  bool stops = false;  // the coroutine is not resumed: the stop goes on through it
};

/// What a boundary's coroutine is to who waits for it: for diagnosis.
enum class boundary_role : std::uint8_t {
  task,   // the only one, or a child of a group
  body,   // the function that opened a group
  branch  // one of several below one co_await; boundary::index says which
};

/// Waits for a coroutine without being one. While the coroutine runs it is in its scope's list.
class boundary : public frame_slot, public ring_links {
 public:
  using ended_fn = next_step (*)(boundary& self, ending how) noexcept;

  explicit boundary(ended_fn on_ended) noexcept : ended{on_ended} {}

  /// Told once how the coroutine ended; returns what follows (std::noop_coroutine() for nothing). After
  /// `ending::ended` the frame still holds the result; after `ending::stopped` it is gone.
  ended_fn ended;

  cancel_scope* scope = nullptr;  // set when the coroutine is started

  // The executor, as long as nothing is out of the ordinary: the scope is not cancelled, and only gyre's coroutines
  // have run below. Otherwise the boundary itself, which is no executor. Every operation compares it with the current
  // executor, and asks no more if they are the same.
  const void* undisturbed_on = this;

  void disturb() noexcept { undisturbed_on = this; }

  // What is waited for: one waiter; a stack of them, linked by waiter::below_, when coroutines of somebody else's type
  // run side by side below.
  waiter* waiting = nullptr;

  // For diagnosis: whoever awaits it, when it has opened no scope that would tell.
  const awaiting_coroutine* awaited_by = nullptr;
  std::uint32_t index = 0;  // of a branch
  boundary_role role = boundary_role::task;

  bool foreign_below = false;       // a coroutine of somebody else's type has run below
  std::uint16_t foreign_to_resume;  // only with foreign_below: so many of these have waited, and are about to go on
};

class promise_base {
 public:
  promise_base() noexcept = default;
  promise_base(const promise_base&) = delete;
  promise_base& operator=(const promise_base&) = delete;

  std::coroutine_handle<> continuation;  // a gyre coroutine that awaits this one; null: `slot` is the boundary
  frame_slot* slot = nullptr;            // who owns the frame
  boundary* bound = nullptr;             // where a stop ends; set when the coroutine is started
  std::source_location location;         // of the co_await where it is, for diagnosis; line 0: of no user's code
};

/// The promise of a gyre coroutine, found from its handle: promise_base is the first base of every gyre promise,
/// and no gyre promise is over-aligned (asserted where promises are defined).
[[nodiscard]] inline promise_base& promise_of(std::coroutine_handle<> coroutine) noexcept {
  return std::coroutine_handle<promise_base>::from_address(coroutine.address()).promise();
}

/// Ends a suspended coroutine as stopped: destroys frames up to the nearest boundary and tells it, and so on as long as
/// boundaries let the stop through. Returns what runs next. `leaf` is gone afterwards.
[[nodiscard]] std::coroutine_handle<> unwind(std::coroutine_handle<> leaf) noexcept;

/// What runs next after a boundary was told.
[[nodiscard]] inline std::coroutine_handle<> follow(next_step step) noexcept {
  return step.stops ? unwind(step.coroutine) : step.coroutine;
}

}  // namespace gyre::detail
