// SPDX-License-Identifier: MIT
// The end of a socket that somebody may still wait on; and the wait for room in one.
#pragma once

#include <gyre/runtime/fd_ref.hpp>
#include <gyre/runtime/task.hpp>
#include <gyre/runtime/unique_fd.hpp>

namespace gyre::net::detail {

/// Ends whatever is in flight on a socket that is about to be closed. To be awaited in a shield(): half done, what is
/// in flight would keep the socket without its number.
[[nodiscard]] task<> end_requests(fd_ref closing);

/// The same, and closes it.
[[nodiscard]] task<> end_socket(unique_fd closing);

/// Waits until a socket has room to be written to, or is broken. For who was told so once and found none: a poll, or a
/// send of no bytes, ends at once and every time where the peer has ended its own direction, or has sent urgent data,
/// whatever was asked for. This one hears of that once, and then of the room when it comes.
///
/// @errors  std::system_error: somebody has closed the socket meanwhile, or there is no memory to wait with.
[[nodiscard]] task<> wait_for_room(fd_ref socket);

}  // namespace gyre::net::detail
