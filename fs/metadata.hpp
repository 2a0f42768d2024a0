// SPDX-License-Identifier: MIT
// What a file is: its kind, size, times and permissions, as a value.
#pragma once

#include <sys/stat.h>

#include <chrono>
#include <cstdint>

namespace gyre::fs {

enum class file_kind : std::uint8_t {
  regular,
  directory,
  symbolic_link,
  other  ///< A FIFO, a socket, a device.
};

struct metadata {
  using time_point = std::chrono::sys_time<std::chrono::nanoseconds>;

  /// From what the kernel filled in.
  [[nodiscard]] static metadata from_kernel(const struct ::statx& found) noexcept;

  [[nodiscard]] bool is_regular() const noexcept { return kind == file_kind::regular; }
  [[nodiscard]] bool is_directory() const noexcept { return kind == file_kind::directory; }

  file_kind kind = file_kind::other;
  std::uint32_t permissions = 0;  ///< The lower twelve bits of the mode: 0755 and the like.
  std::uint64_t size_bytes = 0;
  std::uint64_t inode = 0;
  std::uint64_t device = 0;  ///< Inode and device together tell one file from every other.
  std::uint64_t links_count = 0;
  time_point modified;  ///< When the contents changed last.
};

}  // namespace gyre::fs
