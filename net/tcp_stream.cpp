// SPDX-License-Identifier: MIT
// Opening a TCP connection, and asking about it.
#include <gyre/net/detail/socket_calls.hpp>
#include <gyre/net/tcp_stream.hpp>
#include <gyre/runtime/as_result.hpp>
#include <gyre/runtime/ops/cancel.hpp>
#include <gyre/runtime/ops/file.hpp>
#include <gyre/runtime/ops/socket.hpp>

#include <netinet/tcp.h>
#include <sys/socket.h>

#include <system_error>

namespace gyre::net {

task<tcp_stream> tcp_stream::connect(address peer) {
  unique_fd socket = co_await ops::socket{peer.family(), SOCK_STREAM, IPPROTO_TCP};
  const auto connected = co_await as_result(ops::connect{socket, peer.data(), peer.size()});
  if (!connected) throw std::system_error{connected.error(), "connect " + peer.to_string()};
  co_return tcp_stream{std::move(socket)};
}

task<> tcp_stream::reset() {
  unique_fd resetting = release();
  // However it comes to be closed, by a stop in one of these waits too.
  const ::linger at_once{.l_onoff = 1, .l_linger = 0};
  ::setsockopt(resetting.get(), SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
  auto found = co_await ops::cancel_fd{resetting};
  // As in close(): what goes on with its rest fails at once from here on. A shutdown would send an end before the
  // reset; to be connected to nobody is tcp(7)'s way to reset a connection that stays a socket.
  const ::sockaddr nobody{.sa_family = AF_UNSPEC, .sa_data = {}};
  ::connect(resetting.get(), &nobody, sizeof nobody);
  while (found > 0) found = co_await ops::cancel_fd{resetting};
  co_await ops::close{std::move(resetting)};
}

address tcp_stream::local_address() const { return detail::local_address_of(fd()); }

address tcp_stream::peer_address() const { return detail::peer_address_of(fd()); }

void tcp_stream::set_no_delay(bool on) {
  detail::set_option(fd(), IPPROTO_TCP, TCP_NODELAY, on ? 1 : 0, "TCP_NODELAY");
}

}  // namespace gyre::net
