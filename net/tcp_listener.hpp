// SPDX-License-Identifier: MIT
// A socket that takes TCP connections.
#pragma once

#include <gyre/net/address.hpp>
#include <gyre/net/detail/accepting.hpp>
#include <gyre/net/socket_options.hpp>
#include <gyre/net/tcp_stream.hpp>
#include <gyre/runtime/assert.hpp>
#include <gyre/runtime/fd_ref.hpp>
#include <gyre/runtime/task.hpp>
#include <gyre/runtime/unique_fd.hpp>

#include <cstdint>
#include <memory>
#include <optional>
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

class incoming_connections;

class tcp_listener {
 public:
  tcp_listener(tcp_listener&&) noexcept = default;
  tcp_listener& operator=(tcp_listener&&) noexcept = default;
  ~tcp_listener() = default;

  /// Binds and listens, at once: neither blocks. A server that restarts can bind while old connections linger
  /// (SO_REUSEADDR).
  ///
  /// @errors  std::system_error: address_in_use, permission_denied (a port below 1024), address_not_available.
  [[nodiscard]] static tcp_listener bind(listen_options options);

  /// Takes the next connection. Connections that were aborted before they were taken are passed over. While there is no
  /// room for one more (descriptors, memory), it waits and tries again: the connection stays in the backlog. That is
  /// logged once for a storm of it, and again when the last time was a minute ago.
  ///
  /// @errors        operation_canceled: the listener was closed. invalid_argument: it was shut down.
  /// @cancellation  Safe: a connection is delivered, or stays in the backlog.
  [[nodiscard]] task<tcp_stream> accept();

  /// The connections as they come, by one request that stays in the kernel: cheaper than accept() for a server.
  ///
  /// @cancellation  See ops::accept_stream.
  [[nodiscard]] incoming_connections incoming();

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

  /// Sets an option of socket_options.hpp. What connections have in common, such as buffers, they take from the
  /// listener.
  ///
  /// @errors  std::system_error that names the option: setsockopt(2)
  template <socket_option Option>
  void set(const Option& option) {
    Option::apply(fd(), option);
  }
  template <socket_option Option>
  [[nodiscard]] Option get() const {
    return Option::ask(fd());
  }

  [[nodiscard]] fd_ref fd() const noexcept { return socket_ ? socket_->fd() : fd_ref{-1}; }

 private:
  explicit tcp_listener(unique_fd listening)
      : socket_{std::make_shared<detail::listening_socket>(std::move(listening))} {}

  [[nodiscard]] const std::shared_ptr<detail::listening_socket>& shared() const noexcept {
    GYRE_ASSERT(socket_ != nullptr, "a listener that was moved away takes no connections");
    return socket_;
  }

  std::shared_ptr<detail::listening_socket> socket_;  // its streams have it too
};

/// A stream of connections: `while (auto peer = co_await incoming.next())`.
class incoming_connections {
 public:
  /// The next connection; empty when the listener was shut down, after those that had come, or closed, at once.
  ///
  /// @errors        As tcp_listener::accept(). Where memory is used up in the middle of a burst, connections that have
  ///                come are closed; that is logged as any other shortage.
  /// @cancellation  Safe: a connection that has come stays in the stream, and is closed with it. One in store is
  ///                delivered, also in a scope that is cancelled.
  [[nodiscard]] task<std::optional<tcp_stream>> next();

 private:
  friend tcp_listener;
  explicit incoming_connections(std::shared_ptr<detail::listening_socket> from) : from_{std::move(from)} {}

  detail::incoming_descriptors from_;
};

}  // namespace gyre::net
