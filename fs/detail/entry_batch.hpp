// SPDX-License-Identifier: MIT
// Names of a directory, a batch at a time: what directories, walks and removals read with.
#pragma once

#include <gyre/fs/directory.hpp>
#include <gyre/runtime/task.hpp>

#include <optional>
#include <span>
#include <vector>

namespace gyre::fs::detail {

/// Reads an open directory from where its descriptor stands.
class entry_batch {
 public:
  /// The next name but "." and ".."; nothing at the end. `fd` is the same each time, and stays open.
  [[nodiscard]] task<std::optional<directory_entry>> next(int fd);

  /// Forgets what it has read and not given.
  void clear() noexcept;

 private:
  task<> read(int fd);

  std::vector<directory_entry> entries_;
  std::size_t given_count_ = 0;
  bool ended_ = false;  // there is nothing behind this batch
};

/// What getdents64(2) has written, but for "." and "..".
[[nodiscard]] std::vector<directory_entry> parse_entries(std::span<const char> bytes);

}  // namespace gyre::fs::detail
