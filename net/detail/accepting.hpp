// SPDX-License-Identifier: MIT
// Taking connections from a listening socket, whatever it listens on: which errors end that, and which do not.
//
// The socket is shared by its listener and by all who take connections from it, so that its number is theirs until the
// last of them is gone: nobody asks for connections on a descriptor that is somebody else's by then.
//
//   listening -> closing   close(): who waits is ended, and nobody begins anew
//   closing -> closed      the kernel has let go of every request on it
#pragma once

#include <gyre/net/detail/shortage_notice.hpp>
#include <gyre/runtime/as_result.hpp>
#include <gyre/runtime/fd_ref.hpp>
#include <gyre/runtime/ops/accept_stream.hpp>
#include <gyre/runtime/ops/open_streams.hpp>
#include <gyre/runtime/ops/socket.hpp>
#include <gyre/runtime/task.hpp>
#include <gyre/runtime/unique_fd.hpp>
#include <gyre/sync/event.hpp>

#include <memory>
#include <optional>
#include <system_error>
#include <utility>

namespace gyre::net::detail {

class listening_socket {
 public:
  explicit listening_socket(unique_fd listening) noexcept : fd_{std::move(listening)} {}

  [[nodiscard]] fd_ref fd() const noexcept { return fd_; }
  [[nodiscard]] bool is_closing() const noexcept { return closing_.is_set(); }

  /// A stream of its connections, which close() ends: those that nobody has taken from it are closed with the listener.
  [[nodiscard]] ops::accept_stream make_stream() {
    ops::accept_stream made{fd_};
    streams_.add(made);
    return made;
  }

  /// Ends all that waits for connections: from then on nobody asks for any. Gives the descriptor, of which the kernel
  /// has let go, to be closed; none where somebody else has it already.
  [[nodiscard]] task<unique_fd> end_all();

  /// The same, and closes it.
  [[nodiscard]] task<> close();

  /// An accept has failed. Returns when there is sense in another one, and throws where there is none.
  [[nodiscard]] task<> outlive(std::error_code error);

 private:
  [[nodiscard]] task<> wait_out(std::error_code shortage);

  unique_fd fd_;
  sync::event closing_;  // its waiters hold the socket
  shortage_notice notice_;
  ops::open_streams streams_;
};

/// Throws what an accept() on a listener that was closed gives.
[[noreturn]] void throw_closed();

/// The next connection, as a `Stream` that is made of its descriptor.
template <class Stream>
[[nodiscard]] task<Stream> accept_as(std::shared_ptr<listening_socket> from) {
  for (;;) {
    if (from->is_closing()) throw_closed();
    auto accepted = co_await as_result(ops::accept{from->fd()});
    if (accepted) co_return Stream{std::move(*accepted)};
    co_await from->outlive(accepted.error());
  }
}

/// Connections as they come, by one request.
class incoming_descriptors {
 public:
  explicit incoming_descriptors(std::shared_ptr<listening_socket> from) : from_{std::move(from)} {}

  /// The next one; empty when the listener was shut down, or closed.
  template <class Stream>
  [[nodiscard]] task<std::optional<Stream>> next_as() {
    for (;;) {
      if (from_->is_closing()) co_return std::nullopt;
      auto accepted = co_await as_result(accepted_.next());
      if (accepted && !*accepted) co_return std::nullopt;
      if (accepted) co_return Stream{std::move(*accepted)};
      if (!from_->is_closing()) co_await from_->outlive(accepted.error());
    }
  }

 private:
  std::shared_ptr<listening_socket> from_;
  ops::accept_stream accepted_{from_->make_stream()};
};

}  // namespace gyre::net::detail
