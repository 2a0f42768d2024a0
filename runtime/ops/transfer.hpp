// SPDX-License-Identifier: MIT
// How much one request can move.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

namespace gyre {
namespace ops {

/// read(2), NOTES: one call moves at most this many bytes on Linux, whatever it is asked for.
inline constexpr std::size_t transfer_bytes_max = 0x7fff'f000;

}  // namespace ops

namespace detail {

/// How many bytes one request is told to move of so many: the count that it gives says that it was a part.
[[nodiscard]] constexpr unsigned one_transfer(std::size_t bytes) noexcept {
  return static_cast<unsigned>(std::min(bytes, ops::transfer_bytes_max));
}

/// How many buffers it is told of. The kernel refuses more than IOV_MAX, as long as they do not wrap around here.
[[nodiscard]] constexpr unsigned one_vector(std::size_t buffers_count) noexcept {
  return static_cast<unsigned>(std::min(buffers_count, std::size_t{UINT32_MAX}));
}

}  // namespace detail
}  // namespace gyre
