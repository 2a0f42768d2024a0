// SPDX-License-Identifier: MIT
// Whether the kernel that a test runs on has an opcode, for those that are younger than what gyre needs.
#pragma once

#include "skip.hpp"

#include <liburing.h>

#include <string>

namespace gyre::test {

/// Says so where it has not, and the case returns, or goes on with the others.
inline bool kernel_has(int opcode, const char* name, without_it otherwise = without_it::skipped) {
  io_uring_probe* const probe = io_uring_get_probe();
  const bool has_it = probe != nullptr && io_uring_opcode_supported(probe, opcode) != 0;
  io_uring_free_probe(probe);
  if (!has_it) say_missing(otherwise, std::string{"this kernel has no "} + name);
  return has_it;
}

// Opcodes that liburing 2.9 lacks: io_uring.h.
inline constexpr int op_epoll_wait = 59;  // IORING_OP_EPOLL_WAIT
inline constexpr int op_pipe = 62;        // IORING_OP_PIPE

}  // namespace gyre::test
