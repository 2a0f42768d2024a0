// SPDX-License-Identifier: MIT
// Operations on names in the file system: open, inspect, rename, link, make folders, remove.
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
/// @errors         As for openat; cross_device_link (EXDEV) when the path leads out or, with RESOLVE_NO_XDEV, into
///                 another file system; too_many_symbolic_link_levels (ELOOP) for a link that RESOLVE_NO_SYMLINKS or
///                 RESOLVE_NO_MAGICLINKS forbids; resource_unavailable_try_again when RESOLVE_CACHED would have to
///                 wait; invalid_argument for a flag, mode or resolve that there is not.
/// @source         io_uring_prep_openat2(3); openat2(2). Linux 5.6.
class [[nodiscard]] openat2 final : public operation_of<openat2, unique_fd> {
 public:
  struct how {  // struct open_how of <linux/openat2.h>
    std::uint64_t flags;
    std::uint64_t mode;
    std::uint64_t resolve;
  };

  openat2(fd_ref directory, const char* path, int flags, std::uint64_t resolve, ::mode_t mode = 0) noexcept;

 private:
  friend operation_of;
  static const operation_kind opcode;
  static void prepare(operation& self, io_uring_sqe& sqe) noexcept;
  [[nodiscard]] std::error_code failure() const noexcept { return gyre::detail::failure_at(directory_, error()); }
  [[noreturn]] void fail() const;
  fd_ref directory_;
  const char* path_;
  how how_;
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

/// Gives a file another name, in the same file system. A file that has that name already is replaced, at one blow.
///
/// @param from_directory, from  Where it is. Both paths stay until the operation has ended.
/// @param to_directory, to      Where it is to be.
/// @param flags                 0, or RENAME_* of renameat2(2): RENAME_NOREPLACE replaces nothing, RENAME_EXCHANGE
///                              swaps the two.
/// @errors                      no_such_file_or_directory, file_exists (RENAME_NOREPLACE), cross_device_link,
///                              directory_not_empty, is_a_directory, invalid_argument (into itself), permission_denied,
///                              …: rename(2)
/// @cancellation                Once a kernel worker has begun it, it is done, and reported.
/// @source                      io_uring_prep_renameat(3); rename(2). Linux 5.11.
class [[nodiscard]] renameat final : public operation_of<renameat, void> {
 public:
  renameat(fd_ref from_directory, const char* from, fd_ref to_directory, const char* to, unsigned flags = 0) noexcept
      : operation_of{opcode},
        from_directory_{from_directory},
        to_directory_{to_directory},
        from_{from},
        to_{to},
        flags_{flags} {}

 private:
  friend operation_of;
  static const operation_kind opcode;
  static void prepare(operation& self, io_uring_sqe& sqe) noexcept;
  [[nodiscard]] std::error_code failure() const noexcept;
  [[noreturn]] void fail() const;
  fd_ref from_directory_;
  fd_ref to_directory_;
  const char* from_;
  const char* to_;
  unsigned flags_;
};

/// Makes a directory.
///
/// @param directory  Where a relative `path` begins; AT_FDCWD for the working directory.
/// @param path       Stays until the operation has ended.
/// @param mode       Permissions, less the process's umask.
/// @errors           file_exists, no_such_file_or_directory, no_space_on_device, permission_denied, …: mkdir(2)
/// @cancellation     Once a kernel worker has begun it, it is done, and reported.
/// @source           io_uring_prep_mkdirat(3); mkdir(2). Linux 5.15.
class [[nodiscard]] mkdirat final : public operation_of<mkdirat, void> {
 public:
  mkdirat(fd_ref directory, const char* path, ::mode_t mode) noexcept
      : operation_of{opcode}, directory_{directory}, path_{path}, mode_{mode} {}

 private:
  friend operation_of;
  static const operation_kind opcode;
  static void prepare(operation& self, io_uring_sqe& sqe) noexcept;
  [[nodiscard]] std::error_code failure() const noexcept { return gyre::detail::failure_at(directory_, error()); }
  [[noreturn]] void fail() const;
  fd_ref directory_;
  const char* path_;
  ::mode_t mode_;
};

/// Makes a symbolic link: a name that leads to another.
///
/// @param target     What it says, whether there is such a file or not. A relative one begins where the link is. It and
///                   `path` stay until the operation has ended.
/// @param directory  Where a relative `path` begins; AT_FDCWD for the working directory.
/// @param path       The link.
/// @errors           file_exists, no_such_file_or_directory (an empty target, too), permission_denied, …: symlink(2)
/// @cancellation     Once a kernel worker has begun it, it is done, and reported.
/// @source           io_uring_prep_symlinkat(3); symlink(2). Linux 5.15.
class [[nodiscard]] symlinkat final : public operation_of<symlinkat, void> {
 public:
  symlinkat(const char* target, fd_ref directory, const char* path) noexcept
      : operation_of{opcode}, directory_{directory}, target_{target}, path_{path} {}

 private:
  friend operation_of;
  static const operation_kind opcode;
  static void prepare(operation& self, io_uring_sqe& sqe) noexcept;
  [[nodiscard]] std::error_code failure() const noexcept { return gyre::detail::failure_at(directory_, error()); }
  [[noreturn]] void fail() const;
  fd_ref directory_;
  const char* target_;
  const char* path_;
};

/// Gives a file one more name, in the same file system.
///
/// @param from_directory, from  The file. Both paths stay until the operation has ended. An empty `from` and
///                              AT_EMPTY_PATH: the file that `from_directory` is, even one without a name (O_TMPFILE).
/// @param to_directory, to      The name.
/// @param flags                 0; or AT_SYMLINK_FOLLOW, so that a symbolic link is not linked itself; AT_EMPTY_PATH.
/// @errors                      file_exists, no_such_file_or_directory (also AT_EMPTY_PATH without CAP_DAC_READ_SEARCH,
///                              before Linux 6.10), cross_device_link, operation_not_permitted (a directory), …:
///                              link(2)
/// @cancellation                Once a kernel worker has begun it, it is done, and reported.
/// @source                      io_uring_prep_linkat(3); link(2). Linux 5.15.
class [[nodiscard]] linkat final : public operation_of<linkat, void> {
 public:
  linkat(fd_ref from_directory, const char* from, fd_ref to_directory, const char* to, int flags = 0) noexcept
      : operation_of{opcode},
        from_directory_{from_directory},
        to_directory_{to_directory},
        from_{from},
        to_{to},
        flags_{flags} {}

 private:
  friend operation_of;
  static const operation_kind opcode;
  static void prepare(operation& self, io_uring_sqe& sqe) noexcept;
  [[nodiscard]] std::error_code failure() const noexcept;
  [[noreturn]] void fail() const;
  fd_ref from_directory_;
  fd_ref to_directory_;
  const char* from_;
  const char* to_;
  int flags_;
};

}  // namespace ops
}  // namespace gyre
