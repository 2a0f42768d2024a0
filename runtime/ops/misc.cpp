// SPDX-License-Identifier: MIT
// How the operations about no file are described to the kernel.
#include <gyre/runtime/ops/misc.hpp>

#include <liburing.h>

namespace gyre::ops {

static_assert(IORING_OP_NOP == 0);  // so that what io_uring_prep_nop(3) would write is there
constinit const operation_kind nop::opcode{"nop", &nop::prepare, runs_in::ring};

}  // namespace gyre::ops
