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
  if (sleeps_in_ring()) return flush_and_sleep_in_ring();
  submission_.flush();
  if (work_is_visible() || sleeps_in_ring() || submission_.has_work()) return;
  if (ring_.modes().iopoll && submission_.in_kernel_count() > 0) {
    submission_.enter(/*wait_count=*/1);
    return;
  }
  if (spin_max_ == 0 || !finds_work_awake()) sleep_in_eventfd();
  submission_.flush();
}

// One look that does not last: those who are ready come before the devices.
void parker::flush_and_ask() noexcept {
  submission_.flush();
  if (submission_.in_kernel_count() > 0 && !work_is_visible()) submission_.enter(/*wait_count=*/0);
}

// Looks for a while, if that paid lately; whether there is work now. A timer that is due ends the look as well: it is
// no work yet, but the sleep that follows sees it.
bool parker::finds_work_awake() noexcept {
  if (!habit_.looks()) return false;
  const clock_ns due = timers_.empty() ? for_ever : timers_.earliest();
  const clock_ns begin = clock_.look();
  const clock_ns end = begin < for_ever - spin_max_ ? begin + spin_max_ : for_ever;
  while (!work_is_visible()) {
    if (!ring_.pause()) return false;
    const clock_ns now = ring_.now();
    if (now >= due) return false;
    if (now >= end) {
      habit_.note(/*paid=*/false);
      return false;
    }
  }
  habit_.note(/*paid=*/true);
  return true;
}

// To the last timer that comes within the slack after the earliest: as few wakes as if each came late by all of the
// slack, and a timer that is alone does not come late at all. Not after now when a timer is due.
clock_ns parker::sleep_until() noexcept {
  if (timers_.empty()) return for_ever;
  const clock_ns now = clock_.look();
  timers_.reach(now);
  const clock_ns earliest = timers_.earliest();
  if (earliest <= now) return earliest;
  return timers_.last_due_by(earliest < for_ever - slack_ ? earliest + slack_ : for_ever);
}

// How long a sleep may last; zero when a timer is due.
clock_ns parker::sleep_max() noexcept {
  const clock_ns until = sleep_until();
  return until == for_ever ? for_ever : std::max<clock_ns>(until - clock_.last_look(), 0);
}

void parker::sleep_in_eventfd() noexcept {
  const clock_ns longest = sleep_max();
  if (longest == 0) return;
  begin_sleep_on_event_fd();
  if (!work_is_visible()) {
    ++parks_;
    ring_.sleep(longest);
  }
  end_sleep_on_event_fd();
  clock_.look();
}

void parker::begin_sleep_on_event_fd() noexcept {
  posted_.begin_sleep();
  if (meets_eventfds_) [[unlikely]]
    ring_.renew_event_fd();
  ring_.notify_completions(true);
  std::atomic_thread_fence(std::memory_order_seq_cst);
}

void parker::end_sleep_on_event_fd() noexcept {
  posted_.end_sleep();
  ring_.notify_completions(false);
  armed_ = false;
}

// A poll of its own descriptor, from a time when it slept in the ring, would signal that descriptor for each wake.
void parker::begin_embedding() noexcept {
  embedded_ = true;
  submission_.submit_cancel(wake_poll_);
}

void parker::end_embedding() noexcept {
  disarm();
  embedded_ = false;
}

bool parker::arm() noexcept {
  begin_sleep_on_event_fd();
  armed_ = !work_is_visible();
  if (armed_) ++parks_;
  else end_sleep_on_event_fd();
  return armed_;
}

// Where it is not armed a signal may be left, of who took `parked` away before and wrote after that: it ends the next
// sleep early, and is taken then.
void parker::disarm() noexcept {
  if (!armed_) return;
  end_sleep_on_event_fd();
  ring_.take_signals();
}

// How many completions end a sleep in the ring: no more than are in flight, beside the poll.
unsigned parker::wait_count() const noexcept {
  if (min_wait_count_ < 2) return 1;
  return std::clamp(submission_.in_kernel_count() - 1, 1U, min_wait_count_);
}

// No fence here: what the kernel completes until it sleeps it sees itself.
void parker::flush_and_sleep_in_ring() noexcept {
  if (wake_poll_.where == completion_handler::place::none) submission_.submit(wake_poll_);
  if (submission_.has_queued()) submission_.flush_and_queue();
  if (spin_max_ > 0) {
    submission_.flush();
    if (work_is_visible() || finds_work_awake()) return;
  }
  const clock_ns longest = sleep_max();
  posted_.begin_sleep();
  const bool sleeps = longest > 0 && wake_poll_.where == completion_handler::place::in_kernel &&
                      !ring_.has_completions() && posted_.empty() && !submission_.has_queued();
  if (sleeps) ++parks_;
  submission_.enter(sleeps ? wait_count() : 0, sleeps ? longest : for_ever);
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
