// SPDX-License-Identifier: MIT
// A socket that takes TCP connections.
#pragma once

#include <gyre/net/address.hpp>
#include <gyre/net/listener_socket.hpp>
#include <gyre/net/tcp_stream.hpp>
#include <gyre/runtime/task.hpp>
#include <gyre/runtime/unique_fd.hpp>

#include <cstdint>
#include <utility>

namespace gyre::net {

/// Where and how to listen.
struct listen_options {
  /// The address to bind; its port is replaced by `port` when that is not 0. Default: 0.0.0.0, every IPv4 address of
  /// the machine, as servers are expected to: whoever can reach the machine can connect. address::loopback(0) is for
  /// this machine alone, address::any_v6(0) for IPv6 as well: see dual_stack.
  address at = address::any(0);

  /// 0: the kernel chooses; see tcp_listener::local_address().
  std::uint16_t port = 0;

  /// Connections that wait to be accepted; the kernel's net.core.somaxconn is an upper bound.
  int backlog = 4096;

  /// Whether several sockets, one an executor, may listen on the same port (SO_REUSEPORT).
  bool reuse_port = false;

  /// Whether a listener on [::] takes IPv4 connections too, whose peers then look like ::ffff:192.0.2.1: see
  /// address::unmapped(). Otherwise IPv6 alone, and another listener may have the port for IPv4. Whichever it is does
  /// not depend on net.ipv6.bindv6only. Of no effect on an IPv4 address.
  bool dual_stack = true;
};

/// A stream of connections.
using incoming_connections = incoming_streams<tcp_stream>;

/// What it does with connections: listener_socket.hpp.
class tcp_listener : public listener_socket<tcp_stream> {
 public:
  /// Binds and listens, at once: neither blocks. A server that restarts can bind while old connections linger
  /// (SO_REUSEADDR).
  ///
  /// @errors  std::system_error: address_in_use, permission_denied (a port below 1024), address_not_available.
  [[nodiscard]] static tcp_listener bind(listen_options options);

  /// Takes no more connections: accept() throws operation_canceled and incoming() ends, at once, whatever they wait
  /// for. Those in the backlog are reset, those that a stream has in store are closed. The port is free when it is
  /// over. A second close() does nothing.
  ///
  /// A listener that is destroyed closes by itself, when its last stream is gone too.
  ///
  /// @cancellation  Safe: it is closed in every case.
  [[nodiscard]] task<> close();

  /// What it is bound to; tells the port that the kernel chose.
  [[nodiscard]] address local_address() const;

 private:
  explicit tcp_listener(unique_fd listening) : listener_socket{std::move(listening)} {}
};

}  // namespace gyre::net
