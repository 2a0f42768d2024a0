// SPDX-License-Identifier: MIT
// How a cancel is described to the kernel.
#include <gyre/runtime/executor.hpp>
#include <gyre/runtime/ops/cancel.hpp>

#include <liburing.h>

#include <cerrno>

namespace gyre::ops {
namespace {

unsigned flags_of(how_many which) noexcept { return which == how_many::all ? IORING_ASYNC_CANCEL_ALL : 0U; }

// Where one is asked for the kernel says 0 when it was found, and -EALREADY when a worker runs it, which it counts
// where all are asked for.
std::int32_t count_from(std::int32_t res, how_many which) noexcept {
  if (res == -ENOENT) return 0;
  const bool is_found = res == 0 || res == -EALREADY;
  return is_found && which == how_many::one ? 1 : res;
}

}  // namespace

void cancel_fd::take_count() noexcept { set_res(count_from(res(), which_)); }
void cancel_fd::prepare(operation& self, io_uring_sqe& sqe) noexcept {  // io_uring_prep_cancel_fd(3)
  auto& op = static_cast<cancel_fd&>(self);
  io_uring_prep_cancel_fd(&sqe, op.fd_.in(sqe), flags_of(op.which_));
  op.loop().count_cancel();
}
constinit const operation_kind cancel_fd::opcode{"cancel_fd", &cancel_fd::prepare, runs_in::ring,
                                                 &describe_fd<&cancel_fd::fd_>};

void cancel_opcode::take_count() noexcept { set_res(count_from(res(), which_)); }
void cancel_opcode::prepare(operation& self, io_uring_sqe& sqe) noexcept {  // io_uring_prep_cancel(3)
  auto& op = static_cast<cancel_opcode&>(self);
  const unsigned of_fd = op.by_fd_ ? IORING_ASYNC_CANCEL_FD : 0U;
  io_uring_prep_cancel64(&sqe, 0, static_cast<int>(flags_of(op.which_) | of_fd | IORING_ASYNC_CANCEL_OP));
  sqe.fd = op.fd_.in(sqe);
  sqe.len = op.opcode_number_;
  op.loop().count_cancel();
}
constinit const operation_kind cancel_opcode::opcode{"cancel_opcode", &cancel_opcode::prepare, runs_in::ring};

void cancel_any::take_count() noexcept { set_res(count_from(res(), how_many::all)); }
void cancel_any::prepare(operation& self, io_uring_sqe& sqe) noexcept {  // io_uring_prep_cancel(3): ANY means all
  auto& op = static_cast<cancel_any&>(self);
  io_uring_prep_cancel64(&sqe, 0, IORING_ASYNC_CANCEL_ANY);
  op.loop().count_cancel();
}
constinit const operation_kind cancel_any::opcode{"cancel_any", &cancel_any::prepare, runs_in::ring};

void cancel_operation::take_found() noexcept {
  if (res() == -ENOENT) set_res(0);
  else if (res() == 0) set_res(1);
}
void cancel_operation::prepare(operation& self, io_uring_sqe& sqe) noexcept {  // io_uring_prep_cancel(3)
  auto& op = static_cast<cancel_operation&>(self);
  io_uring_prep_cancel64(&sqe, op.user_data_, 0);
  op.loop().count_cancel();
}
constinit const operation_kind cancel_operation::opcode{"cancel_operation", &cancel_operation::prepare, runs_in::ring};

}  // namespace gyre::ops
