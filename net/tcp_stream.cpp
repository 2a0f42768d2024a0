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
  co_await ops::cancel_fd{closing};
  co_await ops::close{std::move(closing)};
}

address tcp_stream::local_address() const { return detail::local_address_of(fd_); }

address tcp_stream::peer_address() const { return detail::peer_address_of(fd_); }

void tcp_stream::set_no_delay(bool on) { detail::set_option(fd_, IPPROTO_TCP, TCP_NODELAY, on ? 1 : 0, "TCP_NODELAY"); }

}  // namespace gyre::net
