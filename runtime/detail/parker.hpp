// SPDX-License-Identifier: MIT
// How an executor sleeps when there is nothing to do, and how other threads wake it.
//
// It sleeps in read(2) on an eventfd that is registered with its ring and that other threads write to.
//
//   parked (detail/inbox.hpp); completions signal the eventfd
//   full fence
//   look again: completions, task work, posted        -- anything there: undo, do not sleep
//   read(eventfd), or epoll_pwait2(2) on it when there are timers
//   not parked; completions no longer signal
//
// Who posts pushes first, and then writes the eventfd only if it was the one to take `parked` away. So either the look
// sees the push, or the poster sees `parked`; a busy executor is never written to: detail/inbox.hpp has the table.
//
// Completions that were queued while they did not signal are remembered by nobody, which is why the look comes after,
// and not before, they do. The fence stands between the two, as the kernel reads the one word and writes the other:
//
//   executor                                   kernel
//   E1  completions signal the eventfd         K1  there is task work
//   E2  full fence                             K2  do completions signal? then write the eventfd
//   E3  look: is there task work?
//
//   K1 before E3   the look finds it: no sleep
//   E3 before K1   then E1, by the fence, before K2: the write ends the sleep
//
// Without the fence E1 may still be on its way to memory while E3 reads, and K1 and K2 come between: nobody signals,
// and nobody looks. tests/runtime/inbox_model_test.cpp finds that order, and none where the fence is there.
//
// Or it sleeps in the io_uring_enter(2) that submits: the same promise, with the ring polling what other threads write
// to.
//
// Before it sleeps it may look for a while, awake (executor_options::spin_before_park): what comes meanwhile costs
// neither a sleep nor a wake. And where completions come only to who asks for them (executor_options::iopoll) it sleeps
// only when nothing is in flight, and else asks.
//
// Or somebody else sleeps for it, in a loop of another library's (embedded.hpp): arm() is the protocol down to the
// look, disarm() what comes after the sleep, and the descriptor is read there without waiting, as nobody knows who
// ended it.
//
// What ends a sleep besides: the earliest timer. How long it may last is an argument of the call that sleeps, so that
// timers need no request in the kernel, which would have to be armed, moved, and ended. Where more timers come one upon
// the other (executor_options::timer_slack), it lasts to the last of them, and they end one sleep together.
#pragma once

#include <gyre/runtime/detail/coarse_clock.hpp>
#include <gyre/runtime/detail/completion_handler.hpp>
#include <gyre/runtime/detail/inbox.hpp>
#include <gyre/runtime/detail/ring.hpp>
#include <gyre/runtime/detail/runnable.hpp>
#include <gyre/runtime/detail/spin_habit.hpp>
#include <gyre/runtime/detail/submission.hpp>
#include <gyre/runtime/detail/timer_heap.hpp>

#include <atomic>
#include <chrono>
#include <cstdint>

namespace gyre::detail {

class parker {
 public:
  enum class sleeps_in : std::uint8_t { eventfd, ring };

  struct manners {
    sleeps_in where = sleeps_in::eventfd;
    std::chrono::nanoseconds slack{0};
    std::chrono::nanoseconds spin_max{0};
    unsigned min_wait_count = 1;
  };

  parker(ring& its_ring, coarse_clock& its_clock, timer_heap& its_timers, submission& its_submission,
         const manners& how) noexcept
      : ring_{its_ring},
        clock_{its_clock},
        timers_{its_timers},
        submission_{its_submission},
        wake_poll_{its_ring.event_fd()},
        slack_{how.slack.count()},
        spin_max_{how.spin_max.count()},
        min_wait_count_{its_ring.modes().min_wait ? how.min_wait_count : 1},
        in_ring_{how.where == sleeps_in::ring} {
    timers_.reach(clock_.last_look());
  }

  /// Gives the kernel everything there is, and sleeps until there is something to do. When nothing is ready.
  void flush_and_park() noexcept;

  /// Gives the kernel everything there is. Where completions come only to who asks for them, asks.
  void flush() noexcept {
    if (ring_.modes().iopoll) [[unlikely]]
      return flush_and_ask();
    submission_.flush();
  }

  /// Whether there is something that a turn would take: completions, task work of the kernel's, posts.
  [[nodiscard]] bool work_is_visible() const noexcept {
    return ring_.has_completions() || ring_.wants_enter() || !posted_.empty();
  }

