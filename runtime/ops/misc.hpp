// SPDX-License-Identifier: MIT
// Operations about no file at all.
#pragma once

#include <gyre/runtime/fd_ref.hpp>
#include <gyre/runtime/operation.hpp>

#include <cstdint>
#include <optional>

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

/// What a nop has the kernel do on its way.
struct nop_options {
  std::int32_t result = 0;  ///< What the kernel answers: a negative one is an error, -errno. Linux 6.10.
  std::optional<fd_ref> file = std::nullopt;      ///< A descriptor that it looks up, plain or direct. Linux 6.13.
  std::optional<unsigned> buffer = std::nullopt;  ///< The index of a registered buffer that it looks up. Linux 6.13.
  bool by_task_work = false;  ///< Completes when the executor fetches completions, not at once. Linux 6.17.
};

/// Does nothing, in the way that is asked for: so that a test or a benchmark sees an error, or the cost of a look-up.
///
/// @return        The result that was asked for.
/// @errors        what the options say
///                bad_file_descriptor   the file is not open
///                bad_address           there is no such buffer
///                invalid_argument      a kernel before the option
/// @cancellation  As for nop.
/// @limits        IORING_NOP_CQE32 is left out: executors have completions of 16 bytes.
/// @source        io_uring_prep_nop(3), IORING_NOP_INJECT_RESULT. Linux 6.10.
class [[nodiscard]] nop_with final : public operation_of<nop_with, int> {
 public:
  explicit nop_with(const nop_options& options) noexcept : operation_of{opcode}, options_{options} {}

 private:
  friend operation_of;
  static const operation_kind opcode;
  static void prepare(operation& self, io_uring_sqe& sqe) noexcept;
  nop_options options_;
};

}  // namespace gyre::ops
