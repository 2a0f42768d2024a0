// SPDX-License-Identifier: MIT
// The kernel's side of the door: shared memory, one system call to enter, and the eventfd to sleep on.
#include <gyre/runtime/assert.hpp>
#include <gyre/runtime/detail/kernel_ring.hpp>

#include <liburing.h>
#include <sys/eventfd.h>
#include <time.h>

#include <algorithm>
#include <cerrno>

namespace gyre::detail {

static_assert(sizeof(completion) == sizeof(io_uring_cqe));

kernel_ring::kernel_ring(const ring_request& request)
    : ring_{std::make_unique<::io_uring>()}, report_{set_up_ring(*ring_, request)} {
  static_assert(sq_task_work == IORING_SQ_TASKRUN && sq_cq_overflow == IORING_SQ_CQ_OVERFLOW);
  static_assert(sqe_bytes == sizeof(io_uring_sqe) && user_data_offset == offsetof(io_uring_sqe, user_data));

  event_fd_.reset(::eventfd(0, EFD_CLOEXEC));
  int error = event_fd_ ? 0 : errno;
  if (error == 0 && request.completions_signal_eventfd)
    error = -io_uring_register_eventfd(ring_.get(), event_fd_.get());
  if (error != 0) {
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

int kernel_ring::enter(unsigned wait_count) noexcept {
  const std::uint64_t tail = sq_tail();
  std::atomic_ref{*sq_tail_told_}.store(static_cast<unsigned>(tail), std::memory_order_release);
  // A look for task work that is not there would cost a twentieth of a small enter.
  const unsigned flags = wait_count > 0 || wants_enter() ? enter_flags_ | IORING_ENTER_GETEVENTS : enter_flags_;
  const int taken = io_uring_enter(enter_fd_, unsubmitted_of(tail), wait_count, flags, nullptr);

  // Not the return value but the kernel's head tells which were taken: a partly refused submission may report an error.
  // Where it reports a count, that is less than what was given when there was no memory for more.
  const unsigned head = std::atomic_ref{*sq_head_told_}.load(std::memory_order_acquire);
  const unsigned left = static_cast<unsigned>(tail) - head;
  set_taken(tail - left, left);
  if (taken >= 0 && left == 0) [[likely]]
    return 0;
  return taken < 0 ? -taken : EAGAIN;
}

void kernel_ring::notify_completions(bool on) noexcept {
  // Relaxed: the order against the look at the queues is the parking protocol's business (parker.hpp).
  std::atomic_ref{*ring_->cq.kflags}.store(on ? 0 : IORING_CQ_EVENTFD_DISABLED, std::memory_order_relaxed);
}

void kernel_ring::sleep() noexcept {
  std::uint64_t signals = 0;
  const auto count = ::read(event_fd_.get(), &signals, sizeof signals);
  GYRE_ASSERT(count == sizeof signals || errno == EINTR, "the executor's eventfd belongs to it alone");
}

void kernel_ring::wake() noexcept {
  const std::uint64_t one = 1;
  const auto count = ::write(event_fd_.get(), &one, sizeof one);
  GYRE_ASSERT(count == sizeof one || errno == EINTR, "the executor's eventfd belongs to it alone");
}

clock_ns kernel_ring::now() const noexcept {
  timespec time{};
  ::clock_gettime(CLOCK_MONOTONIC, &time);
  return time.tv_sec * clock_ns{1'000'000'000} + time.tv_nsec;
}

}  // namespace gyre::detail
