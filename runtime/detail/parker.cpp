// SPDX-License-Identifier: MIT
// Both ways to sleep, step by step, and the post that ends them.
#include <gyre/runtime/detail/live_executor.hpp>
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

// How long a sleep may last; zero when a timer is due. Linux lets every sleep of a thread come late by its slack, that
// on the eventfd too: only what is wanted above that is added there.
clock_ns parker::sleep_max() noexcept {
  constexpr clock_ns slack_of_threads = 50'000;
  const clock_ns due = timers_.empty() ? for_ever : timers_.earliest();
  if (due == for_ever) return for_ever;
  const clock_ns now = clock_.look();
  if (due <= now) return 0;  // also where the time that is left cannot be counted: at the beginning of time
  const clock_ns left = due - now;
  const clock_ns added = in_ring_ ? slack_ : std::max<clock_ns>(slack_ - slack_of_threads, 0);
  return left < for_ever - added ? left + added : for_ever;
}

void parker::sleep_in_eventfd() noexcept {
  const clock_ns longest = sleep_max();
  if (longest == 0) return;
  posted_.begin_sleep();
  ring_.notify_completions(true);
  std::atomic_thread_fence(std::memory_order_seq_cst);
  if (!work_is_visible()) {
    ++parks_;
    ring_.sleep(longest);
  }
  posted_.end_sleep();
  ring_.notify_completions(false);
  clock_.look();
}

void parker::flush_and_sleep_in_ring() noexcept {
  if (wake_poll_.where == completion_handler::place::none) submission_.submit(wake_poll_);
  if (submission_.has_queued()) submission_.flush_and_queue();
  const clock_ns longest = sleep_max();
  posted_.begin_sleep();
  std::atomic_thread_fence(std::memory_order_seq_cst);
  const bool sleeps = longest > 0 && wake_poll_.where == completion_handler::place::in_kernel &&
                      !ring_.has_completions() && posted_.empty() && !submission_.has_queued();
  if (sleeps) ++parks_;
  submission_.enter(sleeps ? 1 : 0, sleeps ? longest : for_ever);
  posted_.end_sleep();
  clock_.look();
}

void parker::post(runnable& work) noexcept {
  refuse_child(ring_);
  posted_.post(work, [this]() noexcept {
    wakes_written_.fetch_add(1, std::memory_order_relaxed);
    ring_.wake();
  });
}

}  // namespace gyre::detail
