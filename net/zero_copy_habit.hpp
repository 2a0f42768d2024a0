// SPDX-License-Identifier: MIT
// Whether a send without a copy pays on a connection: a size, learned from what the kernel says of each.
//
//   copied after all     twice as much as that was, before it is tried again: the way there takes no pages
//   not copied           half as much, but not below where it begins: the bookkeeping costs more than to copy so little
//   not to be had        never again: no socket of the network's, or an older kernel
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

namespace gyre::net {

/// From how many bytes on a connection sends without a copy.
class zero_copy_habit {
 public:
  /// Where it begins: ops::send_zc has what was measured.
  static constexpr std::size_t least_bytes = std::size_t{16} << 10;

  [[nodiscard]] bool is_worth_it(std::size_t bytes) const noexcept { return bytes >= from_bytes_; }

  /// What became of a send of so many bytes.
  void learn(std::size_t bytes, bool was_copied) noexcept {
    if (was_copied) from_bytes_ = std::max(from_bytes_, bytes < never / 2 ? bytes * 2 : never);
    else if (from_bytes_ != never) from_bytes_ = std::max(from_bytes_ / 2, least_bytes);
  }

  void give_up() noexcept { from_bytes_ = never; }

 private:
  static constexpr std::size_t never = SIZE_MAX;

  std::size_t from_bytes_ = least_bytes;
};

}  // namespace gyre::net
