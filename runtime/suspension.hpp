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
// which alone reads and writes them. A granter on another thread touches four things only: the place in the list, under
// the lock; what the derived class has a granter write, before it calls resume_from_any_thread(); which executor it is,
// which begin() wrote; and the link of the executor's post, through which all of that becomes visible to the waiter
// (release, and acquire in its turn). A wait that was posted stays `waiting` until its executor takes it: that is why a
// cancel asks the list, and not the state. From the post on the granter touches nothing of the waiter, which may be
// resumed and gone before post() has returned.
//
// Until the post the waiter's frame stays, since nobody else resumes it; and so does its executor, which it keeps from
// ending.
#pragma once

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

class granted_suspensions;
class suspension_list;

namespace detail {

/// The place of a wait in a list.
struct suspension_links {
  suspension_links* previous;
  suspension_links* next;
};

}  // namespace detail

/// One wait, in the frame of the coroutine that awaits it. It can be moved until it is awaited.
class suspension : public detail::waiter, detail::suspension_links {
 public:
  suspension& operator=(suspension&&) = delete;

  /// Ends the wait: its coroutine is queued, and runs in this turn of its executor or in the next, never inside the
  /// call. For who has taken it out of its list.
  ///
  /// @threads  The thread of its executor. From any other: resume_from_any_thread().
  void resume() noexcept;

  /// The same in the next turn of its executor, so that the kernel is looked at before. In a turn of that executor.
  void resume_next_turn() noexcept;

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
    detail::boundary& bound = bound_of(awaiter);
    gyre::executor* const loop = detail::current_executor;
    if (loop != bound.undisturbed_on || !is_plainly(stage::idle)) [[unlikely]]
      return begin_with_care(awaiter, bound);
    executor_ = loop;
    set_plainly(stage::waiting, loop->clock_.last_look_ms());
    bound.waiting = this;
    set_coroutine(awaiter);
    run_through_kind();  // for who posts it, from where neither this nor its state may be touched
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
  void resumed() {
    end_wait();
    if (was_stopped()) [[unlikely]]
      throw_stopped();
  }

  /// The same for await_result(), which as_result() calls.
  [[nodiscard]] result<void> resumed_with_result() noexcept;

 private:
  friend struct suspension_kind;
  friend class granted_suspensions;
  friend class suspension_list;

  [[nodiscard]] const suspension_kind& its_kind() const noexcept { return static_cast<const suspension_kind&>(*kind); }
  [[nodiscard]] bool begin_with_care(std::coroutine_handle<> awaiter, detail::boundary& bound) noexcept;
  [[noreturn, gnu::cold]] void throw_stopped() const;
  static void run(detail::runnable& self) noexcept;
  static void cancel_waiting(detail::waiter& self) noexcept;

  // As its list counts, when it came in; 0 when it has left alone. Written on coming and leaving, under the list's
  // lock, and not when it is taken out with all others. The links are set only while it is in a list.
  std::uint64_t epoch_ = 0;

  // Whose it is, set by begin(): the one thing of the wait itself that a granter reads.
  gyre::executor* executor_;
};

constexpr suspension_kind::suspension_kind(const char* its_name, withdraw_fn withdraw, arrived_fn arrived,
                                           describe_fn about) noexcept
    : waiter_kind{{&suspension::run}, &suspension::cancel_waiting, its_name, about},
      withdraw_from_list{withdraw},
      arrived_or_null{arrived} {}

/// Those that were taken out of a list, oldest first, until its lock is open again and they can be resumed. Belongs to
/// who has taken them out, and to nobody else.
class granted_suspensions {
 public:
  granted_suspensions() noexcept = default;
  granted_suspensions(const granted_suspensions&) = delete;
  granted_suspensions& operator=(const granted_suspensions&) = delete;

  void push_back(suspension& granted) noexcept {
    last_->next = &granted;
    last_ = &granted;
  }

  /// The oldest, which is not in here any more; null when there is none.
  suspension* pop_front() noexcept {
    if (last_ == &before_) return nullptr;
    detail::suspension_links* const first = before_.next;
    if (first == last_) last_ = &before_;
    else before_.next = first->next;
    return static_cast<suspension*>(first);
  }

  /// resume_from_any_thread() for each.
  void resume_all() noexcept {
    while (suspension* const first = pop_front()) first->resume_from_any_thread();
  }

 private:
  friend suspension_list;
  detail::suspension_links before_{};  // the first
  detail::suspension_links* last_ = &before_;
};

/// Those that wait, in the order in which they came. Each can leave in constant time, and all of them together.
///
/// It has no lock: whoever owns it calls under its own.
class suspension_list {
 public:
  suspension_list() noexcept = default;
  suspension_list(const suspension_list&) = delete;
  suspension_list& operator=(const suspension_list&) = delete;

  [[nodiscard]] bool empty() const noexcept { return ends_.next == &ends_; }

  /// Who came first, or null.
  [[nodiscard]] suspension* front() noexcept { return empty() ? nullptr : static_cast<suspension*>(ends_.next); }

  void push_back(suspension& entering) noexcept {
    detail::suspension_links& links = entering;
    links.previous = ends_.previous;
    links.next = &ends_;
    ends_.previous->next = &links;
    ends_.previous = &links;
    entering.epoch_ = epoch_;
  }

  /// Takes out who came first; null when nobody waits.
  suspension* pop_front() noexcept {
    suspension* const first = front();
    if (first != nullptr) unlink(*first);
    return first;
  }

  /// Takes `leaving` out, and returns whether it was there. For withdraw(): also one that has been taken out already,
  /// alone or with all, and is on its way.
  [[nodiscard]] bool remove(suspension& leaving) noexcept {
    if (leaving.epoch_ != epoch_) return false;
    unlink(leaving);
    return true;
  }

  /// Takes all of them out, in constant time, and appends them to `granted`.
  void move_all_to(granted_suspensions& granted) noexcept {
    if (empty()) return;
    granted.last_->next = ends_.next;
    granted.last_ = ends_.previous;
    ends_.next = ends_.previous = &ends_;
    ++epoch_;  // remove() knows none of them any more, and leaves their links alone
  }

 private:
  void unlink(suspension& leaving) noexcept {
    const detail::suspension_links& links = leaving;
    links.previous->next = links.next;
    links.next->previous = links.previous;
    leaving.epoch_ = 0;
  }

  detail::suspension_links ends_{&ends_, &ends_};  // the last is before it, the first behind
  std::uint64_t epoch_ = 1;                        // counts how often all were taken out
};

}  // namespace gyre
