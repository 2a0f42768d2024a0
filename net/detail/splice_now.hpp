// SPDX-License-Identifier: MIT
// Bytes of a pipe into a socket, as many as it takes without a wait.
#pragma once

#include <gyre/runtime/fd_ref.hpp>
#include <gyre/runtime/result.hpp>

#include <cstddef>

namespace gyre::net::detail {

/// Moves up to `count` bytes that lie in the pipe into the socket, by splice(2) on this thread. Neither waits nor
/// raises SIGPIPE.
///
/// @return  How many bytes; resource_unavailable_try_again: the socket has no room. As splice(2), else.
[[nodiscard]] result<std::size_t> splice_now(fd_ref pipe, fd_ref socket, std::size_t count) noexcept;

}  // namespace gyre::net::detail
