// SPDX-License-Identifier: MIT
// Both ways to sleep, step by step, and the post that ends them.
#include <gyre/runtime/detail/parker.hpp>

#include <liburing.h>
#include <poll.h>

#include <algorithm>
#include <atomic>

namespace gyre::detail {

void parker::wake_poll::prepare(completion_handler& self, io_uring_sqe& sqe) noexcept {
  io_uring_prep_poll_multishot(&sqe, static_cast<wake_poll&>(self).polled_fd, POLLIN);
}

void parker::flush_and_park() noexcept {
  if (in_ring_) return flush_and_sleep_in_ring();
  submission_.flush();
  if (work_is_visible() || in_ring_ || submission_.has_work()) return;
  sleep_in_eventfd();
  submission_.flush();
}

// How long a sleep may last; zero when a timer is due. To the last timer that comes within the slack after the
// earliest: as few wakes as if each came late by all of the slack, and a timer that is alone does not come late at all.
clock_ns parker::sleep_max() noexcept {
  if (timers_.empty()) return for_ever;
  const clock_ns now = clock_.look();
  timers_.reach(now);
  const clock_ns earliest = timers_.earliest();
  if (earliest <= now) return 0;
  const clock_ns until = timers_.last_due_by(earliest < for_ever - slack_ ? earliest + slack_ : for_ever);
  return until == for_ever ? for_ever : until - now;
}

void parker::sleep_in_eventfd() noexcept {
  const clock_ns longest = sleep_max();
  if (longest == 0) return;
  state_.store(state::parked, std::memory_order_relaxed);
  ring_.notify_completions(true);
  std::atomic_thread_fence(std::memory_order_seq_cst);
  if (!work_is_visible()) {
    ++parks_;
    ring_.sleep(longest);
  }
  state_.store(state::running, std::memory_order_relaxed);
  ring_.notify_completions(false);
  clock_.look();
}

void parker::flush_and_sleep_in_ring() noexcept {
  if (wake_poll_.where == completion_handler::place::none) submission_.submit(wake_poll_);
  if (submission_.has_queued()) submission_.flush_and_queue();
  const clock_ns longest = sleep_max();
  state_.store(state::parked, std::memory_order_relaxed);
  std::atomic_thread_fence(std::memory_order_seq_cst);
  const bool sleeps = longest > 0 && wake_poll_.where == completion_handler::place::in_kernel &&
                      !ring_.has_completions() && posted_.empty() && !submission_.has_queued();
  if (sleeps) ++parks_;
  submission_.enter(sleeps ? 1 : 0, sleeps ? longest : for_ever);
  state_.store(state::running, std::memory_order_relaxed);
  clock_.look();
}

void parker::post(runnable& work) noexcept {
  posted_.push(work);
  std::atomic_thread_fence(std::memory_order_seq_cst);
  const bool parked = state_.load(std::memory_order_relaxed) == state::parked;
  if (parked && state_.exchange(state::running, std::memory_order_relaxed) == state::parked) {
    wakes_written_.fetch_add(1, std::memory_order_relaxed);
    ring_.wake();
  } else {
    wakes_suppressed_.fetch_add(1, std::memory_order_relaxed);
  }
}

}  // namespace gyre::detail
