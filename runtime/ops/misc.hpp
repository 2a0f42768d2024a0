// SPDX-License-Identifier: MIT
// Operations about no file at all.
#pragma once

#include <gyre/runtime/operation.hpp>

namespace gyre::ops {

/// Does nothing, by way of the kernel: a turn of the ring, for tests, benchmarks, and fairness.
///
/// @cancellation  Safe; it always completes at once, so a cancel finds it done.
/// @source        io_uring_prep_nop(3). Linux 5.1.
class [[nodiscard]] nop final : public operation_of<nop, void> {
 public:
  nop() noexcept : operation_of{opcode} {}

 private:
  friend operation_of;
  static const operation_kind opcode;
  static void prepare(operation&, io_uring_sqe&) noexcept {}  // an entry that is zero asks for nothing
};

}  // namespace gyre::ops
