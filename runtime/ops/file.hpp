// SPDX-License-Identifier: MIT
// Operations on open files: read, write, sync, make room, cut, close.
//
// Reads and writes with flags: ops/file_flags.hpp. What the kernel should expect of a file: ops/advise.hpp.
// None of them raises SIGPIPE, on pipes and sockets either: from Linux 6.18 on each write says so for itself, before
// that the first write of a thread blocks the signal there, unless the process ignores it (detail/quiet_writes.hpp).
#pragma once

#include <gyre/runtime/buffer_ref.hpp>
#include <gyre/runtime/fd_ref.hpp>
#include <gyre/runtime/operation.hpp>
#include <gyre/runtime/ops/transfer.hpp>

#include <sys/uio.h>

#include <cstddef>
#include <cstdint>
#include <span>
#include <system_error>

namespace gyre::ops {

/// As an offset: the file's own position, which the operation moves. For pipes, terminals, and files read in order.
inline constexpr std::uint64_t current_position = ~std::uint64_t{0};

/// Reads bytes at a position of the file into a buffer.
///
/// @param fd      Open for reading.
/// @param buffer  Where the bytes land; a span, or registered memory. May be empty.
/// @param offset  Distance from the start of the file, in bytes; current_position for what has no positions.
/// @return        Bytes read, at most buffer.size(). 0 means end of file, or an empty buffer. Fewer than asked for is
///                normal.
/// @errors        is_a_directory    fd names a directory
///                invalid_argument  O_DIRECT and a misaligned buffer, offset or size
///                bad_address       registered memory whose owner has gone, or was reassigned, before it began
///                io_error          the device failed; the buffer's contents are unspecified
/// @cancellation  Safe at a given offset. At current_position, bytes that were read are delivered, never lost.
/// @limits        Moves at most transfer_bytes_max bytes a call, however large the buffer.
/// @source        io_uring_prep_read(3), io_uring_prep_read_fixed(3); read(2). Linux 5.6.
class [[nodiscard]] read final : public operation_of<read, std::size_t> {
 public:
  read(fd_ref fd, buffer_ref buffer, std::uint64_t offset = current_position) noexcept
      : operation_of{opcode}, fd_{fd}, buffer_{buffer}, offset_{offset} {}

 private:
  friend operation_of;
  static const operation_kind opcode;
  static void prepare(operation& self, io_uring_sqe& sqe) noexcept;
  fd_ref fd_;
  buffer_ref buffer_;
  std::uint64_t offset_;
};

/// Writes bytes at a position of the file.
///
/// @param fd      Open for writing.
/// @param bytes   What is written; a span, or registered memory. May be empty.
/// @param offset  As for read.
/// @return        Bytes written, at most bytes.size(). Fewer than asked for is normal.
/// @errors        no_space_on_device  the file system is full
///                broken_pipe         a pipe that nobody reads any more, a socket whose peer is gone
///                file_too_large      RLIMIT_FSIZE, or the file system's limit
///                bad_address         as for read
///                io_error            the device failed; what the file holds there is unspecified
/// @cancellation  What was written before the cancel is reported, or unspecified on a file.
/// @limits        As for read.
/// @source        io_uring_prep_write(3), io_uring_prep_write_fixed(3); write(2). Linux 5.6.
class [[nodiscard]] write final : public operation_of<write, std::size_t> {
 public:
  write(fd_ref fd, const_buffer_ref bytes, std::uint64_t offset = current_position) noexcept
      : operation_of{opcode}, fd_{fd}, bytes_{bytes}, offset_{offset} {}

 private:
  friend operation_of;
  static const operation_kind opcode;
  static void prepare(operation& self, io_uring_sqe& sqe) noexcept;
  [[nodiscard]] std::error_code failure() const noexcept;
  [[noreturn]] void fail() const;
  fd_ref fd_;
  const_buffer_ref bytes_;
  std::uint64_t offset_;
};

/// Reads into several buffers, in their order: read() otherwise.
///
/// @param buffers  At most IOV_MAX (1024). They, and the array itself, stay until the operation has ended. Those that
///                 lie in one registered buffer: iovec_ref(array, registered), Linux 6.15.
/// @errors         As for read; invalid_argument also for more than IOV_MAX buffers; bad_address also for one that does
///                 not lie in the registered buffer, operation_not_supported for registered ones before Linux 6.15.
/// @source         io_uring_prep_readv(3), IORING_OP_READV_FIXED; readv(2). Linux 5.1.
class [[nodiscard]] readv final : public operation_of<readv, std::size_t> {
 public:
  readv(fd_ref fd, iovec_ref buffers, std::uint64_t offset = current_position) noexcept
      : operation_of{opcode}, fd_{fd}, buffers_{buffers}, offset_{offset} {}

 private:
  friend operation_of;
  static const operation_kind opcode;
  static void prepare(operation& self, io_uring_sqe& sqe) noexcept;
  fd_ref fd_;
  iovec_ref buffers_;
  std::uint64_t offset_;
};

/// Writes several buffers, in their order: write() otherwise.
///
/// @param buffers  As for readv.
/// @errors         As for write, and for the buffers as for readv.
/// @source         io_uring_prep_writev(3), IORING_OP_WRITEV_FIXED; writev(2). Linux 5.1.
class [[nodiscard]] writev final : public operation_of<writev, std::size_t> {
 public:
  writev(fd_ref fd, iovec_ref buffers, std::uint64_t offset = current_position) noexcept
      : operation_of{opcode}, fd_{fd}, buffers_{buffers}, offset_{offset} {}

