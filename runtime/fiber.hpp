// SPDX-License-Identifier: MIT
// Ordinary code, which knows nothing of coroutines, on an executor: it waits for an awaitable, and no thread waits.
//
//   co_await on_fiber([&] {
//     const std::size_t bytes = fiber::await(client.read(buffer));   // at any depth of calls
//     …
//   });
//
// For code that cannot be changed into coroutines: a parser that reads a std::istream, a library with a callback that
// has to return data. It runs on a stack of its own; while it awaits, the executor's thread runs others. Who runs when,
// and how a stop takes it down: detail/fiber_context.hpp.
//
// A coroutine is the better choice where there is one: it takes some hundred bytes, a fiber a stack, and an await from
// a fiber costs two switches of stacks and a frame more.
#pragma once

#include <gyre/runtime/assert.hpp>
#include <gyre/runtime/detail/fiber_context.hpp>
#include <gyre/runtime/scope.hpp>
#include <gyre/runtime/task.hpp>

#include <concepts>
#include <cstddef>
#include <exception>
#include <functional>
#include <type_traits>
#include <utility>

namespace gyre {

struct fiber_options {
  /// How much stack the code has, in bytes; rounded up to whole pages, from 16 KiB to 1 GiB. Memory is taken as it is
  /// touched. Code that needs more ends the program with SIGSEGV, and a sentence that says so.
  std::size_t stack_bytes = std::size_t{256} << 10U;

  static constexpr std::size_t stack_bytes_min = std::size_t{16} << 10U;
  static constexpr std::size_t stack_bytes_max = std::size_t{1} << 30U;
};

/// What code on a fiber can do.
class fiber {
 public:
  /// Waits until `awaited` has ended, and gives its value. The executor goes on meanwhile.
  ///
  /// @param awaited  Whatever a coroutine could co_await in the place of the on_fiber() below which this runs: a task,
  ///                 an operation, a deadline around either, a group. Scopes and deadlines that are in force there
  ///                 hold here.
  /// @return         What co_await would give.
  /// @errors         What co_await would throw.
  /// @cancellation   When the scope around on_fiber() is cancelled, the stack is unwound from here: destructors run,
  ///                 by an exception that is no std::exception. Code that catches it (catch (...)) is to throw it on;
  ///                 where it does not, the next await() throws it again. What destructors do on the way may not await.
  ///                 An await in a destructor while another exception is on its way is shielded: a stop waits for the
  ///                 next await. In any other destructor, who awaits catches everything, as wherever one may throw.
  /// @threads        On a fiber; else an assertion says so.
  template <class Awaitable>
    requires awaitable<Awaitable>
  static decltype(auto) await(Awaitable&& awaited);

  /// Whether the calling code runs on a fiber.
  [[nodiscard]] static bool is_current() noexcept { return detail::fiber_context::current() != nullptr; }

  /// Whether the calling code runs on a fiber that was stopped: it is being unwound, and can await nothing any more.
  [[nodiscard]] static bool is_stopped() noexcept {
    const detail::fiber_context* const mine = detail::fiber_context::current();
    return mine != nullptr && mine->is_unwinding();
  }
};

namespace detail {

// What `co_await std::declval<Awaitable>()` gives, kept where that is a reference to what goes.
template <class Awaitable>
struct given_to_fiber {
  using given = decltype(std::declval<awaiter_of_t<Awaitable>&>().await_resume());
  using type = std::conditional_t<std::is_rvalue_reference_v<given>, std::remove_reference_t<given>, given>;
};
template <class T>
struct given_to_fiber<task<T>> {
  using type = T;
};

// What is awaited for a fiber, and where its value or exception goes. Both lie on the fiber's stack.
template <class Awaitable, class T>
task<> await_into(Awaitable& awaited, result_slot<T>& slot) {
  try {
    if constexpr (std::is_void_v<T>) co_await for_caller(std::forward<Awaitable>(awaited));
    else slot.return_value(co_await for_caller(std::forward<Awaitable>(awaited)));
  } catch (...) {
    slot.store_exception();
  }
}

// The same where a stop cannot be told: an exception is on its way already, and one more would end the program.
template <class Awaitable, class T>
task<> await_shielded_into(Awaitable& awaited, result_slot<T>& slot) {
  co_await shield(await_into<Awaitable>(awaited, slot));
}

// A function that runs on a fiber, and its value.
template <class Fn>
class fiber_of final : public fiber_context {
  using value = std::invoke_result_t<Fn&>;

 public:
  fiber_of(Fn& its_fn, std::size_t stack_bytes) noexcept : fiber_context{&body, stack_bytes}, fn_{its_fn} {}
  ~fiber_of() { unwind(); }

  value take() { return slot_.take(); }

 private:
  static void body(fiber_context& self) noexcept {
    auto& mine = static_cast<fiber_of&>(self);
    try {
      if constexpr (std::is_void_v<value>) std::invoke(mine.fn_);
      else mine.slot_.return_value(std::invoke(mine.fn_));
    } catch (...) {
      if (!mine.is_unwinding()) mine.slot_.store_exception();
    }
  }

  Fn& fn_;
  result_slot<value> slot_;
};

}  // namespace detail

template <class Awaitable>
  requires awaitable<Awaitable>
decltype(auto) fiber::await(Awaitable&& awaited) {
  detail::fiber_context* const mine = detail::fiber_context::current();
  GYRE_ASSERT(mine != nullptr, "fiber::await() is for code that on_fiber() runs; a coroutine says co_await");
  detail::result_slot<typename detail::given_to_fiber<Awaitable>::type> slot;
  task<> awaiting = std::uncaught_exceptions() > 0 ? detail::await_shielded_into<Awaitable>(awaited, slot)
                                                   : detail::await_into<Awaitable>(awaited, slot);
  mine->wait_for(awaiting);
  return slot.take();
}

/// Runs ordinary code on a stack of its own, on this executor, in turns with everybody else. Inside, fiber::await().
///
/// @param fn            Called once, with nothing. It is moved in, and stays until it has returned.
/// @return              What `fn` returns.
/// @errors              What `fn` throws; not_enough_memory when there is no stack for it: vm.max_map_count.
/// @cancellation        Unwinds the code where it awaits: see fiber::await(). Code that awaits nothing is not stopped,
///                      and holds up the executor as long as it runs.
/// @threads             The executor's, from beginning to end: what is thread-local stays the same.
/// @limits              Each takes fiber_options::stack_bytes of address space, and two of the maps that a process may
///                      have: some 32,000 at a time. Stacks are kept by the thread and used again.
template <std::invocable Fn>
task<std::invoke_result_t<Fn&>> on_fiber(Fn fn, fiber_options options = {}) {
  GYRE_ASSERT(
      options.stack_bytes >= fiber_options::stack_bytes_min && options.stack_bytes <= fiber_options::stack_bytes_max,
      "a fiber has a stack of 16 KiB to 1 GiB");
  detail::fiber_of<Fn> running{fn, options.stack_bytes};
  while (task<>* const wanted = running.run_on()) co_await std::move(*wanted);
  co_return running.take();
}

}  // namespace gyre
