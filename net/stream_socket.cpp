// SPDX-License-Identifier: MIT
// Ending a connection.
#include <gyre/net/detail/socket_calls.hpp>
#include <gyre/net/stream_socket.hpp>
#include <gyre/runtime/ops/cancel.hpp>
#include <gyre/runtime/ops/file.hpp>

#include <sys/socket.h>

namespace gyre::net {

void stream_socket::shutdown_write() {
  if (::shutdown(fd_.get(), SHUT_WR) != 0) detail::throw_socket_error("shutdown");
}

task<> stream_socket::close() {
  unique_fd closing = std::move(fd_);
  auto found = co_await ops::cancel_fd{closing};
  // A transfer that was half done when it was cancelled goes on with its rest; now that fails at once. When nothing
  // more is found, all that was found before has been reaped, and nobody asks for anything on a descriptor that is
  // about to be somebody else's.
  ::shutdown(closing.get(), SHUT_RDWR);
  while (found > 0) found = co_await ops::cancel_fd{closing};
  co_await ops::close{std::move(closing)};
}

}  // namespace gyre::net
