// SPDX-License-Identifier: MIT
// Reads and writes with flags for this one transfer, as preadv2(2) and pwritev2(2) have them.
//
// Flags are RWF_* of <sys/uio.h>, or'ed. Those that the C library's headers may lack stand here. A file system or
// device that does not know one refuses the transfer with operation_not_supported.
//
//   RWF_NOWAIT            only what needs no waiting is done; nothing at all is resource_unavailable_try_again
//   RWF_APPEND            a write goes to the end of the file, whatever its offset
//   RWF_DSYNC, RWF_SYNC   a write ends when it is on its device: the data, or the data and all metadata
//   RWF_HIPRI             the device is polled: refused with invalid_argument but by an executor with
//                         executor_options::iopoll, which does so without being asked
//   rwf_noappend          a write goes to its offset, although the file was opened with O_APPEND
//   rwf_atomic            a write is done whole or not at all, even if the power fails: statx(2), STATX_WRITE_ATOMIC
//   rwf_dontcache         what was read or written is not kept in memory
#pragma once

#include <gyre/runtime/fd_ref.hpp>
#include <gyre/runtime/operation.hpp>
#include <gyre/runtime/ops/file.hpp>

#include <sys/uio.h>

#include <cstddef>
#include <cstdint>
#include <system_error>

namespace gyre::ops {

inline constexpr unsigned rwf_noappend = 0x20;   ///< RWF_NOAPPEND. Linux 6.9.
inline constexpr unsigned rwf_atomic = 0x40;     ///< RWF_ATOMIC. Linux 6.11.
inline constexpr unsigned rwf_dontcache = 0x80;  ///< RWF_DONTCACHE. Linux 6.14.

/// Reads bytes with flags: read() otherwise.
///
/// @param flags   See the top of this file.
/// @errors        As for read; resource_unavailable_try_again   RWF_NOWAIT, and nothing is there
///                             operation_not_supported          a flag that the file does not know
/// @cancellation  As for read.
/// @limits        As for read.
/// @source        io_uring_prep_read(3); preadv2(2). Linux 5.6.
class [[nodiscard]] read2 final : public operation_of<read2, std::size_t> {
 public:
  read2(fd_ref fd, buffer_ref buffer, std::uint64_t offset, unsigned flags) noexcept
      : operation_of{opcode}, fd_{fd}, flags_{flags}, buffer_{buffer}, offset_{offset} {}

 private:
  friend operation_of;
  static const operation_kind opcode;
  static void prepare(operation& self, io_uring_sqe& sqe) noexcept;
  fd_ref fd_;
  unsigned flags_;
  buffer_ref buffer_;
  std::uint64_t offset_;
};

/// Writes bytes with flags: write() otherwise.
///
/// @param flags   See the top of this file.
/// @errors        As for write; resource_unavailable_try_again   RWF_NOWAIT, and it would have to wait
///                              operation_not_supported          a flag that the file does not know
///                              invalid_argument                 rwf_atomic, and a size or offset that is none of the
///                                                               file's units
/// @cancellation  As for write.
/// @limits        As for read.
/// @source        io_uring_prep_write(3); pwritev2(2). Linux 5.6.
class [[nodiscard]] write2 final : public operation_of<write2, std::size_t> {
 public:
  write2(fd_ref fd, const_buffer_ref bytes, std::uint64_t offset, unsigned flags) noexcept
      : operation_of{opcode}, fd_{fd}, flags_{flags}, bytes_{bytes}, offset_{offset} {}

 private:
  friend operation_of;
  static const operation_kind opcode;
  static void prepare(operation& self, io_uring_sqe& sqe) noexcept;
  [[nodiscard]] std::error_code failure() const noexcept;
  [[noreturn]] void fail() const;
  fd_ref fd_;
  unsigned flags_;
  const_buffer_ref bytes_;
  std::uint64_t offset_;
};

/// Reads into several buffers with flags: readv() otherwise.
///
/// @param flags   See the top of this file.
/// @errors        As for readv, and those of read2.
/// @source        io_uring_prep_readv2(3); preadv2(2). Linux 5.1.
class [[nodiscard]] readv2 final : public operation_of<readv2, std::size_t> {
 public:
  readv2(fd_ref fd, iovec_ref buffers, std::uint64_t offset, unsigned flags) noexcept
      : operation_of{opcode}, fd_{fd}, flags_{flags}, buffers_{buffers}, offset_{offset} {}

 private:
  friend operation_of;
  static const operation_kind opcode;
  static void prepare(operation& self, io_uring_sqe& sqe) noexcept;
  fd_ref fd_;
  unsigned flags_;
  iovec_ref buffers_;
  std::uint64_t offset_;
};

/// Writes several buffers with flags: writev() otherwise.
///
/// @param flags   See the top of this file.
/// @errors        As for writev, and those of write2.
/// @source        io_uring_prep_writev2(3); pwritev2(2). Linux 5.1.
class [[nodiscard]] writev2 final : public operation_of<writev2, std::size_t> {
 public:
  writev2(fd_ref fd, iovec_ref buffers, std::uint64_t offset, unsigned flags) noexcept
      : operation_of{opcode}, fd_{fd}, flags_{flags}, buffers_{buffers}, offset_{offset} {}

 private:
  friend operation_of;
  static const operation_kind opcode;
  static void prepare(operation& self, io_uring_sqe& sqe) noexcept;
  [[nodiscard]] std::error_code failure() const noexcept;
  [[noreturn]] void fail() const;
  fd_ref fd_;
  unsigned flags_;
  iovec_ref buffers_;
  std::uint64_t offset_;
};

}  // namespace gyre::ops
