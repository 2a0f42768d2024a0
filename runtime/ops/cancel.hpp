// SPDX-License-Identifier: MIT
// Asking the kernel to end what is in flight on a descriptor. To stop tasks, cancel their scope instead.
#pragma once

#include <gyre/runtime/fd_ref.hpp>
#include <gyre/runtime/operation.hpp>

#include <cstddef>

namespace gyre::ops {

/// Ends everything that this executor has in flight on a descriptor: each of those ends with operation_canceled, or
/// with the result that it already had. For closing: closing a descriptor by itself ends nothing.
///
/// @return        How many were found; 0 when there was nothing.
/// @limits        Walks all that is armed on the ring, and once more for each that it finds: some 0.3 ms where 20,000
///                are armed and none is found, 2 ms for 1000 on one descriptor, a second for 9000.
/// @cancellation  Safe.
/// @source        io_uring_prep_cancel_fd(3), IORING_ASYNC_CANCEL_ALL. Linux 5.19.
class [[nodiscard]] cancel_fd final : public operation_of<cancel_fd, std::size_t> {
 public:
  explicit cancel_fd(fd_ref fd) noexcept : operation_of{opcode}, fd_{fd} {}

  std::size_t await_resume() {
    take_none_found();
    return operation_of::await_resume();
  }
  [[nodiscard]] result<std::size_t> await_result() {
    take_none_found();
    return operation_of::await_result();
  }

 private:
  friend operation_of;
  static const operation_kind opcode;
  static void prepare(operation& self, io_uring_sqe& sqe) noexcept;
  void take_none_found() noexcept;  // which the kernel calls an error
  fd_ref fd_;
};

}  // namespace gyre::ops
