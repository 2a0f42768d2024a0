// SPDX-License-Identifier: MIT
// The kernel's side of the door: shared memory, one system call to enter, and the eventfd to sleep on.
#include <gyre/runtime/assert.hpp>
#include <gyre/runtime/detail/kernel_ring.hpp>
#include <gyre/runtime/detail/live_executor.hpp>
#include <gyre/runtime/error.hpp>

#include <liburing.h>
#include <linux/futex.h>
#include <poll.h>
#include <sched.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

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
  min_wait_usec_ = request.min_wait_usec;
  may_grow_ = (report_.flags & IORING_SETUP_DEFER_TASKRUN) != 0 && !request.big_entries;
  modes_ = {.sqpoll = (report_.flags & IORING_SETUP_SQPOLL) != 0,
            .iopoll = (report_.flags & IORING_SETUP_IOPOLL) != 0,
            .big = (report_.flags & IORING_SETUP_SQE128) != 0,
            .min_wait = report_.min_wait};
  look_at_queues();
  ask_for_opcodes();
  set_sqes(reinterpret_cast<std::byte*>(ring_->sq.sqes), ring_->sq.ring_entries);
  if (modes_.iopoll) {
    hold_back();
    enter_flags_ |= IORING_ENTER_GETEVENTS;  // nobody else brings completions
  }
}

void kernel_ring::look_at_queues() noexcept {
  sq_tail_told_ = ring_->sq.ktail;
  sq_head_told_ = ring_->sq.khead;
  sq_flags_ = ring_->sq.kflags;
  cqes_ = reinterpret_cast<const completion*>(ring_->cq.cqes);
  cq_entries_ = ring_->cq.ring_entries;
  cq_tail_ = ring_->cq.ktail;
  cq_freed_ = ring_->cq.khead;
  sq_reader_ = modes_.sqpoll ? sq_head_told_ : nullptr;
}

// Where there is no answer all are taken to be there: the kernel then says itself what it has not.
void kernel_ring::ask_for_opcodes() {
  const std::unique_ptr<io_uring_probe, void (*)(io_uring_probe*)> told{io_uring_get_probe_ring(ring_.get()),
                                                                        io_uring_free_probe};
  if (!told) return;
  for (unsigned opcode = 0; opcode <= no_opcode; ++opcode)
    if (io_uring_opcode_supported(told.get(), static_cast<int>(opcode)) == 0) mask(static_cast<std::uint8_t>(opcode));
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
  refuse_child(*this);
  if (modes_.sqpoll) [[unlikely]]
    return enter_beside_poller(wait_count, wait_max);
  const std::uint64_t tail = sq_tail();
  std::atomic_ref{*sq_tail_told_}.store(static_cast<unsigned>(tail), std::memory_order_release);
  // A look for task work that is not there would cost a twentieth of a small enter.
  const bool looks = wait_count > 0 || wants_enter() || expects_task_work_;
  const unsigned flags = looks ? enter_flags_ | IORING_ENTER_GETEVENTS : enter_flags_;
  const unsigned completions_before = ready_completions();
  expects_task_work_ = false;
  const int taken = wait_max == for_ever && wait_count < 2
                        ? io_uring_enter(enter_fd_, unsubmitted_of(tail), wait_count, flags, nullptr)
                        : enter_within(wait_max, unsubmitted_of(tail), wait_count, flags);
  ++enters_count_;

  // Not the return value but the kernel's head tells which were taken: a partly refused submission may report an error.
  // Where it reports a count, that is less than what was given when there was no memory for more.
  const unsigned head = std::atomic_ref{*sq_head_told_}.load(std::memory_order_acquire);
  const unsigned left = static_cast<unsigned>(tail) - head;
  set_taken(tail - left, left);
  if (modes_.iopoll) [[unlikely]]
    hold_back();  // see submission::fit_for_polling()
  if (looks && has_task_work()) [[unlikely]]
    if (wait_count > 1 || ready_completions() == completions_before) end_stale_task_work();
  if (modes_.iopoll) [[unlikely]]
    end_stale_task_work();
  if ((taken >= 0 || taken == -ETIME) && left == 0) [[likely]]
    return 0;
  return taken < 0 ? -taken : EAGAIN;
}

