// SPDX-License-Identifier: MIT
// Two lines of execution on one thread: a coroutine, and ordinary code on a stack of its own that it lets run.
//
// The coroutine lets the fiber run (run_on()) until that has ended or wants something awaited; then it awaits that, as
// a task of its own, and lets the fiber run again. So a fiber is never resumed by anybody but its coroutine, on the
// coroutine's executor, and everything that awaits for it is a coroutine below that one: scopes, deadlines, cancels and
// diagnosis need not know of fibers.
//
//   idle -> running      run_on(): the body begins
//   running -> waiting   wait_for(), on the fiber: back in the coroutine, which awaits the task
//   waiting -> running   run_on(): what was awaited is there
//   running -> ended     the body has returned; its stack has been given back
//   waiting -> running -> ended      unwind(): the coroutine was stopped, and its frame goes. wait_for() throws
//                        fiber_stopped, and the destructors on the fiber's stack run
//
// A stop that is caught on the way (catch (...)) is thrown again by each later wait_for(). So the fiber has ended when
// unwind() returns, whatever its code does, unless that never ends.
//
// What belongs to a line of execution, and is kept apart: the stack, which exceptions are being handled
// (abi::__cxa_get_globals()), and what sanitizers know of it. The functions that jump are called on one line and return
// on the same; none is entered on one and left on the other, which ThreadSanitizer could not follow.
#pragma once

#include <gyre/runtime/detail/fiber_stack.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>

namespace gyre {

template <class T>
class task;

namespace detail {

/// Unwinds a fiber's stack. Nobody's error, and so no std::exception.
struct fiber_stopped {};

class fiber_context {
 public:
  /// Runs on the fiber, to its end. Lets no exception out.
  using body_fn = void (*)(fiber_context& self) noexcept;

  fiber_context(body_fn its_body, std::size_t stack_bytes) noexcept : body_{its_body}, stack_bytes_{stack_bytes} {}
  fiber_context(const fiber_context&) = delete;
  fiber_context& operator=(const fiber_context&) = delete;

  /// Lets the fiber run until it wants something awaited, which it returns; null: it has ended. Throws
  /// std::system_error when there is no stack for it.
  [[nodiscard]] task<void>* run_on();

  /// On the fiber: comes back when `wanted` has been awaited. Throws fiber_stopped, where no other exception is on its
  /// way: there `wanted` is shielded, so that no stop comes meanwhile.
  void wait_for(task<void>& wanted);

  /// Whether it was stopped, and runs to its end.
  [[nodiscard]] bool is_unwinding() const noexcept { return is_unwinding_; }

  [[nodiscard]] const fiber_stack& stack() const noexcept { return *stack_; }

  /// The one whose code this is; null: it is no fiber's. Also in a signal handler.
  [[nodiscard]] static fiber_context* current() noexcept;

 protected:
  ~fiber_context();

  /// Ends the fiber, if it has begun and not ended. The first thing that the destructor of a derived class does, as the
  /// fiber's code uses what is in there.
  void unwind() noexcept;

 private:
  enum class state : std::uint8_t { idle, running, waiting, ended };
  struct lines;  // the jumps between the two

  void begin();
  void throw_if_unwinding() const;

  // As the C++ ABI has them for each thread: what is being handled, and how many are on their way.
  struct handled_exceptions {
    void* caught = nullptr;
    unsigned uncaught_count = 0;
  };
  void swap_exceptions() noexcept;

  const body_fn body_;
  const std::size_t stack_bytes_;
  std::optional<fiber_stack> stack_;
  void* other_side_ = nullptr;  // where a jump leads: to the fiber, or back from it
  task<void>* wanted_ = nullptr;
  handled_exceptions other_exceptions_;  // of the side that does not run
  state state_ = state::idle;
  bool is_unwinding_ = false;

  // Of sanitizers; unused without.
  void* fake_stack_ = nullptr;  // of the fiber, while it does not run
  const void* host_bottom_ = nullptr;
  std::size_t host_bytes_ = 0;
  void* tsan_fiber_ = nullptr;
  void* tsan_host_ = nullptr;
};

}  // namespace detail
}  // namespace gyre
