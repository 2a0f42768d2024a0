// SPDX-License-Identifier: MIT
// Which addresses a socket of the internet has to do with.
#pragma once

#include <gyre/runtime/fd_ref.hpp>

#include <cstdint>

namespace gyre::net::detail {

enum class reach : std::uint8_t {
  v4,   ///< IPv4 alone.
  v6,   ///< IPv6 alone.
  both  ///< An IPv6 socket that takes IPv4 as well.
};

/// Asks the socket. One that has no such addresses is v4: what it is asked for then the kernel refuses.
[[nodiscard]] reach reach_of(fd_ref socket) noexcept;

}  // namespace gyre::net::detail
