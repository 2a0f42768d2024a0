// SPDX-License-Identifier: MIT
// A socket that takes connections from processes of this machine.
#pragma once

#include <gyre/net/detail/socket_file.hpp>
#include <gyre/net/listener_socket.hpp>
#include <gyre/net/unix_address.hpp>
#include <gyre/net/unix_stream.hpp>
#include <gyre/runtime/task.hpp>

#include <sys/types.h>

#include <optional>
#include <utility>

namespace gyre::net {

/// Where and how to listen.
struct unix_listen_options {
  /// A path or an abstract name. The unnamed address: an abstract name that the kernel chooses.
  unix_address at{};

  /// Connections that wait to be accepted; the kernel's net.core.somaxconn is an upper bound.
  int backlog = 4096;

  /// The permissions of the file, whatever the umask; who may write to it may connect. At no moment it has more. Empty:
  /// 0777 less the umask. Of no effect on an abstract name, to which everybody may connect.
  std::optional<::mode_t> permissions{};

  /// Whether a file that an earlier server has left is removed first: one that is a socket, and to which nobody is
  /// bound any more. To find out it is connected to, which a server that is there sees as a connection that ends.
  /// Servers that start at once take turns (a lock of the folder, which has to be readable); one of them wins.
  bool replace_stale = false;

  /// Whether close() removes the file.
  bool remove_on_close = true;
};

/// A stream of connections.
using incoming_unix_connections = incoming_streams<unix_stream>;

/// What it does with connections: listener_socket.hpp.
class unix_listener : public listener_socket<unix_stream> {
 public:
  /// Binds and listens. Where the address is a path that is done on a thread of offload_pool::common(), as file systems
  /// may be slow.
  ///
  /// @errors        address_in_use      somebody listens there; or has, and replace_stale is off
  ///                file_exists         replace_stale, and what is there is no socket: it stays
  ///                permission_denied, no_such_file_or_directory (the folder), read_only_file_system, …: bind(2)
  ///                resource_unavailable_try_again   replace_stale, and somebody keeps the folder locked for a second
  /// @cancellation  A bind that has begun is waited for. Where nobody takes the listener its file stays.
  [[nodiscard]] static task<unix_listener> bind(unix_listen_options options);

  /// Takes no more connections: accept() throws operation_canceled and incoming() ends, at once, whatever they wait
  /// for. Those in the backlog are reset, those that a stream has in store are closed. Then removes the file, unless
  /// remove_on_close is off, or another one is at its path by now. A second close() does nothing.
  ///
  /// A listener that is destroyed closes by itself, when its last stream is gone too; its file stays, as one that
  /// replace_stale finds. Who wants it gone after a stop too: co_await shield(listener.close()).
  ///
  /// @errors        permission_denied, …: the file could not be removed. The listener is closed.
  /// @cancellation  Safe: it is closed in every case. The file may stay.
  [[nodiscard]] task<> close();

  /// What it is bound to; tells the name that the kernel chose.
  [[nodiscard]] unix_address local_address() const;

 private:
  explicit unix_listener(detail::bound_socket bound, const unix_address& at, bool remove_on_close)
      : listener_socket{std::move(bound.socket)},
        at_{at},
        file_to_remove_{remove_on_close ? bound.file : std::nullopt} {}

  unix_address at_;
  std::optional<detail::file_identity> file_to_remove_;
};

}  // namespace gyre::net
