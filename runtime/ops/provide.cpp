// SPDX-License-Identifier: MIT
// How buffers are given to the kernel by requests, and taken back.
#include <gyre/runtime/ops/provide.hpp>

#include <liburing.h>

#include <algorithm>
#include <climits>

namespace gyre::ops {
namespace {

// A number for the kernel to judge: what does not fit is as wrong as the largest that does.
int as_int(std::size_t number) noexcept { return static_cast<int>(std::min<std::size_t>(number, INT_MAX)); }

}  // namespace

void provide_buffers::prepare(operation& self, io_uring_sqe& sqe) noexcept {  // io_uring_prep_provide_buffers(3)
  auto& op = static_cast<provide_buffers&>(self);
  const std::size_t count = op.buffer_bytes_ > 0 ? op.memory_.size() / op.buffer_bytes_ : 0;
  io_uring_prep_provide_buffers(&sqe, op.memory_.data(), as_int(op.buffer_bytes_), as_int(count), op.group_,
                                op.first_id_);
}
constinit const operation_kind provide_buffers::opcode{"provide_buffers", &provide_buffers::prepare, runs_in::ring};

void remove_buffers::prepare(operation& self, io_uring_sqe& sqe) noexcept {  // io_uring_prep_remove_buffers(3)
  auto& op = static_cast<remove_buffers&>(self);
  io_uring_prep_remove_buffers(&sqe, as_int(op.count_max_), op.group_);
}
constinit const operation_kind remove_buffers::opcode{"remove_buffers", &remove_buffers::prepare, runs_in::ring};

}  // namespace gyre::ops
