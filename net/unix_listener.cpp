// SPDX-License-Identifier: MIT
// Listening on a path or a name, and closing with the file or without.
#include <gyre/net/detail/unix_calls.hpp>
#include <gyre/net/unix_listener.hpp>
#include <gyre/runtime/ops/file.hpp>

#include <sys/socket.h>

#include <utility>

namespace gyre::net {

task<unix_listener> unix_listener::bind(unix_listen_options options) {
  const detail::socket_binding how{.type = SOCK_STREAM,
                                   .at = options.at,
                                   .permissions = options.permissions,
                                   .replace_stale = options.replace_stale,
                                   .backlog = options.backlog};
  co_return unix_listener{co_await detail::bind_unix_socket(how), options.at, options.remove_on_close};
}

task<> unix_listener::close() {
  const auto file = std::exchange(file_to_remove_, std::nullopt);
  const unix_address at = at_;
  unique_fd closing = co_await shared()->end_all();
  // While the socket is open its file's number is nobody else's.
  if (file) co_await detail::remove_socket_file(at, *file);
  if (closing) co_await ops::close{std::move(closing)};
}

unix_address unix_listener::local_address() const { return detail::local_unix_address_of(fd()); }

}  // namespace gyre::net