// The poller looks at the tail once more when it has said that it wants to be woken. So, by the two fences, it sees
// what was given to it, or here it is seen to sleep. What it has not read yet keeps its place; where all are kept, the
// kernel says when there is one again.
int kernel_ring::enter_beside_poller(unsigned wait_count, clock_ns wait_max) noexcept {
  const auto tail = static_cast<unsigned>(sq_tail());
  std::atomic_ref{*sq_tail_told_}.store(tail, std::memory_order_release);
  std::atomic_thread_fence(std::memory_order_seq_cst);
  const unsigned told = std::atomic_ref{*sq_flags_}.load(std::memory_order_relaxed);
  const unsigned kept = sq_entries_ - free_sqes();

  unsigned flags = 0;
  if ((told & IORING_SQ_NEED_WAKEUP) != 0) flags |= IORING_ENTER_SQ_WAKEUP;
  if (kept == sq_entries_) flags |= IORING_ENTER_SQ_WAIT;
  if (wait_count > 0 || (told & sq_cq_overflow) != 0) flags |= IORING_ENTER_GETEVENTS;
  int answer = 0;
  if (flags != 0) {
    answer = enter_within(wait_max, kept, wait_count, flags | enter_flags_);
    ++enters_count_;
  }
  set_given();
  return answer >= 0 || answer == -ETIME ? 0 : -answer;
}

// Until the poller has read all that was given to it: it is about to, wherever it runs.
void kernel_ring::wait_for_poller() noexcept {
  while (modes_.sqpoll && free_sqes() < sq_entries_) {
    static_cast<void>(enter_beside_poller(0, for_ever));
    ::sched_yield();
  }
  if (modes_.sqpoll) hold_back();  // that has begun a run of entries, and a drain may be waiting
}

// A wait with a shorter time and no end of its own ends with the shorter time, whether there is a completion or not: so
// it is given an end. (io_cqring_min_timer_wakeup() of io_uring.c; seen on 6.18.)
int kernel_ring::enter_within(clock_ns wait_max, unsigned entries_count, unsigned wait_count, unsigned flags) noexcept {
  constexpr clock_ns an_hour = 3'600'000'000'000;
  const bool has_min_wait = wait_count > 1 && modes_.min_wait;
  __kernel_timespec time = timespec_of(has_min_wait ? std::min(wait_max, an_hour) : wait_max);
  io_uring_getevents_arg arg{};
  if (wait_max != for_ever || has_min_wait) arg.ts = reinterpret_cast<std::uint64_t>(&time);
  if (has_min_wait) arg.min_wait_usec = min_wait_within(wait_max);
  return io_uring_enter2(enter_fd_, entries_count, wait_count, flags | IORING_ENTER_EXT_ARG,
                         reinterpret_cast<sigset_t*>(&arg), sizeof arg);
}

