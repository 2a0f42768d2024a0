// SPDX-License-Identifier: MIT
// Ending a connection.
#include <gyre/net/detail/end_socket.hpp>
#include <gyre/net/detail/socket_calls.hpp>
#include <gyre/net/stream_socket.hpp>
#include <gyre/runtime/scope.hpp>

#include <sys/socket.h>

#include <utility>

namespace gyre::net {

void stream_socket::shutdown_write() {
  if (::shutdown(fd_.get(), SHUT_WR) != 0) detail::throw_socket_error("shutdown");
}

task<> stream_socket::close() {
  end_streams();
  unique_fd closing = std::move(fd_);
  co_await shield(detail::end_socket(std::move(closing)));
}

}  // namespace gyre::net