 private:
  friend operation_of;
  static const operation_kind opcode;
  static void prepare(operation& self, io_uring_sqe& sqe) noexcept;
  [[nodiscard]] std::error_code failure() const noexcept;
  [[noreturn]] void fail() const;
  fd_ref fd_;
  iovec_ref buffers_;
  std::uint64_t offset_;
};

/// What fsync makes durable.
enum class sync_what : std::uint8_t {
  everything,  ///< Data and all metadata: fsync(2).
  data         ///< Data, and the metadata needed to read it back: fdatasync(2).
};

/// Waits until what was written to the file is on its device.
///
/// @errors        io_error, no_space_on_device: data that was written earlier is lost; a retry may report success
///                falsely.
/// @cancellation  A sync that a kernel worker has begun runs to its end, and the coroutine waits for it.
/// @source        io_uring_prep_fsync(3); fsync(2). Linux 5.1.
class [[nodiscard]] fsync final : public operation_of<fsync, void> {
 public:
  explicit fsync(fd_ref fd, sync_what what = sync_what::everything) noexcept
      : operation_of{opcode}, fd_{fd}, what_{what} {}

 private:
  friend operation_of;
  static const operation_kind opcode;
  static void prepare(operation& self, io_uring_sqe& sqe) noexcept;
  fd_ref fd_;
  sync_what what_;
};

/// Has a part of a file written to its device, without its metadata. No promise that it survives a crash: that is
/// fsync's. For a program that writes much, to have the device begin before it waits.
///
/// @param offset  Where the part begins, in bytes.
/// @param length  Its length, in bytes; 0 for all that follows. From 4 GiB on it counts as 0: more is written, never
///                less.
/// @param flags   SYNC_FILE_RANGE_* of sync_file_range(2), or'ed: what is waited for.
/// @errors        invalid_argument, invalid_seek (a pipe), io_error
/// @cancellation  As for fsync.
/// @source        io_uring_prep_sync_file_range(3); sync_file_range(2). Linux 5.2.
class [[nodiscard]] sync_file_range final : public operation_of<sync_file_range, void> {
 public:
  sync_file_range(fd_ref fd, std::uint64_t offset, std::uint64_t length, unsigned flags) noexcept
      : operation_of{opcode}, fd_{fd}, offset_{offset}, length_{length}, flags_{flags} {}

 private:
  friend operation_of;
  static const operation_kind opcode;
  static void prepare(operation& self, io_uring_sqe& sqe) noexcept;
  fd_ref fd_;
  std::uint64_t offset_;
  std::uint64_t length_;
  unsigned flags_;
};

/// Makes room for a part of a file on its device, or gives it back.
///
/// @param mode            0, or FALLOC_FL_* of fallocate(2): FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE gives it back.
/// @param offset, length  The part, in bytes. A length of 0 is refused.
/// @errors                no_space_on_device, file_too_large, operation_not_supported (by the file system),
///                        invalid_argument, bad_file_descriptor (not open for writing)
/// @cancellation          Once a kernel worker has begun it, it is done, and reported.
/// @source                io_uring_prep_fallocate(3); fallocate(2). Linux 5.6.
class [[nodiscard]] fallocate final : public operation_of<fallocate, void> {
 public:
  fallocate(fd_ref fd, int mode, std::uint64_t offset, std::uint64_t length) noexcept
      : operation_of{opcode}, fd_{fd}, mode_{mode}, offset_{offset}, length_{length} {}

 private:
  friend operation_of;
  static const operation_kind opcode;
  static void prepare(operation& self, io_uring_sqe& sqe) noexcept;
  fd_ref fd_;
  int mode_;
  std::uint64_t offset_;
  std::uint64_t length_;
};

/// Makes a file as long as is said: what is too much is lost, what is missing reads as zeros.
///
/// @param length  In bytes.
/// @errors        file_too_large, invalid_argument (not open for writing), bad_file_descriptor,
///                operation_not_supported (before Linux 6.9)
/// @cancellation  Once a kernel worker has begun it, it is done, and reported.
/// @source        io_uring_prep_ftruncate(3); ftruncate(2). Linux 6.9.
class [[nodiscard]] ftruncate final : public operation_of<ftruncate, void> {
 public:
  ftruncate(fd_ref fd, std::uint64_t length) noexcept : operation_of{opcode}, fd_{fd}, length_{length} {}

 private:
  friend operation_of;
  static const operation_kind opcode;
  static void prepare(operation& self, io_uring_sqe& sqe) noexcept;
  fd_ref fd_;
  std::uint64_t length_;
};

/// Closes a descriptor and tells how that went.
///
/// @param fd      Taken over: it is closed in every case, also when the operation is stopped before it began.
/// @errors        io_error, no_space_on_device, disk_quota_exceeded: some file systems report a late write failure
///                here.
/// @cancellation  Safe: nothing is leaked. A close that the kernel has been given runs to its end: one that is
///                cancelled before a worker begins it would leave the descriptor open.
/// @source        io_uring_prep_close(3); close(2). Linux 5.6.
class [[nodiscard]] close final : public operation_of<close, void> {
 public:
  explicit close(unique_fd fd) noexcept : operation_of{opcode}, fd_{std::move(fd)} {}

 private:
  friend operation_of;
  static const operation_kind opcode;
  static void prepare(operation& self, io_uring_sqe& sqe) noexcept;
  unique_fd fd_;  // owned until the kernel is told
};

}  // namespace gyre::ops
