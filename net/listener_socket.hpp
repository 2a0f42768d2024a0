// SPDX-License-Identifier: MIT
// What all listeners have in common, whatever they listen on: connections one by one, or as a stream.
#pragma once

#include <gyre/net/detail/accepting.hpp>
#include <gyre/net/socket_options.hpp>
#include <gyre/runtime/assert.hpp>
#include <gyre/runtime/fd_ref.hpp>
#include <gyre/runtime/task.hpp>
#include <gyre/runtime/unique_fd.hpp>

#include <memory>
#include <optional>
#include <utility>

namespace gyre::net {

/// A stream of connections: `while (auto peer = co_await incoming.next())`.
template <class Stream>
class incoming_streams {
 public:
  explicit incoming_streams(std::shared_ptr<detail::listening_socket> from) : from_{std::move(from)} {}

  /// The next connection; empty when the listener was shut down, after those that had come, or closed, at once.
  ///
  /// @errors        As listener_socket::accept(). Where memory is used up in the middle of a burst, connections that
  ///                have come are closed; that is logged as any other shortage.
  /// @cancellation  Safe: a connection that has come stays in the stream, and is closed with it. One in store is
  ///                delivered, also in a scope that is cancelled.
  [[nodiscard]] task<std::optional<Stream>> next() { return from_.next_as<Stream>(); }

 private:
  detail::incoming_descriptors from_;
};

/// The base of tcp_listener and unix_listener, and no type to be had by itself.
template <class Stream>
class listener_socket {
 public:
  /// Takes the next connection. Connections that were aborted before they were taken are passed over. While there is no
  /// room for one more (descriptors, memory), it waits and tries again: the connection stays in the backlog. That is
  /// logged once for a storm of it, and again when the last time was a minute ago.
  ///
  /// @errors        operation_canceled: the listener was closed. invalid_argument: it was shut down.
  /// @cancellation  Safe: a connection is delivered, or stays in the backlog.
  [[nodiscard]] task<Stream> accept() { return detail::accept_as<Stream>(shared()); }

  /// The connections as they come, by one request that stays in the kernel: cheaper than accept() for a server.
  ///
  /// @cancellation  See ops::accept_stream.
  [[nodiscard]] incoming_streams<Stream> incoming() { return incoming_streams<Stream>{shared()}; }

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

 protected:
  explicit listener_socket(unique_fd listening)
      : socket_{std::make_shared<detail::listening_socket>(std::move(listening))} {}
  listener_socket(listener_socket&&) noexcept = default;
  listener_socket& operator=(listener_socket&&) noexcept = default;
  ~listener_socket() = default;

  [[nodiscard]] const std::shared_ptr<detail::listening_socket>& shared() const noexcept {
    GYRE_ASSERT(socket_ != nullptr, "a listener that was moved away takes no connections");
    return socket_;
  }

 private:
  std::shared_ptr<detail::listening_socket> socket_;  // its streams have it too
};

}  // namespace gyre::net
