// SPDX-License-Identifier: MIT
// An executor inside a loop of somebody else's: epoll, libuv, Asio, GLib. That loop sleeps, the executor never does.
//
// Both are one thread's. The foreign loop watches one descriptor and one point in time, and comes when either is there:
//
//   run_ready()     after: nothing signals any more, the signals are taken
//                   turns, each of which gives the kernel everything
//                   before: armed; look; where there is something to do, not armed, and another turn
//   next_wakeup()   the foreign loop asks how long it may sleep
//   its sleep       on poll_fd(), among its own
//
// So the executor's own sleep (detail/parker.hpp) is cut in two, around a sleep of which it sees nothing:
//
//   executor                                             whoever has something for it
//   E1  parked                        (read-modify-write)    P1  a post: the work, and then `parked` is taken away
//   E2  completions signal the eventfd                       P2  who took it away writes the eventfd
//   E3  full fence                                           K1  the kernel: there is task work, or a completion
//   E4  look: completions, task work, posts                  K2  do completions signal? then it writes the eventfd
//   F   the foreign loop sleeps, or does not
//   E5  not parked, no signals; read(eventfd), unless it is empty
//   E6  turns: they take all that E4 looks at
//
//   P1 before E1, K1 before E4    the look finds it: E5 at once, and no sleep
//   P1 between E1 and E5          P2 follows: F ends, or does not begin. One write, however many post
//   K2 between E2 and E5          F ends, or does not begin
//   P1 or K1 after E5             E6 finds it, or the next E4
//   P1 before E5, P2 after it     E6 runs the work, and the write ends a later sleep early, which finds nothing to do
//   a signal before E5            is read with the others: what it stands for was there before it, and E6 finds that
//   the loop comes unasked        E5 finds nothing to read, and that is all
//
// What this very thread makes ready between E4 and F signals nothing: a task that a callback of the foreign loop's has
// started, a scope that it has cancelled, an event that it has set. next_wakeup() sees it and says "now". Who cannot
// ask that before each sleep calls run_ready() after such a callback, or wake() in it.
//
// tests/runtime/embedded_test.cpp takes each line of the table, on the scripted ring and on the kernel's.
#pragma once

#include <gyre/runtime/executor.hpp>

#include <chrono>

namespace gyre {

/// Has an executor driven by a foreign loop, for as long as this lives; executor::run() works meanwhile, too.
///
/// An executor that is embedded sleeps in no ring. So where a request waits for an eventfd of the program's, a write to
/// that is noticed some 10 to 25 ms late (Linux 6.18 signals it then and not before), and from the first such request
/// on each sleep costs two system calls more, 4 us: docs/embedding.md. executor::post() is not concerned.
///
/// @errors  std::system_error of the constructor's, whose text names cause and cure:
///          invalid_argument   the executor has parking::ring_wait, or iopoll
///          others             a filter forbids preadv2(2)
/// @threads The thread that made the executor, outside any turn of it.
class embedded {
 public:
  using time_point = std::chrono::steady_clock::time_point;

  /// `loop` outlives it, and is embedded once at a time.
  explicit embedded(executor& loop);
  embedded(const embedded&) = delete;
  embedded& operator=(const embedded&) = delete;
  ~embedded();

  [[nodiscard]] executor& loop() const noexcept { return loop_; }

  /// What the foreign loop watches for being readable, level-triggered: then it calls run_ready(). It is the
  /// executor's, and stays the same; nobody else reads it or writes to it.
  [[nodiscard]] int poll_fd() const noexcept { return loop_.ring().event_fd(); }

  /// Turns until nothing is ready and the kernel has been given everything, and arms poll_fd(): what comes from there
  /// on makes it readable. To be called when that is readable, when next_wakeup() is over, and whenever anybody likes.
  ///
  /// @param turns_max  After so many it returns all the same, so that the foreign loop's own work has its turn. At
  ///                   least one. Each turn has the budget of executor_options::turn_budget.
  /// @return           Whether it did that: there is more to do at once, poll_fd() does not say so, and next_wakeup()
  ///                   is now.
  bool run_ready(unsigned turns_max = 8);

  /// The point in time by which run_ready() has to be called again, whatever poll_fd() says: the executor's earliest
  /// timer with those that come within executor_options::timer_slack of it; time_point::max() when it has none; a point
  /// that is past when there is something to do now.
  ///
  /// Ask anew before each sleep, and after each callback that has to do with gyre: it sees what that has changed.
  /// Costs no system call.
  [[nodiscard]] time_point next_wakeup() noexcept;

  /// The same in the words of epoll_wait(2) and poll(2): milliseconds, rounded up; 0 for now, -1 for never.
  [[nodiscard]] int next_wakeup_ms() noexcept;

  /// Makes poll_fd() readable, where nothing has since run_ready(). For a callback of the foreign loop's that has
  /// started, cancelled or woken something of gyre's, where nobody asks next_wakeup() before the next sleep.
  void wake() noexcept;

 private:
  executor& loop_;
  detail::parker& sleeper_;
  bool woken_ = false;  // by wake(), since run_ready()
};

}  // namespace gyre
