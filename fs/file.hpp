// SPDX-License-Identifier: MIT
// A file, read and written at positions of the caller's choice; or at its own, for what has no others.
//
// Any number of reads and writes at positions may be in flight on a file at once. A failure of an operation that moves
// many bytes is a transfer_error, which says how far it got. Whole files at once: whole_file.hpp. Names: path_ops.hpp.
// Locks between processes: file_lock.hpp.
#pragma once

#include <gyre/fs/metadata.hpp>
#include <gyre/fs/path_at.hpp>
#include <gyre/runtime/fd_ref.hpp>
#include <gyre/runtime/ops/advise.hpp>
#include <gyre/runtime/ops/file.hpp>
#include <gyre/runtime/result.hpp>
#include <gyre/runtime/task.hpp>
#include <gyre/runtime/unique_fd.hpp>

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <optional>
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

/// How long each write of a file lasts.
enum class write_through : std::uint8_t {
  no,         ///< Until the kernel has the bytes; sync() is for the rest.
  data,       ///< Until they are on the device, as by sync(sync_what::data): O_DSYNC.
  everything  ///< And all metadata: O_SYNC.
};

/// How a file is opened. The default reads a file that is there.
struct open_options {
  file_access access = file_access::read;
  file_creation create = file_creation::never;

  /// Empties a file that is there. Only with access to write.
  bool truncate = false;

  /// Each write goes to the end of the file, wherever it was told to go, at one blow with finding that end. Only with
  /// access to write.
  bool append = false;

  /// Makes a file without a name in the directory that the path names; it goes when it is closed, unless file::link()
  /// has given it a name. Only with access to write, and by itself: neither `create` nor `truncate`.
  bool temporary = false;

  /// Past the page cache: buffers, offsets and sizes are multiples of what metadata::direct_io says.
  bool direct = false;

  fs::write_through write_through = write_through::no;

  /// Refuses a path whose last name is a symbolic link: too_many_symbolic_link_levels.
  bool no_follow = false;

  /// The path does not leave the directory that it begins at: see file::open_beneath().
  bool resolve_beneath = false;

  /// Returns at once where opening would wait for somebody, as for the other end of a FIFO. For paths that others
  /// choose: open, then look at metadata().kind.
  bool no_wait = false;

  /// Permissions of a file that is made, less the umask.
  ::mode_t permissions = 0666;
};

/// What is going to be read: POSIX_FADV_* of posix_fadvise(2). It changes how fast things are, and no result.
enum class access_advice : std::uint8_t {
  normal,      ///< Nothing in particular.
  sequential,  ///< One after the other: more is read ahead.
  random,      ///< Here and there: nothing is read ahead.
  will_need,   ///< Soon: it is read into memory now.
  wont_need    ///< No more: what is in memory, and on the device already, is let go.
};

class file {
 public:
  /// Takes over an open descriptor.
  explicit file(unique_fd opened) noexcept : fd_{std::move(opened)} {}

  /// Opens a file, close-on-exec.
  ///
  /// @errors         no_such_file_or_directory, permission_denied, file_exists, is_a_directory (to write), …: open(2)
  ///                 invalid_argument         the path has a NUL in it; options that do not go together; `direct`, and
  ///                                          its file system has no direct I/O
  ///                 operation_not_supported  `temporary`, and its file system has none
  ///                 too_many_files_open      RLIMIT_NOFILE
  /// @cancellation   Safe: nothing is leaked. A file may have been made, or emptied.
  /// @source         openat(2); openat2(2) with resolve_beneath. Linux 5.6.
  [[nodiscard]] static task<file> open(path_at path, open_options options = {});

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

  /// Reads bytes where the last read or write of this kind has ended: for pipes, terminals and devices, and for files
  /// that are read in order by one task. This makes a file what a buffered_reader reads from.
  ///
  /// @return        Bytes read; 0 at the end, and for an empty buffer. Fewer than asked for is normal.
  /// @cancellation  Safe: what was read is delivered.
  [[nodiscard]] ops::read read(buffer_ref buffer) const noexcept { return ops::read{fd_, buffer}; }

  /// Writes bytes there.
  ///
  /// @return        Bytes written. Fewer is normal.
  /// @cancellation  What was written is reported.
  [[nodiscard]] ops::write write(const_buffer_ref bytes) const noexcept { return ops::write{fd_, bytes}; }

  /// Fills the buffer from there on. As read_exactly_at(), but that a stop or a deadline loses what it had read.
  [[nodiscard]] task<> read_exactly(buffer_ref buffer) const;

  /// Writes all of the bytes there. As write_all_at().
  [[nodiscard]] task<> write_all(const_buffer_ref bytes) const;

  /// Reads bytes at a position. See ops::read.
  ///
  /// @param offset  Distance from the start of the file, in bytes. Beyond INT64_MAX there is none: invalid_argument.
  /// @return        Bytes read, at most buffer.size(). 0 means end of file, or an empty buffer. Fewer is normal.
  [[nodiscard]] ops::read read_at(buffer_ref buffer, std::uint64_t offset) const noexcept {
    return ops::read{fd_, buffer, position(offset)};
  }

