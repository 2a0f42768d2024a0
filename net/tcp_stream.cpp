// SPDX-License-Identifier: MIT
// Opening a TCP connection, and asking about it.
#include <gyre/net/detail/socket_calls.hpp>
#include <gyre/net/tcp_stream.hpp>
#include <gyre/runtime/ops/socket.hpp>

#include <netinet/tcp.h>

namespace gyre::net {

task<tcp_stream> tcp_stream::connect(address peer) {
  unique_fd socket = co_await ops::socket{peer.family(), SOCK_STREAM, IPPROTO_TCP};
  co_await ops::connect{socket, peer.data(), peer.size()};
  co_return tcp_stream{std::move(socket)};
}

address tcp_stream::local_address() const { return detail::local_address_of(fd()); }

address tcp_stream::peer_address() const { return detail::peer_address_of(fd()); }

void tcp_stream::set_no_delay(bool on) {
  detail::set_option(fd(), IPPROTO_TCP, TCP_NODELAY, on ? 1 : 0, "TCP_NODELAY");
}

}  // namespace gyre::net
