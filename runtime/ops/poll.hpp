// SPDX-License-Identifier: MIT
// Waiting until a descriptor is ready, for what is then done by other means.
#pragma once

#include <gyre/runtime/fd_ref.hpp>
#include <gyre/runtime/operation.hpp>

#include <poll.h>

#include <cstdint>

namespace gyre::ops {

/// Waits until one of the events holds for a descriptor.
///
/// @param events  POLLIN, POLLOUT, …: poll(2); POLLERR and POLLHUP are always waited for.
/// @return        The events that hold, or'ed.
/// @errors        bad_file_descriptor
/// @cancellation  Safe: nothing changes.
/// @source        io_uring_prep_poll_add(3); poll(2). Linux 5.1.
class [[nodiscard]] poll final : public operation_of<poll, std::uint32_t> {
 public:
  poll(fd_ref fd, std::uint32_t events) noexcept : operation_of{opcode}, fd_{fd}, events_{events} {}

 private:
  friend operation_of;
  static const operation_kind opcode;
  static void prepare(operation& self, io_uring_sqe& sqe) noexcept;
  fd_ref fd_;
  std::uint32_t events_;
};

}  // namespace gyre::ops
