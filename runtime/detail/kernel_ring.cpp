// SPDX-License-Identifier: MIT
// The kernel's side of the door: shared memory, one system call to enter, and the eventfd to sleep on.
#include <gyre/runtime/assert.hpp>
#include <gyre/runtime/detail/kernel_ring.hpp>
#include <gyre/runtime/error.hpp>

#include <liburing.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <time.h>

#include <algorithm>
#include <cerrno>

namespace gyre::detail {

static_assert(sizeof(completion) == sizeof(io_uring_cqe));

namespace {

__kernel_timespec timespec_of(clock_ns duration) noexcept {
  constexpr clock_ns second = 1'000'000'000;
  constexpr clock_ns longest = 365 * 86'400 * second;  // the kernel adds the time that it is, and would overflow
  const clock_ns counted = std::min(duration, longest);
  return {.tv_sec = counted / second, .tv_nsec = counted % second};
}

clock_ns read_clock(clockid_t clock) noexcept {
  timespec time{};
  ::clock_gettime(clock, &time);
  return time.tv_sec * clock_ns{1'000'000'000} + time.tv_nsec;
}

}  // namespace

kernel_ring::kernel_ring(const ring_request& request)
    : ring_{std::make_unique<::io_uring>()}, report_{set_up_ring(*ring_, request)} {
  static_assert(sq_task_work == IORING_SQ_TASKRUN && sq_cq_overflow == IORING_SQ_CQ_OVERFLOW);
  static_assert(sqe_bytes == sizeof(io_uring_sqe) && user_data_offset == offsetof(io_uring_sqe, user_data));

  if (const int error = make_event_fd(request.completions_signal_eventfd); error != 0) {
    io_uring_queue_exit(ring_.get());
    throw setup_error{error, diagnose_eventfd(error, read_machine_facts())};
  }
  notify_completions(false);

  enter_flags_ = report_.enter_flags | (report_.ring_registered ? IORING_ENTER_REGISTERED_RING : 0);
  enter_fd_ = static_cast<unsigned>(ring_->enter_ring_fd);
  sq_tail_told_ = ring_->sq.ktail;
  sq_head_told_ = ring_->sq.khead;
  set_sqes(reinterpret_cast<std::byte*>(ring_->sq.sqes), ring_->sq.ring_entries);
  sq_flags_ = ring_->sq.kflags;
  cqes_ = reinterpret_cast<const completion*>(ring_->cq.cqes);
  cq_entries_ = ring_->cq.ring_entries;
  cq_tail_ = ring_->cq.ktail;
  cq_freed_ = ring_->cq.khead;
}

kernel_ring::~kernel_ring() { io_uring_queue_exit(ring_.get()); }

// Returns 0, or what the machine says against it. Who sleeps in the ring needs the descriptor only. The epoll set is
// edge-triggered: a signal ends a sleep without being read, and one that nobody has read does not end the next. There
// is none where epoll_pwait2(2) is not to be had: valgrind 3.19 does not know it, nor do old filters of sandboxes.
int kernel_ring::make_event_fd(bool completions_signal_it) noexcept {
  event_fd_.reset(::eventfd(0, EFD_CLOEXEC));
  if (!event_fd_) return errno;
  if (!completions_signal_it) return 0;
  prompt_sleeps_.emplace();
  if (const int rc = io_uring_register_eventfd(ring_.get(), event_fd_.get()); rc != 0) return -rc;

  event_poll_.reset(::epoll_create1(EPOLL_CLOEXEC));
  epoll_event signalled{.events = EPOLLIN | EPOLLET, .data = {}};
  if (!event_poll_ || ::epoll_ctl(event_poll_.get(), EPOLL_CTL_ADD, event_fd_.get(), &signalled) != 0) return errno;
  const timespec no_time{};
  if (::epoll_pwait2(event_poll_.get(), &signalled, 1, &no_time, nullptr) < 0) event_poll_.reset();
  return 0;
}

int kernel_ring::enter(unsigned wait_count, clock_ns wait_max) noexcept {
  const std::uint64_t tail = sq_tail();
  std::atomic_ref{*sq_tail_told_}.store(static_cast<unsigned>(tail), std::memory_order_release);
  // A look for task work that is not there would cost a twentieth of a small enter.
  const unsigned flags = wait_count > 0 || wants_enter() ? enter_flags_ | IORING_ENTER_GETEVENTS : enter_flags_;
  const int taken = wait_max == for_ever ? io_uring_enter(enter_fd_, unsubmitted_of(tail), wait_count, flags, nullptr)
                                         : enter_within(wait_max, unsubmitted_of(tail), wait_count, flags);

  // Not the return value but the kernel's head tells which were taken: a partly refused submission may report an error.
  // Where it reports a count, that is less than what was given when there was no memory for more.
  const unsigned head = std::atomic_ref{*sq_head_told_}.load(std::memory_order_acquire);
  const unsigned left = static_cast<unsigned>(tail) - head;
  set_taken(tail - left, left);
  if ((taken >= 0 || taken == -ETIME) && left == 0) [[likely]]
    return 0;
  return taken < 0 ? -taken : EAGAIN;
}

int kernel_ring::enter_within(clock_ns wait_max, unsigned entries_count, unsigned wait_count, unsigned flags) noexcept {
  __kernel_timespec time = timespec_of(wait_max);
  io_uring_getevents_arg arg{};
  arg.ts = reinterpret_cast<std::uint64_t>(&time);
  return io_uring_enter2(enter_fd_, entries_count, wait_count, flags | IORING_ENTER_EXT_ARG,
                         reinterpret_cast<sigset_t*>(&arg), sizeof arg);
}

// No answer tells more than the queues and their flags do.
void kernel_ring::run_task_work() noexcept {
  static_cast<void>(io_uring_enter(enter_fd_, 0, 0, enter_flags_ | IORING_ENTER_GETEVENTS, nullptr));
}

void kernel_ring::notify_completions(bool on) noexcept {
  // Relaxed: the order against the look at the queues is the parking protocol's business (parker.hpp).
  std::atomic_ref{*ring_->cq.kflags}.store(on ? 0 : IORING_CQ_EVENTFD_DISABLED, std::memory_order_relaxed);
}

void kernel_ring::sleep(clock_ns longest) noexcept {
  const bool ended = longest == for_ever ? take_signal() : sleep_within(epoll_sleep_within(longest));
  if (!ended && errno != EINTR)
    fatal_errno(errno, "executor: it cannot sleep on its eventfd, which belongs to it alone");
}

bool kernel_ring::take_signal() noexcept {
  std::uint64_t signals = 0;
  return ::read(event_fd_.get(), &signals, sizeof signals) == sizeof signals;
}

bool kernel_ring::sleep_within(clock_ns longest) noexcept {
  const __kernel_timespec span = timespec_of(longest);
  const timespec time{.tv_sec = span.tv_sec, .tv_nsec = span.tv_nsec};
  epoll_event signalled{};
  if (event_poll_) return ::epoll_pwait2(event_poll_.get(), &signalled, 1, &time, nullptr) >= 0;
  pollfd waited_for{.fd = event_fd_.get(), .events = POLLIN, .revents = 0};
  const int count = ::ppoll(&waited_for, 1, &time, nullptr);
  return count > 0 ? take_signal() : count == 0;
}

void kernel_ring::wake() noexcept {
  const std::uint64_t one = 1;
  const bool written = ::write(event_fd_.get(), &one, sizeof one) == sizeof one;
  if (!written && errno != EINTR) fatal_errno(errno, "executor: its eventfd, which belongs to it alone, takes no wake");
}

namespace {

// Of all that is on the descriptor, or of one. Returns a count, or a negative errno; does not wait.
int cancel_now(::io_uring& ring, int fd, unsigned flags) noexcept {
  io_uring_sync_cancel_reg asked{};
  asked.fd = fd;
  asked.flags = IORING_ASYNC_CANCEL_FD | flags;
  return io_uring_register_sync_cancel(&ring, &asked);
}

}  // namespace

// All that waits for its descriptor is ended at once, and leaves the kernel's table when its task work has run. What is
// found after that is run by a worker, and answered with -ETIME until it has let go. To wait for that is not left to
// the call: where task work is deferred it sleeps on when the request has long ended (seen on 6.18).
int kernel_ring::cancel_sync(int fd, std::chrono::nanoseconds timeout) noexcept {
  const clock_ns begin = now();
  int found = cancel_now(*ring_, fd, IORING_ASYNC_CANCEL_ALL);
  if (found < 0) return found == -ENOENT ? 0 : found;
  for (;;) {
    do {
      run_task_work();
    } while (has_task_work());
    const int one = cancel_now(*ring_, fd, 0);
    if (one == -ENOENT) return found;
    const bool runs_on = one == -ETIME || one == -EALREADY;
    const clock_ns left = timeout.count() - (now() - begin);
    if (runs_on && left <= 0) return -ETIME;
    if (runs_on) wait_for_one_more(left);
    else if (one >= 0) ++found;
    else if (one != -EINTR) return one;
  }
}

// Until there is a completion besides those that are there to be taken, or the time is up.
void kernel_ring::wait_for_one_more(clock_ns duration) noexcept {
  // Whatever the answer is, -ETIME or another, the caller looks for itself.
  static_cast<void>(enter_within(duration, 0, ready_completions() + 1, enter_flags_ | IORING_ENTER_GETEVENTS));
  // A wait for more than one can leave the flag set when it has run all that there was (6.18, io_uring/io_uring.c,
  // io_run_local_work_continue), and an executor would never sleep again. Who adds work from here on sets it anew; what
  // was added before is run by the enter that follows.
  std::atomic_ref{*ring_->sq.kflags}.fetch_and(~sq_task_work);
  run_task_work();
}

clock_ns kernel_ring::now() const noexcept { return read_clock(CLOCK_MONOTONIC); }

clock_ns kernel_ring::now_on(clock_id clock) const noexcept {
  switch (clock) {
    case clock_id::boot:
      return read_clock(CLOCK_BOOTTIME);
    case clock_id::system:
      return read_clock(CLOCK_REALTIME);
    case clock_id::steady:
      break;
  }
  return now();
}

}  // namespace gyre::detail
