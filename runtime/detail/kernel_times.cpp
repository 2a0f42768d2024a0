// SPDX-License-Identifier: MIT
// Times as the kernel reads them, and what becomes of them when it does not.
#include <gyre/runtime/detail/kernel_times.hpp>
#include <gyre/runtime/operation.hpp>

#include <liburing.h>

#include <cstring>
#include <new>
#include <utility>

namespace gyre::detail {

static_assert(sizeof(kernel_span) == sizeof(__kernel_timespec));

unsigned timeout_flags_of(clock_id clock) noexcept {
  switch (clock) {
    case clock_id::boot:
      return IORING_TIMEOUT_BOOTTIME;
    case clock_id::system:
      return IORING_TIMEOUT_REALTIME | IORING_TIMEOUT_ABS;
    case clock_id::steady:
      break;
  }
  return 0;
}

// io_uring/timeout.c, io_timeout_remove_prep(): -EINVAL for a move that names a clock.
unsigned move_flags_of(clock_id clock) noexcept { return timeout_flags_of(clock) & IORING_TIMEOUT_ABS; }

kernel_times::kernel_times(ring& its_ring, coarse_clock& its_clock)
    : ring_{its_ring}, clock_{its_clock}, told_{std::make_unique<told_time[]>(its_ring.sq_entries())} {}

bool kernel_times::has_room_for(unsigned sq_entries) noexcept {
  std::unique_ptr<told_time[]> more{new (std::nothrow) told_time[sq_entries]};
  if (!more) return false;
  told_ = std::move(more);
  return true;
}

kernel_span kernel_times::span_until(point_in_time when) noexcept {
  switch (when.clock()) {
    case clock_id::boot:
      return kernel_span::between(ring_.now_on(clock_id::boot), when.at());
    case clock_id::system:
      return kernel_span::between(0, when.at());  // the point itself: none before 1970, which the kernel would refuse
    case clock_id::steady:
      break;
  }
  return kernel_span::between(clock_.look(), when.at());
}

kernel_span& kernel_times::set(std::size_t index, point_in_time when) noexcept {
  told_time& told = told_[index];
  told.when = when;
  return told.span = span_until(when);
}

// The kernel can take an operation as the last that it has memory for. It would refuse the linked timeout behind it,
// which then stands alone, and tell nobody. The operation is still there: no completion was taken since.
operation* kernel_times::take_out_lost_link() noexcept {
  const std::uint64_t first_left = ring_.sq_head();
  io_uring_sqe& sqe = ring_.sqe_at(first_left);
  if (sqe.opcode != IORING_OP_LINK_TIMEOUT) return nullptr;
  std::memset(&sqe, 0, sizeof sqe);
  io_uring_prep_nop(&sqe);
  sqe.flags |= IOSQE_CQE_SKIP_SUCCESS;
  sqe.user_data = nobody;
  return reinterpret_cast<operation*>(ring_.sqe_at(first_left - 1).user_data);
}

// Those that told of a time from here are known by where they point to.
void kernel_times::set_anew() noexcept {
  for (std::uint64_t position = ring_.sq_head(); position != ring_.sq_tail(); ++position) {
    const io_uring_sqe& sqe = ring_.sqe_at(position);
    told_time& told = told_[ring_.index_of(position)];
    const auto address = reinterpret_cast<std::uint64_t>(&told.span);
    const bool is_timeout = sqe.opcode == IORING_OP_LINK_TIMEOUT || sqe.opcode == IORING_OP_TIMEOUT;
    const bool is_move = sqe.opcode == IORING_OP_TIMEOUT_REMOVE;
    if ((is_timeout && sqe.addr == address) || (is_move && sqe.addr2 == address)) told.span = span_until(told.when);
  }
}

}  // namespace gyre::detail
