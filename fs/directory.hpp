// SPDX-License-Identifier: MIT
// A directory that is open: what is in it, and where paths below it begin.
//
// io_uring cannot read directories: getdents64(2) runs on the offload pool, a batch of names at a time. All else is
// operations of the ring. Trees: walk.hpp, remove_all.hpp.
#pragma once

#include <gyre/fs/metadata.hpp>
#include <gyre/fs/path_at.hpp>
#include <gyre/runtime/fd_ref.hpp>
#include <gyre/runtime/ops/file.hpp>
#include <gyre/runtime/stream.hpp>
#include <gyre/runtime/task.hpp>
#include <gyre/runtime/unique_fd.hpp>

#include <cstdint>
#include <string>
#include <utility>

namespace gyre::fs {

/// A name in a directory.
struct directory_entry {
  std::string name;
  file_kind kind = file_kind::other;  ///< Of the name itself: a link is a link.
  std::uint64_t inode = 0;
};

struct open_directory_options {
  /// Refuses a path whose last name is a symbolic link: not_a_directory.
  bool no_follow = false;

  /// The path does not leave the directory that it begins at: see file::open_beneath().
  bool resolve_beneath = false;
};

class directory {
 public:
  /// Takes over an open descriptor.
  explicit directory(unique_fd opened) noexcept : fd_{std::move(opened)} {}

  /// Opens a directory for reading, close-on-exec.
  ///
  /// @errors        not_a_directory, no_such_file_or_directory, permission_denied, too_many_files_open, …: open(2);
  ///                invalid_argument: the path has a NUL in it
  /// @cancellation  Safe: nothing is leaked.
  /// @source        openat(2), openat2(2). Linux 5.6.
  [[nodiscard]] static task<directory> open(path_at path, open_directory_options options = {});

  /// What is in it, but for "." and "..", in no particular order. Each stream reads from the beginning.
  ///
  /// What is there all the time is given once; what comes or goes meanwhile may be given or not. The directory stays
  /// open until the first next() has returned.
  ///
  /// @errors        no_such_file_or_directory (it has been removed), io_error, permission_denied (it may be read and
  ///                not entered): getdents64(2), open(2)
  /// @cancellation  Safe.
  /// @limits        A batch of some hundreds of names at a time, 64 KiB. Where the file system does not say what kind a
  ///                name is of, each is asked for.
  /// @source        getdents64(2).
  [[nodiscard]] stream<directory_entry> entries() const;

  /// What it is. See file::metadata().
  [[nodiscard]] task<fs::metadata> metadata() const;

  /// A path that begins here.
  [[nodiscard]] path_at at(std::string name) const { return path_at{fd_, std::move(name)}; }

  /// Waits until the names that were made, removed and renamed in it are on the device. See ops::fsync.
  [[nodiscard]] ops::fsync sync() const noexcept { return ops::fsync{fd_}; }

  /// Closes it. Nothing may be in flight on it then. See ops::close.
  [[nodiscard]] ops::close close() noexcept { return ops::close{std::move(fd_)}; }

  [[nodiscard]] fd_ref fd() const noexcept { return fd_; }

  /// Gives the descriptor away.
  [[nodiscard]] unique_fd release() noexcept { return std::move(fd_); }

 private:
  unique_fd fd_;
};

}  // namespace gyre::fs
