// SPDX-License-Identifier: MIT
// A wait of one's own making: the base of what locks, queues and events have coroutines wait in.
//
// Who writes such a type (the owner below) derives an awaitable from `suspension`, keeps those that wait in a
// suspension_list, and guards that list as its threads demand: with a lock, or not at all on a single executor. The
// executor does the rest: cancels, deadlines, diagnosis, coroutines of somebody else's type.
//
//   idle -> waiting -> ready -> done   begin(); resume(), or a cancel; the executor's turn; resumed()
//   idle -> waiting -> ready -> done   end_at_once(): it turned out inside await_suspend() that nobody need wait
//   idle -> ready -> done              begin() in a scope that is cancelled already
//           waiting <- ready           wait_again(), from the kind's arrived()
//
// One thing decides how a wait ends: who takes it out of its list, under the owner's lock.
//
//   taken out by       calls                       and then
//   a granter          resume(), or                it is resumed, whatever happens meanwhile
//                      resume_from_any_thread()
//   a cancel           withdraw(), which is true   it is unwound as stopped
//
// So a cancel that finds it granted already (withdraw() is false) does nothing: the grant is under way, and what has
// crossed a cancel is delivered. None is lost and none is given twice, as the list knows each wait once.
//
// The state, the links to the executor and everything of the class `waiter` belong to the waiter's executor's thread,
// which alone writes them. A granter on another thread touches three things only: the place in the list, under the
// lock; what the derived class has a granter write, before it calls resume_from_any_thread(); and the link of the
// executor's post, through which that becomes visible to the waiter (release, and acquire in its turn). A wait that was
// posted stays `waiting` until its executor takes it: that is why a cancel asks the list, and not the state. From the
// post on the granter touches nothing of the waiter, which may be resumed and gone before post() has returned.
//
// Until the post the waiter's frame stays, since nobody else resumes it; and so does its executor, which it keeps from
// ending.
#pragma once

#include <gyre/runtime/detail/intrusive.hpp>
#include <gyre/runtime/detail/waiter.hpp>
#include <gyre/runtime/executor.hpp>
#include <gyre/runtime/result.hpp>

#include <coroutine>
#include <cstdint>

namespace gyre {

class suspension;

/// What all waits of one sort share. One constant for each: a static member of the derived class, for gyre-gdb.py.
struct suspension_kind : detail::waiter_kind {
  using withdraw_fn = bool (*)(suspension& self) noexcept;
  using arrived_fn = bool (*)(suspension& self) noexcept;
  using describe_fn = void (*)(const detail::waiter& self, detail::wait_details& told) noexcept;

  /// @param its_name  As diagnosis shows it, and error texts begin; a literal.
  /// @param withdraw  Its scope was cancelled: takes it out of its list, and returns whether it was there. False: it
  ///                  was granted before. Called on the thread of the waiter's executor, once; runs no user code. It
  ///                  may resume others of the same list, whom the one that leaves was in the way of.
  /// @param arrived   What was granted is here, on the waiter's executor, whose turn it is: returns whether the wait is
  ///                  over. False after wait_again(), and back in the list where that was true. Null: it is over.
  /// @param about     Says more for diagnosis. Null: the name says it all.
  constexpr suspension_kind(const char* its_name, withdraw_fn withdraw, arrived_fn arrived = nullptr,
                            describe_fn about = nullptr) noexcept;

  withdraw_fn withdraw_from_list;
  arrived_fn arrived_or_null;
};

class suspension_list;

class suspension : public detail::waiter, detail::ring_links {
 public:
  suspension& operator=(suspension&&) = delete;

  /// Ends the wait: its coroutine is queued, and runs in this turn of its executor or in the next, never inside the
  /// call. For who has taken it out of its list.
  ///
  /// @threads  The thread of its executor. From any other: resume_from_any_thread().
  void resume() noexcept;

  /// The same from wherever one is. Where it is the turn of the waiter's executor it is resume(); otherwise it is
  /// posted to that. Allocates nothing. The wait may be gone when this returns.
  ///
  /// @threads  Any thread.
  void resume_from_any_thread() noexcept;

 protected:
  explicit suspension(const suspension_kind& its_kind) noexcept : waiter{its_kind} {}
  suspension(suspension&& other) noexcept : waiter{static_cast<const detail::waiter_kind&>(*other.kind), other} {}
  ~suspension() = default;

