// SPDX-License-Identifier: MIT
// A file, read and written at positions of the caller's choice.
//
// A file has no cursor here: any number of reads and writes may be in flight on it at once. A failure of an operation
// that moves many bytes is a transfer_error, which says how far it got. Operations on names: runtime/ops/path.hpp.
#pragma once

#include <gyre/fs/metadata.hpp>
#include <gyre/runtime/fd_ref.hpp>
#include <gyre/runtime/ops/file.hpp>
#include <gyre/runtime/result.hpp>
#include <gyre/runtime/task.hpp>
#include <gyre/runtime/unique_fd.hpp>

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <utility>

namespace gyre::fs {

enum class file_access : std::uint8_t { read, write, read_write };

/// What to do about a file that is, or is not, there already.
enum class file_creation : std::uint8_t {
  never,       ///< It must be there.
  if_missing,  ///< Make it when it is not there.
  must_be_new  ///< Make it; fail with file_exists when it is there, even as a dangling symbolic link.
};

/// How a file is opened. The default reads a file that is there.
struct open_options {
  file_access access = file_access::read;
  file_creation create = file_creation::never;

  /// Empties a file that is there. Only with access to write.
  bool truncate = false;

  /// Returns at once where opening would wait for somebody, as for the other end of a FIFO. For paths that others
  /// choose: open, then look at metadata().kind.
  bool no_wait = false;

  /// Permissions of a file that is made, less the umask.
  ::mode_t permissions = 0666;
};

class file {
 public:
  /// Takes over an open descriptor.
  explicit file(unique_fd opened) noexcept : fd_{std::move(opened)} {}

  /// Opens a file, close-on-exec.
  ///
  /// @param path     From the working directory on when it is relative.
  /// @errors         no_such_file_or_directory, permission_denied, file_exists, is_a_directory (to write), …: open(2)
  ///                 invalid_argument     the path has a NUL in it, or truncate comes without access to write
  ///                 too_many_files_open  RLIMIT_NOFILE
  /// @cancellation   Safe: nothing is leaked. A file may have been made, or emptied.
  /// @source         openat(2). Linux 5.6.
  [[nodiscard]] static task<file> open(std::string path, open_options options = {});

  /// Opens a file without leaving `directory`: not by "..", not by an absolute path, not by a symbolic link that leads
  /// out. The kernel sees to it, so that no rename in between can change that. For paths that others choose.
  ///
  /// @param directory  An open directory (O_PATH is enough). Stays open until the task has ended.
  /// @param path       Relative to it; "." is the directory itself.
  /// @errors           As open(); cross_device_link when the path leads out, too_many_symbolic_link_levels for a loop
  ///                   or a link of /proc, resource_unavailable_try_again when a rename came between: try again.
  /// @cancellation     As open().
  /// @source           openat2(2), RESOLVE_BENEATH, RESOLVE_NO_MAGICLINKS. Linux 5.6.
  [[nodiscard]] static task<file> open_beneath(fd_ref directory, std::string path, open_options options = {});

  /// Reads bytes at a position. See ops::read.
  ///
  /// @param offset  Distance from the start of the file, in bytes.
  /// @return        Bytes read, at most buffer.size(). 0 means end of file, or an empty buffer. Fewer is normal.
  [[nodiscard]] ops::read read_at(buffer_ref buffer, std::uint64_t offset) const noexcept {
    return ops::read{fd_, buffer, offset};
  }

  /// Writes bytes at a position. See ops::write.
  ///
  /// @param offset  As for read_at(). Beyond the end of the file: what lies between reads as zeros.
  /// @return        Bytes written, at most bytes.size(). Fewer is normal.
  [[nodiscard]] ops::write write_at(const_buffer_ref bytes, std::uint64_t offset) const noexcept {
    return ops::write{fd_, bytes, offset};
  }

  /// Fills the buffer from a position of the file on.
  ///
  /// @errors        transfer_error, whose bytes() lie in the buffer: errc::end_of_stream when the file ends before
  ///                the buffer is full, or as read_at().
  /// @cancellation  Safe: nothing but the buffer can have changed.
  [[nodiscard]] task<> read_exactly_at(buffer_ref buffer, std::uint64_t offset) const;

  /// Writes all of the bytes.
  ///
  /// @errors        transfer_error, whose bytes() are written: errc::no_progress, or as write_at().
  /// @cancellation  Any part of the bytes may have been written.
  [[nodiscard]] task<> write_all_at(const_buffer_ref bytes, std::uint64_t offset) const;

  /// Tells what the file is: kind, size, times.
  ///
  /// @errors        io_error, and what a file system on a network answers: statx(2)
  /// @cancellation  Safe.
  /// @limits        The ring gives every statx to a kernel worker, some 6 us; try_metadata() takes a seventh of that.
  [[nodiscard]] task<fs::metadata> metadata() const;

  /// The same, as far as the system knows it without asking a device or a server: never waits. On a local file system
  /// there is no difference; on a network's, what is told may be as old as its cache.
  ///
  /// @source  statx(2), AT_STATX_DONT_SYNC.
  [[nodiscard]] result<fs::metadata> try_metadata() const noexcept;

  /// The size in bytes. See metadata().
  [[nodiscard]] task<std::uint64_t> size() const;

  /// Waits until what was written is on the device. See ops::fsync.
  [[nodiscard]] ops::fsync sync(ops::sync_what what = ops::sync_what::everything) const noexcept {
    return ops::fsync{fd_, what};
  }

  /// Closes the file and tells how that went: some file systems report a late write failure here. A file that is
  /// destroyed closes by itself, and asks nobody; nothing may be in flight on it then.
  [[nodiscard]] ops::close close() noexcept { return ops::close{std::move(fd_)}; }

  [[nodiscard]] fd_ref fd() const noexcept { return fd_; }

  /// Gives the descriptor away.
  [[nodiscard]] unique_fd release() noexcept { return std::move(fd_); }

 private:
  unique_fd fd_;
};

}  // namespace gyre::fs
