// SPDX-License-Identifier: MIT
// One file copied into another, both open: the contents, and what else there is of it. For files alone, and for those
// of a tree.
#pragma once

#include <gyre/fs/copy.hpp>
#include <gyre/fs/file.hpp>
#include <gyre/runtime/fd_ref.hpp>
#include <gyre/runtime/task.hpp>

#include <sys/stat.h>

#include <array>

namespace gyre::fs::detail {

/// What is copied of, as the kernel tells it: with times that a metadata cannot tell.
[[nodiscard]] task<struct ::statx> look_at(fd_ref opened);

/// Of the last access and the last change, for futimens(2).
[[nodiscard]] std::array<::timespec, 2> times_of(const struct ::statx& about) noexcept;

/// Permissions, and what else `what` says, from one open file or directory to another.
[[nodiscard]] task<> give_metadata(const file& from, const file& to, const struct ::statx& about, copied_metadata what);

/// As long as it is being written: never more open than it is to be.
[[nodiscard]] ::mode_t permissions_at_first(const struct ::statx& about, copied_metadata what) noexcept;

/// From the moment that both are open.
struct file_copy {
  const file& from;
  const struct ::statx& about;
  const copy_options& options;
  const copy_watcher& progress;
  copy_result result = {};

  [[nodiscard]] task<> fill(const file& to);
  [[nodiscard]] task<> fill_and_close(file to);
};

}  // namespace gyre::fs::detail
