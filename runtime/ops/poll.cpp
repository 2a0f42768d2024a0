// SPDX-License-Identifier: MIT
// How waiting for readiness is described to the kernel.
#include <gyre/runtime/ops/poll.hpp>

#include <liburing.h>

namespace gyre::ops {

void poll::prepare(operation& self, io_uring_sqe& sqe) noexcept {  // io_uring_prep_poll_add(3)
  auto& op = static_cast<poll&>(self);
  gyre::detail::may_wait_for_eventfd();
  io_uring_prep_poll_add(&sqe, op.fd_.in(sqe), op.events_);
}
constinit const operation_kind poll::opcode{"poll", &poll::prepare, runs_in::ring, &describe_fd<&poll::fd_>};

}  // namespace gyre::ops
