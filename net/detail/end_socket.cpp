// SPDX-License-Identifier: MIT
// Ending all that is in flight, in the order in which nothing begins anew; and an edge-triggered poll for room.
#include <gyre/net/detail/end_socket.hpp>
#include <gyre/runtime/ops/cancel.hpp>
#include <gyre/runtime/ops/file.hpp>
#include <gyre/runtime/ops/poll.hpp>

#include <poll.h>
#include <sys/socket.h>

#include <cstdint>
#include <utility>

namespace gyre::net::detail {

task<> end_requests(fd_ref closing) {
  auto found = co_await ops::cancel_fd{closing};
  // A transfer that was half done when it was cancelled goes on with its rest; now that fails at once. When nothing
  // more is found, all that was found before has been reaped, and nobody asks for anything on a descriptor that is
  // about to be somebody else's. A datagram socket that is connected to nobody calls this an error, and does it.
  ::shutdown(closing.get(), SHUT_RDWR);
  while (found > 0) found = co_await ops::cancel_fd{closing};
}

task<> end_socket(unique_fd closing) {
  co_await end_requests(closing);
  co_await ops::close{std::move(closing)};
}

task<> wait_for_room(fd_ref socket) {
  ops::poll_stream room{socket, POLLOUT};
  for (std::uint32_t events = 0; (events & (POLLOUT | POLLERR | POLLHUP)) == 0;) events = co_await room.next();
  co_await ops::poll_remove{room};
}

}  // namespace gyre::net::detail
