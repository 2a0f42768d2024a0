// SPDX-License-Identifier: MIT
// A condition variable for whom a mutex is for: coroutines on any executor, plain threads, other processes.
//
// A wait gives up the mutex, sleeps until a notify, and has the mutex again when it ends, however it ends: by the
// notify, by a deadline around it, or by a stop. So the guard that it is given always holds the mutex outside the wait,
// destructors of the frame run under the lock, and a predicate is never asked without it. A stop, or a deadline, is
// therefore as late as the mutex is.
//
//   sleeps    in the condition's queue (detail/condition_queue.hpp)
//   notified  in the mutex's queue. Nothing stops it any more: the notify is its, and it goes on with it
//   stopped   the same; it unwinds when it has the mutex
#pragma once

#include <gyre/runtime/ops/futex.hpp>
#include <gyre/runtime/result.hpp>
#include <gyre/runtime/task.hpp>
#include <gyre/sync/detail/condition_queue.hpp>
#include <gyre/sync/detail/condition_wait.hpp>
#include <gyre/sync/mutex.hpp>

#include <concepts>
#include <type_traits>

namespace gyre::sync {

/// Waits for what others change under a mutex.
///
///   auto held = co_await m.lock();
///   co_await ready.wait(held, [&] { return !items.empty(); });
///
/// Standard layout, no pointers: it can lie in memory that processes share.
///
/// To be told that something has happened, with nothing to look at under a mutex, take an event or an auto_event; to
/// hand things over, a channel; for the latest of a value, a watch.
///
/// Who is notified waits for the mutex next, and is resumed as one who waits for that: on its own executor.
///
/// @limits  Who notifies has changed what is waited for under the mutex; it may have unlocked it by then. A waiter that
///          does not run for 2^32 notifies may miss the last of these. Between processes: a notify_one() that has
///          chosen a process that is then killed is lost, and others that wait sleep on until the next; and it needs a
///          mutex, which is not robust.
class condition_variable {
 public:
  class wait_operation;

  /// @param kind  process_shared for one that other processes use, too; then its mutex is as well.
  explicit constexpr condition_variable(futex_kind kind = futex_kind::process_private) noexcept
      : words_{.kind = kind} {}
  condition_variable(const condition_variable&) = delete;
  condition_variable& operator=(const condition_variable&) = delete;

  /// Nobody may wait. Not asserted: a process that was killed while it waited is counted for ever.
  ~condition_variable() = default;

  /// Waits for one notify, or for nothing at all: look again.
  ///
  /// @param held    Holds the mutex, which all that wait here have in common. Stays until the wait has ended, and then
  ///                holds it again.
  /// @errors        std::bad_alloc   nothing has happened
  /// @cancellation  It ends with the mutex held, when that can be had. A notify that it had is not lost: who was
  ///                notified goes on; who was stopped has taken no notify with it. In a scope that is cancelled
  ///                already the mutex is not given up.
  /// @threads       The executor's thread.
  [[nodiscard]] wait_operation wait(mutex::guard& held) noexcept;

  /// Waits until a predicate holds.
  ///
  /// @param predicate  Asked under the mutex: at first, and after each notify. A copy of it lives in the wait.
  /// @cancellation     As above: it is not asked again.
  template <std::predicate Predicate>
  [[nodiscard]] task<> wait(mutex::guard& held, Predicate predicate);

  /// Blocks the thread until a notify, or for nothing.
  ///
  /// @threads  Any thread, outside the turns of executors. The guard was made by lock_blocking().
  void wait_blocking(mutex::guard& held) noexcept;

  /// The same until a predicate holds.
  template <std::predicate Predicate>
  void wait_blocking(mutex::guard& held, Predicate predicate) {
    while (!predicate()) wait_blocking(held);
  }

  /// Has one of those who wait go on; all of them. Whoever goes on needs the mutex first. Without one who waits it is a
  /// look at a word.
  ///
  /// A coroutine of the caller's executor comes first, without a system call; 64 times in a row while others wait.
  ///
  /// @threads  Any.
  void notify_one() noexcept;
  void notify_all() noexcept;

 private:
  detail::condition_words words_;
};

/// The wait of condition_variable::wait().
class [[nodiscard]] condition_variable::wait_operation final : public detail::condition_wait_base {
 public:
  void await_resume() { resumed(); }
  [[nodiscard]] result<void> await_result() noexcept { return resumed_with_result(); }

 private:
  friend condition_variable;
  wait_operation(detail::condition_words& words, mutex& locked) noexcept : condition_wait_base{words, locked.word_} {}
};

template <std::predicate Predicate>
task<> condition_variable::wait(mutex::guard& held, Predicate predicate) {
  while (!predicate()) co_await wait(held);
}

static_assert(std::is_standard_layout_v<condition_variable> && sizeof(condition_variable) == 16,
              "it lies in memory that processes share");

}  // namespace gyre::sync