// The kernel looks at how long a wait may last only when the shorter time has passed.
unsigned kernel_ring::min_wait_within(clock_ns wait_max) const noexcept {
  return static_cast<unsigned>(std::clamp<clock_ns>(wait_max / 1'000, 1, min_wait_usec_));
}

// No answer tells more than the queues and their flags do.
void kernel_ring::run_task_work() noexcept {
  const unsigned completions_before = ready_completions();
  enter_for_task_work();
  if (ready_completions() == completions_before) end_stale_task_work();
}

void kernel_ring::enter_for_task_work() noexcept {
  static_cast<void>(io_uring_enter(enter_fd_, 0, 0, enter_flags_ | IORING_ENTER_GETEVENTS, nullptr));
}

void kernel_ring::notify_completions(bool on) noexcept {
  // Relaxed: the order against the look at the queues is the parking protocol's business (parker.hpp).
  std::atomic_ref{*ring_->cq.kflags}.store(on ? 0 : IORING_CQ_EVENTFD_DISABLED, std::memory_order_relaxed);
}

// The descriptor blocks, for sleeps that are a read(2) of it; RWF_NOWAIT asks for this one look not to (Linux 5.8).
int kernel_ring::take_signals() noexcept {
  std::uint64_t signals = 0;
  const iovec into{.iov_base = &signals, .iov_len = sizeof signals};
  constexpr off_t no_offset = -1;
  if (::preadv2(event_fd_.get(), &into, 1, no_offset, RWF_NOWAIT) >= 0) return 0;
  return errno == EAGAIN || errno == EINTR ? 0 : errno;
}

// What the kernel remembers of a signal under way goes with the registration: each of 200 signals came, where without
// this the first did and no other (6.18). The two calls take some 4 us together.
void kernel_ring::renew_event_fd() noexcept {
  static_cast<void>(io_uring_unregister_eventfd(ring_.get()));
  if (const int rc = io_uring_register_eventfd(ring_.get(), event_fd_.get()); rc != 0)
    fatal_errno(-rc, "executor: its eventfd, which belongs to it alone, is not registered with its ring any more");
}

void kernel_ring::sleep(clock_ns longest) noexcept {
  refuse_child(*this);
  const bool ended = longest == for_ever ? wait_for_signal() : sleep_within(epoll_sleep_within(longest));
  if (!ended && errno != EINTR)
    fatal_errno(errno, "executor: it cannot sleep on its eventfd, which belongs to it alone");
}

bool kernel_ring::wait_for_signal() noexcept {
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
  return count > 0 ? wait_for_signal() : count == 0;
}

int kernel_ring::descriptor() const noexcept { return ring_->ring_fd; }

void kernel_ring::wake() noexcept {
  const std::uint64_t one = 1;
  const bool written = ::write(event_fd_.get(), &one, sizeof one) == sizeof one;
  if (!written && errno != EINTR) fatal_errno(errno, "executor: its eventfd, which belongs to it alone, takes no wake");
}

namespace {

// Of all that is on the descriptor, or of one. Returns a count, or a negative errno; does not wait.
int cancel_now(::io_uring& ring, fd_ref fd, unsigned flags) noexcept {
  io_uring_sync_cancel_reg asked{};
  asked.fd = fd.is_direct() ? fd.slot() : fd.get();
  asked.flags = IORING_ASYNC_CANCEL_FD | (fd.is_direct() ? IORING_ASYNC_CANCEL_FD_FIXED : 0U) | flags;
  return io_uring_register_sync_cancel(&ring, &asked);
}

}  // namespace

// All that waits for its descriptor is ended at once, and leaves the kernel's table when its task work has run. What is
// found after that is run by a worker, and answered with -ETIME until it has let go. To wait for that is not left to
// the call: where task work is deferred it sleeps on when the request has long ended (seen on 6.18).
int kernel_ring::cancel_sync(fd_ref fd, std::chrono::nanoseconds timeout) noexcept {
  const clock_ns begin = now();
  wait_for_poller();
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
    else if (one >= 0 && modes_.sqpoll) ::sched_yield();  // it is the poller that finishes it: found before
    else if (one >= 0) ++found;
    else if (one != -EINTR) return one;
  }
}

// Until there is a completion besides those that are there to be taken, or the time is up.
void kernel_ring::wait_for_one_more(clock_ns duration) noexcept {
  // Whatever the answer is, -ETIME or another, the caller looks for itself.
  static_cast<void>(enter_within(duration, 0, ready_completions() + 1, enter_flags_ | IORING_ENTER_GETEVENTS));
  end_stale_task_work();
}

// The flag can be set when all work has run, and nothing clears it until there is some again: an executor would never
// sleep, nor end. Whoever adds work to an empty list, a thread that writes or a worker, sets it after that, and the
// work may have run between the two (6.18, io_uring/io_uring.c, io_req_local_work_add; 12 of 60,000 writes of another
// thread, on two processors). A wait for more than one can leave it set as well (io_run_local_work_continue), and a
// ring that has grown begins with it set. So where an enter that runs work has brought nothing, the flag is cleared.
// Who adds work from here on sets it anew; what was added before is run by the enter that follows.
// On a ring that polls devices that one may run none as long as completions lie unread; but such a ring is entered
// again and again while anything is in flight, whatever the flag says.
void kernel_ring::end_stale_task_work() noexcept {
  if (!has_task_work()) return;
  std::atomic_ref{*ring_->sq.kflags}.fetch_and(~sq_task_work);
  enter_for_task_work();
}

namespace {

// Puts private memory with the same contents where shared memory was.
void make_private(void* shared, std::size_t bytes) noexcept {
  void* const copy = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (copy == MAP_FAILED) fatal_errno(errno, "executor: the child of a fork has no memory for what it inherits");
  std::memcpy(copy, shared, bytes);
  if (::mremap(copy, bytes, bytes, MREMAP_MAYMOVE | MREMAP_FIXED, shared) == MAP_FAILED)
    fatal_errno(errno, "executor: the child of a fork cannot part from what it inherits");
}

}  // namespace

// Entries that the child describes, before it comes by a check, would else lie in the parent's queue.
void kernel_ring::part_from_parent() noexcept {
  ring::part_from_parent();
  make_private(ring_->sq.ring_ptr, ring_->sq.ring_sz);
  if (ring_->cq.ring_ptr != ring_->sq.ring_ptr) make_private(ring_->cq.ring_ptr, ring_->cq.ring_sz);
  make_private(ring_->sq.sqes, entries_size());
}

// futex(2) instead of a request: it cannot block, wakes before the turn has ended, tells the count at once, and costs
// no more (166 ns where nobody waits, 310 ns for one who does).
std::size_t kernel_ring::futex_wake(const std::atomic<std::uint32_t>& word, std::uint32_t count_max,
                                    bool process_private) noexcept {
  if (count_max == 0) return 0;  // futex(2) wakes one
  const int op = process_private ? FUTEX_WAKE_PRIVATE : FUTEX_WAKE;
  const auto count = static_cast<int>(std::min<std::uint32_t>(count_max, INT32_MAX));
  const long woken_count = ::syscall(SYS_futex, &word, op, count, nullptr, nullptr, 0);
  return woken_count < 0 ? 0 : static_cast<std::size_t>(woken_count);  // EFAULT: the memory is gone, and who waited
}

// The kernel copies what is in the old queues, and its numbers go on. io_uring_resize_rings(3) of liburing 2.9 keeps
// the memory of the old entries mapped for ever, so that it is not used here.
bool kernel_ring::grow(unsigned sq_entries, unsigned cq_entries) noexcept {
  if (!may_grow_) return false;
  io_uring_params asked{};
  asked.flags = IORING_SETUP_CQSIZE | IORING_SETUP_CLAMP;
  asked.sq_entries = std::max(sq_entries, sq_entries_);
  asked.cq_entries = std::max(cq_entries, cq_entries_);
  const auto fd = static_cast<unsigned>(ring_->ring_fd);
  may_grow_ = io_uring_register(fd, IORING_REGISTER_RESIZE_RINGS, &asked, 1) == 0;
  if (!may_grow_) return false;

  ::io_uring larger;
  if (const int rc = io_uring_queue_mmap(ring_->ring_fd, &asked, &larger); rc != 0)
    fatal_errno(-rc, "executor: its ring has grown, and there is no memory to map it");
  if (larger.sq.array != nullptr)
    for (unsigned index = 0; index < larger.sq.ring_entries; ++index) larger.sq.array[index] = index;
  ::munmap(ring_->sq.sqes, sq_entries_ * sqe_bytes);
  ::munmap(ring_->sq.ring_ptr, ring_->sq.ring_sz);
  if (ring_->cq.ring_ptr != ring_->sq.ring_ptr) ::munmap(ring_->cq.ring_ptr, ring_->cq.ring_sz);
  ring_->sq = larger.sq;
  ring_->cq = larger.cq;
  look_at_queues();
  move_sqes(reinterpret_cast<std::byte*>(ring_->sq.sqes), ring_->sq.ring_entries);
  if (modes_.iopoll) hold_back();  // see submission::fit_for_polling()
  end_stale_task_work();
  return true;
}

bool kernel_ring::pause() noexcept {
  for (int i = 0; i < 8; ++i) {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    asm volatile("isb");
#endif
  }
  return true;
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
