// SPDX-License-Identifier: MIT
// How a cancel is described to the kernel.
#include <gyre/runtime/executor.hpp>
#include <gyre/runtime/ops/cancel.hpp>

#include <liburing.h>

#include <cerrno>

namespace gyre::ops {

void cancel_fd::take_none_found() noexcept {
  if (res() == -ENOENT) set_res(0);
}

void cancel_fd::prepare(operation& self, io_uring_sqe& sqe) noexcept {  // io_uring_prep_cancel_fd(3)
  auto& op = static_cast<cancel_fd&>(self);
  io_uring_prep_cancel_fd(&sqe, op.fd_.in(sqe), IORING_ASYNC_CANCEL_ALL);
  op.loop().count_cancel();
}
constinit const operation_kind cancel_fd::opcode{"cancel_fd", &cancel_fd::prepare, runs_in::ring,
                                                 &describe_fd<&cancel_fd::fd_>};

}  // namespace gyre::ops
