// SPDX-License-Identifier: MIT
// How the operations about no file are described to the kernel.
#include <gyre/runtime/ops/misc.hpp>

#include <liburing.h>

#include <algorithm>

namespace gyre::ops {
namespace {

// io_uring.h, IORING_NOP_*, of which liburing 2.9 has the first.
constexpr std::uint32_t nop_inject_result = IORING_NOP_INJECT_RESULT;
constexpr std::uint32_t nop_file = 1U << 1;
constexpr std::uint32_t nop_fixed_file = 1U << 2;
constexpr std::uint32_t nop_fixed_buffer = 1U << 3;
constexpr std::uint32_t nop_task_work = 1U << 4;

}  // namespace

static_assert(IORING_OP_NOP == 0);  // so that what io_uring_prep_nop(3) would write is there
constinit const operation_kind nop::opcode{"nop", &nop::prepare, runs_in::ring};

// A direct file is marked here by a flag of its own, and the entry not: the kernel looks it up only when it runs.
void nop_with::prepare(operation& self, io_uring_sqe& sqe) noexcept {  // io_uring_prep_nop(3)
  const nop_options& wanted = static_cast<nop_with&>(self).options_;
  io_uring_prep_nop(&sqe);
  if (wanted.result != 0) {
    sqe.len = static_cast<std::uint32_t>(wanted.result);
    sqe.nop_flags |= nop_inject_result;
  }
  if (wanted.file) {
    sqe.fd = wanted.file->is_direct() ? wanted.file->slot() : wanted.file->get();
    sqe.nop_flags |= wanted.file->is_direct() ? nop_file | nop_fixed_file : nop_file;
  }
  if (wanted.buffer) {
    sqe.buf_index = static_cast<std::uint16_t>(std::min(*wanted.buffer, 0xffffU));  // the kernel has fewer
    sqe.nop_flags |= nop_fixed_buffer;
  }
  if (wanted.by_task_work) sqe.nop_flags |= nop_task_work;
}
constinit const operation_kind nop_with::opcode{"nop_with", &nop_with::prepare, runs_in::ring};

}  // namespace gyre::ops
