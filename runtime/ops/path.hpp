// SPDX-License-Identifier: MIT
// Operations on names in the file system: open, inspect, remove.
#pragma once

#include <gyre/runtime/fd_ref.hpp>
#include <gyre/runtime/operation.hpp>

#include <fcntl.h>
#include <sys/stat.h>

#include <cstdint>
#include <system_error>

namespace gyre {
namespace detail {

/// What `error` means where a path begins at `directory`: that cannot be a direct descriptor.
[[nodiscard]] std::error_code failure_at(fd_ref directory, std::error_code error) noexcept;

/// Throws, with the cure, when that is what it means.
void throw_if_direct(fd_ref directory, std::error_code error, const char* operation);

}  // namespace detail

namespace ops {

/// Opens a file.
///
/// @param directory  Where a relative `path` begins; AT_FDCWD for the working directory. A direct descriptor is
///                   operation_not_supported here, as in all operations on names: see ops::to_plain.
/// @param path       Stays until the operation has ended.
/// @param flags      open(2)'s; O_CLOEXEC is added.
/// @param mode       Permissions of a file that is created.
/// @return           The descriptor. If the coroutine ends before it takes it, it is closed.
/// @errors           no_such_file_or_directory, permission_denied, is_a_directory, too_many_files_open, …: open(2)
/// @cancellation     Safe: nothing is leaked. A file may have been created.
/// @source           io_uring_prep_openat(3); open(2). Linux 5.6.
class [[nodiscard]] openat final : public operation_of<openat, unique_fd> {
 public:
  openat(fd_ref directory, const char* path, int flags, ::mode_t mode = 0) noexcept
      : operation_of{opcode}, directory_{directory}, path_{path}, flags_{flags}, mode_{mode} {}

 private:
  friend operation_of;
  static const operation_kind opcode;
  static void prepare(operation& self, io_uring_sqe& sqe) noexcept;
  [[nodiscard]] std::error_code failure() const noexcept { return gyre::detail::failure_at(directory_, error()); }
  [[noreturn]] void fail() const;
  fd_ref directory_;
  const char* path_;
  int flags_;
  ::mode_t mode_;
};

/// Opens a file with limits on how its path may lead: no symbolic links, not out of `directory`, and so on.
///
/// @param resolve  RESOLVE_* of <linux/openat2.h>, or'ed: RESOLVE_BENEATH keeps the path inside `directory`.
/// @errors         As for openat; invalid_cross_device_link (EXDEV) when the path leads out,
///                 too_many_symbolic_link_levels (ELOOP) for a link that RESOLVE_NO_SYMLINKS forbids.
/// @source         io_uring_prep_openat2(3); openat2(2). Linux 5.6.
class [[nodiscard]] openat2 final : public operation_of<openat2, unique_fd> {
 public:
  openat2(fd_ref directory, const char* path, int flags, std::uint64_t resolve, ::mode_t mode = 0) noexcept;

 private:
  friend operation_of;
  static const operation_kind opcode;
  static void prepare(operation& self, io_uring_sqe& sqe) noexcept;
  [[nodiscard]] std::error_code failure() const noexcept { return gyre::detail::failure_at(directory_, error()); }
  [[noreturn]] void fail() const;
  fd_ref directory_;
  const char* path_;
  struct how {  // struct open_how of <linux/openat2.h>
    std::uint64_t flags;
    std::uint64_t mode;
    std::uint64_t resolve;
  } how_;
};

/// Tells what a file is: size, times, type, permissions.
///
/// @param directory  Where a relative `path` begins. With an empty path and AT_EMPTY_PATH: the file itself.
/// @param path       Stays until the operation has ended.
/// @param flags      AT_* of statx(2).
/// @param mask       STATX_* of statx(2): what is wanted.
/// @return           What the kernel filled; its stx_mask says what that is.
/// @errors           As for openat.
/// @cancellation     Safe.
/// @source           io_uring_prep_statx(3); statx(2). Linux 5.6.
class [[nodiscard]] statx final : public operation_of<statx, struct ::statx> {
 public:
  statx(fd_ref directory, const char* path, int flags = 0, unsigned mask = STATX_BASIC_STATS) noexcept
      : operation_of{opcode}, directory_{directory}, path_{path}, flags_{flags}, mask_{mask} {}

 private:
  friend operation_of;
  static const operation_kind opcode;
  static void prepare(operation& self, io_uring_sqe& sqe) noexcept;
  [[nodiscard]] std::error_code failure() const noexcept { return gyre::detail::failure_at(directory_, error()); }
  [[noreturn]] void fail() const;
  struct ::statx value() const noexcept { return found_; }

  fd_ref directory_;
  const char* path_;
  int flags_;
  unsigned mask_;
  struct ::statx found_{};  // filled by the kernel; until then it may be moved with the operation
};

/// Removes a name.
///
/// @param directory  Where a relative `path` begins; AT_FDCWD for the working directory.
/// @param path       Stays until the operation has ended.
/// @param flags      0, or AT_REMOVEDIR for an empty directory.
/// @errors           no_such_file_or_directory, is_a_directory, directory_not_empty, permission_denied, …: unlink(2)
/// @cancellation     Once a kernel worker has begun it, it is done, and reported.
/// @source           io_uring_prep_unlinkat(3); unlink(2). Linux 5.11.
class [[nodiscard]] unlinkat final : public operation_of<unlinkat, void> {
 public:
  unlinkat(fd_ref directory, const char* path, int flags = 0) noexcept
      : operation_of{opcode}, directory_{directory}, path_{path}, flags_{flags} {}

 private:
  friend operation_of;
  static const operation_kind opcode;
  static void prepare(operation& self, io_uring_sqe& sqe) noexcept;
  [[nodiscard]] std::error_code failure() const noexcept { return gyre::detail::failure_at(directory_, error()); }
  [[noreturn]] void fail() const;
  fd_ref directory_;
  const char* path_;
  int flags_;
};

}  // namespace ops
}  // namespace gyre
