// SPDX-License-Identifier: MIT
// What a file is: its kind, size, times, owner and permissions, as a value.
#pragma once

#include <sys/stat.h>

#include <chrono>
#include <cstdint>
#include <optional>

namespace gyre::fs {

enum class file_kind : std::uint8_t {
  regular,
  directory,
  symbolic_link,
  fifo,
  socket,
  character_device,
  block_device,
  other  ///< None of these, or none that its file system tells.
};

/// What direct I/O (open_options::direct) asks of a transfer.
struct direct_alignment {
  std::uint32_t memory_bytes = 0;  ///< The address of the buffer is a multiple of it.
  std::uint32_t offset_bytes = 0;  ///< Offset and size are multiples of it.
};

/// What is told of a file.
///
/// Times are nanoseconds since 1970 in 64 bits, and so lie between 1677 and 2262. A file system may keep others: one
/// that lies outside is told as the first or the last that there is.
struct metadata {
  using time_point = std::chrono::sys_time<std::chrono::nanoseconds>;

  /// What metadata() asks for: STATX_* of statx(2).
  static const unsigned mask;

  /// From what the kernel filled in.
  [[nodiscard]] static metadata from_kernel(const struct ::statx& found) noexcept;

  [[nodiscard]] bool is_regular() const noexcept { return kind == file_kind::regular; }
  [[nodiscard]] bool is_directory() const noexcept { return kind == file_kind::directory; }
  [[nodiscard]] bool is_symbolic_link() const noexcept { return kind == file_kind::symbolic_link; }

  /// Whether both are of one file, however it was found.
  [[nodiscard]] bool is_same_file(const metadata& other) const noexcept {
    return inode == other.inode && device == other.device;
  }

  file_kind kind = file_kind::other;
  std::uint32_t permissions = 0;  ///< The lower twelve bits of the mode: 0755 and the like.
  std::uint32_t owner = 0;        ///< User id.
  std::uint32_t group = 0;        ///< Group id.
  std::uint64_t size_bytes = 0;
  std::uint64_t allocated_bytes = 0;   ///< What it takes on its device: less than its size where it has holes.
  std::uint32_t best_block_bytes = 0;  ///< A size of transfers that its file system likes.
  std::uint64_t inode = 0;
  std::uint64_t device = 0;  ///< Inode and device together tell one file from every other.
  std::uint64_t links_count = 0;
  time_point modified;                    ///< When the contents changed last.
  time_point changed;                     ///< When anything of it changed last, its metadata too. Nobody can set it.
  time_point accessed;                    ///< When it was read last, as far as its file system keeps that.
  std::optional<time_point> created;      ///< Empty where its file system does not know.
  std::optional<std::uint64_t> mount_id;  ///< Of the mount that it was found in. Linux 5.8.
  std::optional<direct_alignment> direct_io;  ///< Empty: no direct I/O, or nobody says. Linux 6.1.
};

}  // namespace gyre::fs
