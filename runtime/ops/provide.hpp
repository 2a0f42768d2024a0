// SPDX-License-Identifier: MIT
// Buffers given to the kernel one request at a time: the older way, for those who talk to it by hand.
//
// A buffer_pool does the same for less: a buffer that goes back to it is no request. Its leases and streams take none
// of these; who selects from them are requests of one's own.
#pragma once

#include <gyre/runtime/operation.hpp>

#include <cstddef>
#include <cstdint>
#include <span>

namespace gyre::ops {

/// Gives buffers to a group of this executor's ring. Use a buffer_pool instead.
///
/// @param memory        Cut into buffers. The kernel writes into it until they are taken out, or the executor is gone.
/// @param buffer_bytes  Of each; what is left of the memory is not used.
/// @param group         A number of your own, from 0 up: pools take theirs from 65535 down.
/// @param first_id      Of the first buffer. The others count on.
/// @errors        invalid_argument      the group is a pool's; or no buffer fits into the memory
///                argument_list_too_long   more than 65536 buffers; or ids beyond 65535
///                value_too_large       2 GiB and more
/// @cancellation  Once begun it is done.
/// @source        io_uring_prep_provide_buffers(3). Linux 5.7.
class [[nodiscard]] provide_buffers final : public operation_of<provide_buffers, void> {
 public:
  provide_buffers(std::span<std::byte> memory, std::size_t buffer_bytes, std::uint16_t group,
                  std::uint16_t first_id = 0) noexcept
      : operation_of{opcode}, memory_{memory}, buffer_bytes_{buffer_bytes}, group_{group}, first_id_{first_id} {}

 private:
  friend operation_of;
  static const operation_kind opcode;
  static void prepare(operation& self, io_uring_sqe& sqe) noexcept;
  std::span<std::byte> memory_;
  std::size_t buffer_bytes_;
  std::uint16_t group_;
  std::uint16_t first_id_;
};

/// Takes buffers out of a group again, which provide_buffers has put in.
///
/// @param group       As for provide_buffers.
/// @param count_max   1 to 65536.
/// @return        How many were taken out: fewer where there were fewer.
/// @errors        no_such_file_or_directory   there is no such group
///                invalid_argument            it is a pool's; or count_max is none
/// @cancellation  Once begun it is done.
/// @source        io_uring_prep_remove_buffers(3). Linux 5.7.
class [[nodiscard]] remove_buffers final : public operation_of<remove_buffers, std::size_t> {
 public:
  remove_buffers(std::uint16_t group, std::uint32_t count_max) noexcept
      : operation_of{opcode}, count_max_{count_max}, group_{group} {}

 private:
  friend operation_of;
  static const operation_kind opcode;
  static void prepare(operation& self, io_uring_sqe& sqe) noexcept;
  std::uint32_t count_max_;
  std::uint16_t group_;
};

}  // namespace gyre::ops
