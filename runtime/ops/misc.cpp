// SPDX-License-Identifier: MIT
// How the operations about no file are described to the kernel.
#include <gyre/runtime/ops/misc.hpp>

#include <liburing.h>

namespace gyre::ops {

void nop::prepare(operation&, io_uring_sqe& sqe) noexcept {  // io_uring_prep_nop(3)
  io_uring_prep_nop(&sqe);
}
constinit const operation_kind nop::opcode{"nop", &nop::prepare, runs_in::ring};

}  // namespace gyre::ops
