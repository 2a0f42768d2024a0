// SPDX-License-Identifier: MIT
// Spans of time as the kernel reads them, and what becomes of them when it does not.
#include <gyre/runtime/detail/kernel_times.hpp>
#include <gyre/runtime/operation.hpp>

#include <liburing.h>

#include <cstring>

namespace gyre::detail {
namespace {

static_assert(sizeof(kernel_span) == sizeof(__kernel_timespec));

void ignore(completion_handler&, std::int32_t, std::uint32_t) noexcept {}

void prepare_timeout(completion_handler& self, io_uring_sqe& sqe) noexcept {
  auto& described = static_cast<kernel_timeout&>(self);
  described.count_from_now();
  io_uring_prep_timeout(&sqe, described.span.as_timespec(), 0, 0);
}

}  // namespace

kernel_timeout::kernel_timeout(coarse_clock& its_clock) noexcept
    : completion_handler{&ignore, &prepare_timeout}, clock{its_clock} {}

void kernel_timeout::describe_move(io_uring_sqe& sqe) noexcept {
  count_from_now();
  io_uring_prep_timeout_update(&sqe, span.as_timespec(), tagged(*this), 0);
  sqe.flags |= IOSQE_CQE_SKIP_SUCCESS;  // -ENOENT: it has just fired, and the next turn arms it anew
}

kernel_times::kernel_times(ring& its_ring, coarse_clock& its_clock, timer_heap& its_timers)
    : ring_{its_ring},
      clock_{its_clock},
      timers_{its_timers},
      linked_{std::make_unique<kernel_span[]>(its_ring.sq_entries())},
      timeout_{its_clock} {}

// That of the operation whose linked timeout is at `position`.
timer& kernel_times::deadline_before(std::uint64_t position) const noexcept {
  return *reinterpret_cast<const operation*>(ring_.sqe_at(position - 1).user_data)->deadline_;
}

// The kernel can take an operation as the last that it has memory for. It would refuse the linked timeout behind it,
// which then stands alone, and tell nobody. So the executor's own timers keep that deadline. The operation is still
// there: no completion was taken since.
void kernel_times::keep_lost_deadline() noexcept {
  const std::uint64_t first_left = ring_.sq_head();
  io_uring_sqe& sqe = ring_.sqe_at(first_left);
  if (sqe.opcode != IORING_OP_LINK_TIMEOUT) return;
  timer& deadline = deadline_before(first_left);
  timers_.arm(deadline, deadline.due());
  std::memset(&sqe, 0, sizeof sqe);
  io_uring_prep_nop(&sqe);
  sqe.flags |= IOSQE_CQE_SKIP_SUCCESS;
  sqe.user_data = nobody;  // as it was, and as it is counted
}

void kernel_times::set_anew() noexcept {
  timeout_.count_from_now();
  for (std::uint64_t position = ring_.sq_head() + 1; position != ring_.sq_tail(); ++position) {
    if (ring_.sqe_at(position).opcode != IORING_OP_LINK_TIMEOUT) continue;
    set_linked(ring_.index_of(position), deadline_before(position).due());
  }
}

}  // namespace gyre::detail