  /// In await_suspend(), before begin(): whether nothing is out of the ordinary: the scope is not cancelled, it is the
  /// turn of its executor, and only gyre's coroutines have run below. Then what can be had at once may be taken without
  /// begin(); otherwise begin() knows, and end_at_once() gives it all the same.
  template <class Promise>
  [[nodiscard]] static bool is_undisturbed(std::coroutine_handle<Promise> awaiter) noexcept {
    if constexpr (detail::gyre_promise<Promise>)
      return awaiter.promise().bound->undisturbed_on == detail::current_executor;
    else return false;
  }

  /// In await_suspend(), before it goes into its list: who waits. False when the scope is cancelled already: then it
  /// was queued as stopped, and the list must not get it; the coroutine stays suspended.
  template <class Promise>
  [[nodiscard]] bool begin(std::coroutine_handle<Promise> awaiter) noexcept {
    if (!waiter::begin(awaiter)) return false;
    run_through_kind();  // for who posts it, from where the kind cannot be looked at and the wait not be changed
    return true;
  }

  /// In await_suspend(), after begin(): there is no need to wait after all. The coroutine goes on at once, when
  /// await_suspend() returns false.
  void end_at_once() noexcept { settle_in_place(); }

  /// From the kind's arrived(): waits on. Returns whether it has to go back into its list; false when its scope has
  /// been cancelled meanwhile, and it was queued as stopped.
  using waiter::wait_again;

  /// The first thing that await_resume() does: the coroutine is back, or never was suspended. Throws
  /// operation_canceled when a stop was asked for as an error: stopped_as_error(), coroutines of somebody else's type.
  void resumed();

  /// The same for await_result(), which as_result() calls.
  [[nodiscard]] result<void> resumed_with_result() noexcept;

 private:
  friend struct suspension_kind;
  friend class suspension_list;
  friend class detail::intrusive_ring<suspension>;

  [[nodiscard]] const suspension_kind& its_kind() const noexcept { return static_cast<const suspension_kind&>(*kind); }
  static void run(detail::runnable& self) noexcept;
  static void cancel_waiting(detail::waiter& self) noexcept;

  std::uint64_t taken_count_ = 0;  // of its list, when it came into it
};

constexpr suspension_kind::suspension_kind(const char* its_name, withdraw_fn withdraw, arrived_fn arrived,
                                           describe_fn about) noexcept
    : waiter_kind{{&suspension::run}, &suspension::cancel_waiting, its_name, about},
      withdraw_from_list{withdraw},
      arrived_or_null{arrived} {}

/// Those that wait, in the order in which they came. Each can leave in constant time, and all of them together.
///
/// It has no lock: whoever owns it calls under its own.
class suspension_list {
 public:
  suspension_list() noexcept = default;

  [[nodiscard]] bool empty() const noexcept { return waiting_.empty(); }

  /// Who came first, or null.
  [[nodiscard]] suspension* front() noexcept { return waiting_.front(); }

  void push_back(suspension& entering) noexcept {
    entering.taken_count_ = taken_count_;
    waiting_.push_back(entering);
  }

  /// Takes out who came first; null when nobody waits.
  suspension* pop_front() noexcept {
    suspension* const first = waiting_.front();
    if (first != nullptr) first->unlink();
    return first;
  }

  /// Takes `leaving` out, and returns whether it was there. For withdraw(): also one that has been taken out already,
  /// alone or with all, and is on its way.
  [[nodiscard]] bool remove(suspension& leaving) noexcept {
    // The links of one that was taken with all are the taker's, who may be at them now.
    if (leaving.taken_count_ != taken_count_ || !leaving.ring_links::linked()) return false;
    leaving.unlink();
    return true;
  }

  /// Hands all of them over to `taker`, which is empty, and is its caller's alone.
  void move_all_to(suspension_list& taker) noexcept {
    ++taken_count_;
    waiting_.move_all_to(taker.waiting_);
  }

  /// Ends the waits of all of them, oldest first: resume_from_any_thread(). For who has taken them out; without the
  /// lock.
  void resume_all() noexcept {
    while (suspension* const first = pop_front()) first->resume_from_any_thread();
  }

 private:
  detail::intrusive_ring<suspension> waiting_;
  std::uint64_t taken_count_ = 0;  // how often all were handed over
};

}  // namespace gyre
