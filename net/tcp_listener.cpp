// SPDX-License-Identifier: MIT
// Binding and listening.
#include <gyre/net/detail/socket_calls.hpp>
#include <gyre/net/tcp_listener.hpp>

#include <netinet/in.h>
#include <sys/socket.h>

#include <utility>

namespace gyre::net {

tcp_listener tcp_listener::bind(listen_options options) {
  const address at = options.port != 0 ? options.at.with_port(options.port) : options.at;
  unique_fd socket{::socket(at.family(), SOCK_STREAM | SOCK_CLOEXEC, IPPROTO_TCP)};
  if (!socket) detail::throw_socket_error("socket");
  detail::set_option(socket, SOL_SOCKET, SO_REUSEADDR, 1, "SO_REUSEADDR");
  if (at.is_v6()) detail::set_option(socket, IPPROTO_IPV6, IPV6_V6ONLY, options.dual_stack ? 0 : 1, "IPV6_V6ONLY");
  if (options.reuse_port) detail::set_option(socket, SOL_SOCKET, SO_REUSEPORT, 1, "SO_REUSEPORT");
  if (::bind(socket.get(), at.data(), at.size()) != 0) detail::throw_socket_error(("bind " + at.to_string()).c_str());
  if (::listen(socket.get(), options.backlog) != 0) detail::throw_socket_error("listen");
  return tcp_listener{std::move(socket)};
}

task<> tcp_listener::close() { return shared()->close(); }

address tcp_listener::local_address() const { return detail::local_address_of(fd()); }

}  // namespace gyre::net
