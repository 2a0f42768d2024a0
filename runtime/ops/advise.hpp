// SPDX-License-Identifier: MIT
// Advice to the kernel: what a program is going to do with a part of a file, or of its memory.
#pragma once

#include <gyre/runtime/fd_ref.hpp>
#include <gyre/runtime/operation.hpp>

#include <cstddef>
#include <cstdint>
#include <span>

namespace gyre::ops {

/// Says how a part of a file is going to be read. It changes how fast things are, and no result.
///
/// @param offset  Where the part begins, in bytes.
/// @param length  Its length, in bytes; 0 for all that follows.
/// @param advice  POSIX_FADV_* of posix_fadvise(2): POSIX_FADV_WILLNEED reads it ahead, POSIX_FADV_DONTNEED lets go of
///                what is in memory.
/// @errors        invalid_argument (an advice that is none; before Linux 6.11 a length of 4 GiB or more),
///                invalid_seek (a pipe), bad_file_descriptor
/// @cancellation  Safe.
/// @source        io_uring_prep_fadvise(3); posix_fadvise(2). Linux 5.6.
class [[nodiscard]] fadvise final : public operation_of<fadvise, void> {
 public:
  fadvise(fd_ref fd, std::uint64_t offset, std::uint64_t length, int advice) noexcept
      : operation_of{opcode}, fd_{fd}, advice_{advice}, offset_{offset}, length_{length} {}

 private:
  friend operation_of;
  static const operation_kind opcode;
  static void prepare(operation& self, io_uring_sqe& sqe) noexcept;
  fd_ref fd_;
  int advice_;
  std::uint64_t offset_;
  std::uint64_t length_;
};

/// Says what is going to happen to memory, or does it: a kernel worker reads pages in, or gives them back.
///
/// @param memory  Begins at a page. Stays mapped until the operation has ended. May be empty, which does nothing.
/// @param advice  MADV_* of madvise(2). **Some change what is there**: after MADV_DONTNEED private memory reads as
///                zeros.
/// @errors        invalid_argument (it begins in the middle of a page, or the advice is none; before Linux 6.11 a
///                length of 4 GiB or more), not_enough_memory (a part of it is not mapped), permission_denied
/// @cancellation  Once a kernel worker has begun it, it is done, and reported.
/// @source        io_uring_prep_madvise(3); madvise(2). Linux 5.6.
class [[nodiscard]] madvise final : public operation_of<madvise, void> {
 public:
  madvise(std::span<std::byte> memory, int advice) noexcept : operation_of{opcode}, memory_{memory}, advice_{advice} {}

 private:
  friend operation_of;
  static const operation_kind opcode;
  static void prepare(operation& self, io_uring_sqe& sqe) noexcept;
  std::span<std::byte> memory_;
  int advice_;
};

}  // namespace gyre::ops