  /// Sleeps in the ring from here on: something begins that may wait for an eventfd, itself or inside an epoll set.
  ///
  /// Where a write to another eventfd, or a read of one, is what completes a request, Linux signals a ring's registered
  /// eventfd once, late, and then never again (6.18, io_uring/eventfd.c: the bit that says "a signal is under way" is
  /// never cleared). A sleep in the ring itself is not concerned. Nor is a ring whose completions come only to who
  /// asks: it takes no poll, and no request on an eventfd. One that is embedded cannot sleep in its ring: that has its
  /// eventfd registered anew before each sleep, and is signalled once for each, some 10 to 25 ms late.
  void sleep_in_ring_from_now_on() noexcept { meets_eventfds_ = !ring_.modes().iopoll; }

  /// Somebody else sleeps for it from here on, or no longer.
  void begin_embedding() noexcept;
  void end_embedding() noexcept;
  [[nodiscard]] bool is_embedded() const noexcept { return embedded_; }

  /// Before somebody else sleeps, when the kernel has been given everything: from here on whatever there is to do
  /// signals the event descriptor. Returns whether that is so; false when there is something to do now.
  [[nodiscard]] bool arm() noexcept;

  /// After that sleep: nothing signals any more, and the signals are taken. Nothing, where it is not armed.
  void disarm() noexcept;
  [[nodiscard]] bool is_armed() const noexcept { return armed_; }

  /// Ends that sleep.
  void end_foreign_sleep() noexcept { ring_.wake(); }

  /// Until when a sleep that begins now may last, for its timers; the end of time when there are none.
  [[nodiscard]] clock_ns sleep_until() noexcept;

  /// Queues `work` for take_posted(), and ends the sleep. From any thread, and from signal handlers.
  void post(runnable& work) noexcept;

  [[nodiscard]] bool has_posted() const noexcept { return !posted_.empty(); }

  /// Everything that was posted, oldest first, linked through `next`.
  [[nodiscard]] runnable* take_posted() noexcept { return posted_.take_all(); }

  /// Waits until no other thread is in post(). Before the parker goes.
  void wait_for_posters() noexcept { posted_.wait_for_posters(); }

  /// See executor_statistics.
  [[nodiscard]] std::uint64_t parks() const noexcept { return parks_; }
  [[nodiscard]] const spin_habit& spins() const noexcept { return habit_; }
  [[nodiscard]] std::uint64_t wakes_written() const noexcept { return wakes_written_.load(std::memory_order_relaxed); }
  [[nodiscard]] std::uint64_t wakes_suppressed() const noexcept { return posted_.posts_count() - wakes_written(); }

 private:
  // For sleeping in the ring: a multishot poll of the eventfd, which is never read, so that a write to it ends the
  // wait.
  struct wake_poll : completion_handler {
    explicit wake_poll(int event_fd) noexcept : completion_handler{&woken, &prepare}, polled_fd{event_fd} {}
    static void woken(completion_handler&, std::int32_t, std::uint32_t) noexcept {}
    static void prepare(completion_handler& self, io_uring_sqe& sqe) noexcept;
    int polled_fd;
  };

  [[nodiscard]] bool sleeps_in_ring() const noexcept { return in_ring_ || (meets_eventfds_ && !embedded_); }
  [[nodiscard]] clock_ns sleep_max() noexcept;
  void begin_sleep_on_event_fd() noexcept;
  void end_sleep_on_event_fd() noexcept;
  [[nodiscard]] bool finds_work_awake() noexcept;
  [[nodiscard]] unsigned wait_count() const noexcept;
  void flush_and_ask() noexcept;
  void sleep_in_eventfd() noexcept;
  void flush_and_sleep_in_ring() noexcept;

  // Touched by the thread that runs the executor, and by no other.
  ring& ring_;
  coarse_clock& clock_;
  timer_heap& timers_;
  submission& submission_;
  std::uint64_t parks_ = 0;
  wake_poll wake_poll_;  // armed only when it sleeps in the ring
  spin_habit habit_;
  clock_ns slack_;
  clock_ns spin_max_;  // 0: it never looks awake
  unsigned min_wait_count_;
  bool in_ring_;
  bool meets_eventfds_ = false;  // see sleep_in_ring_from_now_on()
  bool embedded_ = false;
  bool armed_ = false;  // somebody else sleeps, or is about to

  // Touched by any thread.
  inbox posted_;
  std::atomic<std::uint64_t> wakes_written_ = 0;
};

}  // namespace gyre::detail
