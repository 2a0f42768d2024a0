// SPDX-License-Identifier: MIT
// Opening, ending and asking about a TCP connection.
#include <gyre/net/detail/socket_calls.hpp>
#include <gyre/net/tcp_stream.hpp>
#include <gyre/runtime/error.hpp>
#include <gyre/runtime/ops/cancel.hpp>
#include <gyre/runtime/ops/file.hpp>

#include <netinet/tcp.h>

#include <cerrno>

namespace gyre::net {

task<tcp_stream> tcp_stream::connect(address peer) {
  unique_fd socket = co_await ops::socket{peer.family(), SOCK_STREAM, IPPROTO_TCP};
  co_await ops::connect{socket, peer.data(), peer.size()};
  co_return tcp_stream{std::move(socket)};
}

void tcp_stream::shutdown_write() {
  if (::shutdown(fd_.get(), SHUT_WR) != 0) detail::throw_socket_error("shutdown");
}

task<> tcp_stream::close() {
  unique_fd closing = std::move(fd_);
  auto found = co_await ops::cancel_fd{closing};
  // A transfer that was half done when it was cancelled goes on with its rest; now that fails at once. When nothing
  // more is found, all that was found before has been reaped, and nobody asks for anything on a descriptor that is
  // about to be somebody else's.
  ::shutdown(closing.get(), SHUT_RDWR);
  while (found > 0) found = co_await ops::cancel_fd{closing};
  co_await ops::close{std::move(closing)};
}

address tcp_stream::local_address() const { return detail::local_address_of(fd_); }

address tcp_stream::peer_address() const { return detail::peer_address_of(fd_); }

void tcp_stream::set_no_delay(bool on) { detail::set_option(fd_, IPPROTO_TCP, TCP_NODELAY, on ? 1 : 0, "TCP_NODELAY"); }

}  // namespace gyre::net
