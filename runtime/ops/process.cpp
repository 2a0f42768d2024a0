// SPDX-License-Identifier: MIT
// How waiting for child processes is described to the kernel.
#include <gyre/runtime/ops/process.hpp>

#include <liburing.h>

namespace gyre::ops {

void waitid::prepare(operation& self, io_uring_sqe& sqe) noexcept {  // io_uring_prep_waitid(3)
  auto& op = static_cast<waitid&>(self);
  io_uring_prep_waitid(&sqe, op.which_, op.id_, &op.told_, op.options_, 0);
  op.require_opcode(sqe);
}
process_change waitid::value() const noexcept {
  if (told_.si_signo != SIGCHLD) return {};  // WNOHANG, and nothing: the rest says nothing
  return {.process = told_.si_pid,
          .user = told_.si_uid,
          .event = static_cast<process_event>(told_.si_code),
          .status = told_.si_status};
}
constinit const operation_kind waitid::opcode{"waitid", &waitid::prepare, runs_in::ring, nullptr, nullptr, "6.7"};

}  // namespace gyre::ops
