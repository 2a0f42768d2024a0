// SPDX-License-Identifier: MIT
// How much one request can move.
#pragma once

#include <cstddef>

namespace gyre::ops {

/// read(2), NOTES: one call moves at most this many bytes on Linux, whatever it is asked for.
inline constexpr std::size_t transfer_bytes_max = 0x7fff'f000;

}  // namespace gyre::ops
