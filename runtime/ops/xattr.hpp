// SPDX-License-Identifier: MIT
// Extended attributes of files: small values under names such as "user.comment".
//
// What a file system knows of them differs; where it knows none they are operation_not_supported.
#pragma once

#include <gyre/runtime/fd_ref.hpp>
#include <gyre/runtime/operation.hpp>

#include <sys/xattr.h>

#include <cstddef>
#include <span>

namespace gyre::ops {

/// Reads an attribute of the file that a path leads to.
///
/// @param path    Stays until the operation has ended. Symbolic links are followed; a relative one begins in the
///                working directory.
/// @param name    With its class: "user.comment". Stays until the operation has ended.
/// @param buffer  Where the value lands. When it is empty, only its size is told.
/// @return        The size of the value, in bytes.
/// @errors        no_message_available (ENODATA: there is no such attribute), result_out_of_range (the buffer is too
///                small, or the name too long), operation_not_supported, no_such_file_or_directory, …: getxattr(2)
/// @cancellation  Safe.
/// @limits        A value has 64 KiB at most.
/// @source        io_uring_prep_getxattr(3); getxattr(2). Linux 5.19.
class [[nodiscard]] getxattr final : public operation_of<getxattr, std::size_t> {
 public:
  getxattr(const char* path, const char* name, std::span<std::byte> buffer) noexcept
      : operation_of{opcode}, path_{path}, name_{name}, buffer_{buffer} {}

 private:
  friend operation_of;
  static const operation_kind opcode;
  static void prepare(operation& self, io_uring_sqe& sqe) noexcept;
  const char* path_;
  const char* name_;
  std::span<std::byte> buffer_;
};

/// Reads an attribute of an open file: getxattr() otherwise.
///
/// @errors  As for getxattr; bad_file_descriptor also for one that was opened with O_PATH.
/// @source  io_uring_prep_fgetxattr(3); fgetxattr(2). Linux 5.19.
class [[nodiscard]] fgetxattr final : public operation_of<fgetxattr, std::size_t> {
 public:
  fgetxattr(fd_ref fd, const char* name, std::span<std::byte> buffer) noexcept
      : operation_of{opcode}, fd_{fd}, name_{name}, buffer_{buffer} {}

 private:
  friend operation_of;
  static const operation_kind opcode;
  static void prepare(operation& self, io_uring_sqe& sqe) noexcept;
  fd_ref fd_;
  const char* name_;
  std::span<std::byte> buffer_;
};

/// Writes an attribute of the file that a path leads to.
///
/// @param path, name  As for getxattr.
/// @param value       May be empty: an attribute without a value.
/// @param flags       0, or XATTR_CREATE: there must be none yet; or XATTR_REPLACE: there must be one.
/// @errors            file_exists, no_message_available (ENODATA), no_space_on_device, argument_list_too_long (E2BIG: a
///                    value of more than 64 KiB), result_out_of_range (the name is too long), operation_not_supported,
///                    permission_denied, …: setxattr(2)
/// @cancellation      Once a kernel worker has begun it, it is done, and reported.
/// @source            io_uring_prep_setxattr(3); setxattr(2). Linux 5.19.
class [[nodiscard]] setxattr final : public operation_of<setxattr, void> {
 public:
  setxattr(const char* path, const char* name, std::span<const std::byte> value, int flags = 0) noexcept
      : operation_of{opcode}, path_{path}, name_{name}, value_{value}, flags_{flags} {}

 private:
  friend operation_of;
  static const operation_kind opcode;
  static void prepare(operation& self, io_uring_sqe& sqe) noexcept;
  const char* path_;
  const char* name_;
  std::span<const std::byte> value_;
  int flags_;
};

/// Writes an attribute of an open file: setxattr() otherwise.
///
/// @errors  As for setxattr; bad_file_descriptor also for one that was opened with O_PATH.
/// @source  io_uring_prep_fsetxattr(3); fsetxattr(2). Linux 5.19.
class [[nodiscard]] fsetxattr final : public operation_of<fsetxattr, void> {
 public:
  fsetxattr(fd_ref fd, const char* name, std::span<const std::byte> value, int flags = 0) noexcept
      : operation_of{opcode}, fd_{fd}, flags_{flags}, name_{name}, value_{value} {}

 private:
  friend operation_of;
  static const operation_kind opcode;
  static void prepare(operation& self, io_uring_sqe& sqe) noexcept;
  fd_ref fd_;
  int flags_;
  const char* name_;
  std::span<const std::byte> value_;
};

}  // namespace gyre::ops
