// SPDX-License-Identifier: MIT
// Where a file has ended, for reads that are continued until all is there.
//
// Nothing read is the end. With direct I/O one cannot ask again behind a last read that is not aligned: the kernel
// refuses that offset. But only the end of a file leaves one there.
#pragma once

#include <gyre/fs/file.hpp>

#include <fcntl.h>

#include <cstddef>
#include <cstdint>

namespace gyre::fs::detail {

class ends_of_reads {
 public:
  /// Asks for the flags of the open file: F_GETFL of fcntl(2), which never blocks.
  explicit ends_of_reads(const file& from) noexcept : is_direct_{has_direct(::fcntl(from.fd().get(), F_GETFL))} {}

  /// Whether a read of `count` bytes at `offset` has come to the end.
  [[nodiscard]] bool is_end(std::uint64_t offset, std::size_t count) const noexcept {
    return count == 0 || (is_direct_ && (offset + count) % least_alignment != 0);
  }

 private:
  static constexpr std::uint64_t least_alignment = 512;
  static bool has_direct(int flags) noexcept { return flags >= 0 && (flags & O_DIRECT) != 0; }

  bool is_direct_;
};

}  // namespace gyre::fs::detail
