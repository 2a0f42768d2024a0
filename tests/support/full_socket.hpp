// SPDX-License-Identifier: MIT
// A connection over TCP that takes nothing more, and stays so.
#pragma once

#include <gyre/runtime/fd_ref.hpp>

#include <doctest/doctest.h>
#include <linux/filter.h>
#include <poll.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstddef>
#include <vector>

namespace gyre::test {
namespace full_socket {

// Nothing comes to the socket any more, and nothing is acknowledged. Returns whether that is allowed: the filters of
// some sandboxes forbid it.
inline bool drop_what_comes(fd_ref to) {
  ::sock_filter drop_all = BPF_STMT(BPF_RET | BPF_K, 0);
  const ::sock_fprog filter{.len = 1, .filter = &drop_all};
  const bool drops = ::setsockopt(to.get(), SOL_SOCKET, SO_ATTACH_FILTER, &filter, sizeof filter) == 0;
  if (!drops) REQUIRE(errno == EPERM);
  return drops;
}

inline void send_all_that_fits(fd_ref from) {
  constexpr std::size_t piece_bytes = 1 << 16;
  const std::vector<char> bytes(piece_bytes);
  while (::send(from.get(), bytes.data(), bytes.size(), MSG_DONTWAIT) > 0) {
  }
}

// TCP has moved some of it within 200 ms, in all of a hundred tries.
[[nodiscard]] inline bool has_room_soon(fd_ref from) {
  ::pollfd room{.fd = from.get(), .events = POLLOUT, .revents = 0};
  return ::poll(&room, 1, /*timeout_ms=*/500) == 1;
}

}  // namespace full_socket

/// So that nothing more can be sent from one end to the other. Nothing of it comes there either: else there would be
/// room again whenever TCP probes whether there is. Who may not have that waits until TCP is done. Returns whether it
/// stays full in any case.
inline bool fill_connection(fd_ref from, fd_ref to) {
  const bool drops = full_socket::drop_what_comes(to);
  do full_socket::send_all_that_fits(from);
  while (!drops && full_socket::has_room_soon(from));
  return drops;
}

}  // namespace gyre::test
