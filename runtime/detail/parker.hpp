// SPDX-License-Identifier: MIT
// How an executor sleeps when there is nothing to do, and how other threads wake it.
//
// It sleeps in read(2) on an eventfd that is registered with its ring and that other threads write to.
//
//   state = parked; completions signal the eventfd
//   full fence
//   look again: completions, task work, posted        -- anything there: undo, do not sleep
//   read(eventfd), or epoll_pwait2(2) on it when there are timers
//   state = running; completions no longer signal
//
// Who posts pushes first, fences, and then writes the eventfd only if it was the one to take `parked` away. So either
// the look sees the push, or the poster sees `parked`; a busy executor is never written to. Completions that were
// queued while they did not signal are remembered by nobody, which is why the look comes after, and not before, they
// do. ARCHITECTURE.md, Parking, goes through every order.
//
// Or it sleeps in the io_uring_enter(2) that submits: the same promise, with the ring polling what other threads write
// to.
//
// What ends a sleep besides: the earliest timer. How long it may last is an argument of the call that sleeps, so that
// timers need no request in the kernel, which would have to be armed, moved, and ended. Where more timers come one upon
// the other (executor_options::timer_slack), it lasts to the last of them, and they end one sleep together.
#pragma once

#include <gyre/runtime/detail/coarse_clock.hpp>
#include <gyre/runtime/detail/completion_handler.hpp>
#include <gyre/runtime/detail/mpsc_stack.hpp>
#include <gyre/runtime/detail/ring.hpp>
#include <gyre/runtime/detail/runnable.hpp>
#include <gyre/runtime/detail/submission.hpp>
#include <gyre/runtime/detail/timer_heap.hpp>

#include <atomic>
#include <chrono>
#include <cstdint>

namespace gyre::detail {

class parker {
 public:
  enum class sleeps_in : std::uint8_t { eventfd, ring };

  parker(ring& its_ring, coarse_clock& its_clock, timer_heap& its_timers, submission& its_submission, sleeps_in where,
         std::chrono::nanoseconds slack) noexcept
      : ring_{its_ring},
        clock_{its_clock},
        timers_{its_timers},
        submission_{its_submission},
        wake_poll_{its_ring.event_fd()},
        slack_{slack.count()},
        in_ring_{where == sleeps_in::ring} {
    timers_.reach(clock_.last_look());
  }

  /// Gives the kernel everything there is, and sleeps until there is something to do. When nothing is ready.
  void flush_and_park() noexcept;

  /// Whether there is something that a turn would take: completions, task work of the kernel's, posts.
  [[nodiscard]] bool work_is_visible() const noexcept {
    return ring_.has_completions() || ring_.wants_enter() || !posted_.empty();
  }

  /// Sleeps in the ring from here on: something begins that may wait for an eventfd, itself or inside an epoll set.
  ///
  /// Where a write to another eventfd, or a read of one, is what completes a request, Linux signals a ring's registered
  /// eventfd once, late, and then never again (6.18, io_uring/eventfd.c: the bit that says "a signal is under way" is
  /// never cleared). A sleep in the ring itself is not concerned.
  void sleep_in_ring_from_now_on() noexcept { in_ring_ = true; }

  /// Queues `work` for take_posted(), and ends the sleep. From any thread, and from signal handlers.
  void post(runnable& work) noexcept;

  [[nodiscard]] bool has_posted() const noexcept { return !posted_.empty(); }

  /// Everything that was posted, oldest first, linked through `next`.
  [[nodiscard]] runnable* take_posted() noexcept { return posted_.take_all(); }

  /// See executor_statistics.
  [[nodiscard]] std::uint64_t parks() const noexcept { return parks_; }
  [[nodiscard]] std::uint64_t wakes_written() const noexcept { return wakes_written_.load(std::memory_order_relaxed); }
  [[nodiscard]] std::uint64_t wakes_suppressed() const noexcept {
    return wakes_suppressed_.load(std::memory_order_relaxed);
  }

 private:
  // For sleeping in the ring: a multishot poll of the eventfd, which is never read, so that a write to it ends the
  // wait.
  struct wake_poll : completion_handler {
    explicit wake_poll(int event_fd) noexcept : completion_handler{&woken, &prepare}, polled_fd{event_fd} {}
    static void woken(completion_handler&, std::int32_t, std::uint32_t) noexcept {}
    static void prepare(completion_handler& self, io_uring_sqe& sqe) noexcept;
    int polled_fd;
  };

  [[nodiscard]] clock_ns sleep_max() noexcept;
  void sleep_in_eventfd() noexcept;
  void flush_and_sleep_in_ring() noexcept;

  // Touched by the thread that runs the executor, and by no other.
  ring& ring_;
  coarse_clock& clock_;
  timer_heap& timers_;
  submission& submission_;
  std::uint64_t parks_ = 0;
  wake_poll wake_poll_;  // armed only when it sleeps in the ring
  clock_ns slack_;
  bool in_ring_;

  // Touched by any thread.
  enum class state : std::uint8_t { running, parked };
  std::atomic<state> state_ = state::running;
  mpsc_stack posted_;
  std::atomic<std::uint64_t> wakes_written_ = 0;
  std::atomic<std::uint64_t> wakes_suppressed_ = 0;
};

}  // namespace gyre::detail