  /// Writes bytes at a position. See ops::write.
  ///
  /// @param offset  As for read_at(). Beyond the end of the file: what lies between reads as zeros.
  /// @return        Bytes written, at most bytes.size(). Fewer is normal.
  [[nodiscard]] ops::write write_at(const_buffer_ref bytes, std::uint64_t offset) const noexcept {
    return ops::write{fd_, bytes, position(offset)};
  }

  /// Reads into several buffers, in their order, at a position. See ops::readv.
  ///
  /// @param buffers  At most IOV_MAX (1024). They, and the array itself, stay until the operation has ended.
  [[nodiscard]] ops::readv readv_at(iovec_ref buffers, std::uint64_t offset) const noexcept {
    return ops::readv{fd_, buffers, position(offset)};
  }

  /// Writes several buffers, in their order, at a position. See ops::writev.
  ///
  /// @param buffers  As for readv_at().
  [[nodiscard]] ops::writev writev_at(iovec_ref buffers, std::uint64_t offset) const noexcept {
    return ops::writev{fd_, buffers, position(offset)};
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

  /// What direct I/O asks of transfers of this file; nothing where there is none, or neither kernel (before Linux 6.1)
  /// nor file system says. See metadata().
  [[nodiscard]] task<std::optional<direct_alignment>> direct_io_alignment() const;

  /// Waits until what was written is on the device. See ops::fsync.
  [[nodiscard]] ops::fsync sync(ops::sync_what what = ops::sync_what::everything) const noexcept {
    return ops::fsync{fd_, what};
  }

  /// Has a part of the file written to its device, and waits for that. No promise that it survives a crash: that is
  /// sync()'s. See ops::sync_file_range.
  ///
  /// @param length  In bytes; 0 for all that follows.
  [[nodiscard]] ops::sync_file_range sync_range(std::uint64_t offset, std::uint64_t length) const noexcept;

  /// Makes room on the device for a part of the file, so that writing there does not run out of it. What is new reads
  /// as zeros; the file becomes longer where the part ends beyond it. See ops::fallocate.
  ///
  /// @errors  no_space_on_device, file_too_large, operation_not_supported (by the file system), …
  [[nodiscard]] ops::fallocate allocate(std::uint64_t offset, std::uint64_t length) const noexcept {
    return ops::fallocate{fd_, 0, offset, length};
  }

  /// Gives a part of the file back to its device: it reads as zeros then. The size stays. See ops::fallocate.
  [[nodiscard]] ops::fallocate punch_hole(std::uint64_t offset, std::uint64_t length) const noexcept;

  /// Makes the file as long as is said. See ops::ftruncate. Linux 6.9.
  [[nodiscard]] ops::ftruncate truncate(std::uint64_t length) const noexcept { return ops::ftruncate{fd_, length}; }

  /// Says how a part of the file is going to be read. See ops::fadvise.
  ///
  /// @param length  In bytes; 0 for all that follows.
  [[nodiscard]] ops::fadvise advise(access_advice advice, std::uint64_t offset = 0,
                                    std::uint64_t length = 0) const noexcept;

  /// Where the next data lies, at `offset` or behind it. What is between two pieces of data is a hole: it reads as
  /// zeros and takes no room. A file system that knows no holes has data everywhere.
  ///
  /// @return        The position; nothing when there is none up to the end of the file.
  /// @errors        invalid_seek (a pipe), bad_file_descriptor
  /// @cancellation  Safe.
  /// @limits        On a thread of the offload pool. **Moves the file's own position**, that of read() and write().
  /// @source        lseek(2), SEEK_DATA. Linux 3.1.
  [[nodiscard]] task<std::optional<std::uint64_t>> seek_data(std::uint64_t offset) const;

  /// Where the next hole begins, at `offset` or behind it; the end of the file is one. Nothing when the offset is at
  /// the end already, or beyond. Otherwise as seek_data().
  [[nodiscard]] task<std::optional<std::uint64_t>> seek_hole(std::uint64_t offset) const;

  /// Gives a file one more name; one that was opened with open_options::temporary, its first.
  ///
  /// @errors        file_exists, cross_device_link, no_such_file_or_directory (also where no /proc is mounted), …:
  ///                linkat(2)
  /// @cancellation  Once a kernel worker has begun it, it is done, and reported.
  [[nodiscard]] task<> link(path_at name) const;

  /// Closes the file and tells how that went: some file systems report a late write failure here. A file that is
  /// destroyed closes by itself, and asks nobody; nothing may be in flight on it then.
  [[nodiscard]] ops::close close() noexcept { return ops::close{std::move(fd_)}; }

  [[nodiscard]] fd_ref fd() const noexcept { return fd_; }

  /// Gives the descriptor away.
  [[nodiscard]] unique_fd release() noexcept { return std::move(fd_); }

 private:
  // The number that stands for the file's own position is none of the caller's: the kernel refuses its neighbour.
  static constexpr std::uint64_t position(std::uint64_t offset) noexcept {
    return offset == ops::current_position ? offset - 1 : offset;
  }

  unique_fd fd_;
};

}  // namespace gyre::fs
