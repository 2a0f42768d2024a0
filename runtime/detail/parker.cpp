// SPDX-License-Identifier: MIT
// Both ways to sleep, step by step, and the post that ends them.
#include <gyre/runtime/detail/kernel_times.hpp>
#include <gyre/runtime/detail/parker.hpp>

#include <liburing.h>
#include <poll.h>

#include <atomic>

namespace gyre::detail {

void parker::wake_poll::prepare(completion_handler& self, io_uring_sqe& sqe) noexcept {
  io_uring_prep_poll_multishot(&sqe, static_cast<wake_poll&>(self).polled_fd, POLLIN);
}

void parker::flush_and_park() noexcept {
  if (!timers_.empty()) arm_timeout(timers_.earliest());
  if (in_ring_) return flush_and_sleep_in_ring();
  submission_.flush();
  if (work_is_visible() || in_ring_ || submission_.has_work() || !ends_in_time()) return;
  sleep_in_eventfd();
  submission_.flush();
}

void parker::arm_timeout(clock_ns due) noexcept {
  using place = completion_handler::place;
  kernel_timeout& timeout = submission_.timeout();
  if (timeout.where == place::in_kernel) {
    if (timeout.due <= due) return;
    if (ring_.free_sqes() == 0) submission_.flush();
    if (ring_.free_sqes() == 0) return;  // refused: there is more to do than to sleep
  }
  timeout.due = due;
  if (timeout.where == place::none) submission_.submit(timeout);
  else if (timeout.where == place::in_kernel) timeout.describe_move(submission_.take_nobodys_sqe());
}

// Whether a sleep would end in time for the earliest timer. Not so when there was no entry to arm the timeout by, or to
// move it: then the next turn does.
bool parker::ends_in_time() noexcept { return timers_.empty() || submission_.timeout().fires_by(timers_.earliest()); }

void parker::sleep_in_eventfd() noexcept {
  state_.store(state::parked, std::memory_order_relaxed);
  ring_.notify_completions(true);
  std::atomic_thread_fence(std::memory_order_seq_cst);
  if (!work_is_visible()) {
    ++parks_;
    ring_.sleep();
  }
  state_.store(state::running, std::memory_order_relaxed);
  ring_.notify_completions(false);
  clock_.look();
}

void parker::flush_and_sleep_in_ring() noexcept {
  if (wake_poll_.where == completion_handler::place::none) submission_.submit(wake_poll_);
  if (submission_.has_queued()) submission_.flush_and_queue();
  state_.store(state::parked, std::memory_order_relaxed);
  std::atomic_thread_fence(std::memory_order_seq_cst);
  const bool sleeps = wake_poll_.where == completion_handler::place::in_kernel && !ring_.has_completions() &&
                      posted_.empty() && !submission_.has_queued() && ends_in_time();
  if (sleeps) ++parks_;
  submission_.enter(sleeps ? 1 : 0);
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
