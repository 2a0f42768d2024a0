// SPDX-License-Identifier: MIT
// Binding, listening and taking connections.
#include <gyre/net/detail/socket_calls.hpp>
#include <gyre/net/tcp_listener.hpp>
#include <gyre/runtime/log.hpp>
#include <gyre/runtime/timer.hpp>

#include <cerrno>
#include <chrono>
#include <system_error>
#include <utility>

namespace gyre::net {
namespace {

// accept(2), ERRORS: errors of the new connection that say nothing about the listener. Whoever accepts goes on.
bool concerns_one_peer(std::error_code error) noexcept {
  switch (error.value()) {
    case ECONNABORTED:
    case EPROTO:
    case EINTR:
    case ENETDOWN:
    case ENOPROTOOPT:
    case EHOSTDOWN:
    case ENONET:
    case EHOSTUNREACH:
    case EOPNOTSUPP:
    case ENETUNREACH:
      return error.category() == std::system_category();
    default:
      return false;
  }
}

// accept(2), ERRORS: there is no room for one more connection now. It stays in the backlog until there is.
bool is_shortage(std::error_code error) noexcept {
  const int value = error.value();
  const bool known = value == EMFILE || value == ENFILE || value == ENOBUFS || value == ENOMEM;
  return known && error.category() == std::system_category();
}

// Trying at once would fail at once: somebody has to close something first.
task<> wait_out(std::error_code shortage, detail::shortage_notice& notice) {
  if (notice.is_news(std::chrono::steady_clock::now()))
    log::warning("accept: " + shortage.message() + "; new connections wait until there is room");
  co_await sleep_for(std::chrono::milliseconds{50});
}

// Goes on after an error that ends nothing, and throws any other.
task<> outlive(std::error_code error, detail::shortage_notice& notice) {
  if (is_shortage(error)) co_await wait_out(error, notice);
  else if (!concerns_one_peer(error)) throw std::system_error{error, "accept"};
}

}  // namespace

tcp_listener tcp_listener::bind(listen_options options) {
  const address at = options.port != 0 ? options.at.with_port(options.port) : options.at;
  unique_fd socket{::socket(at.family(), SOCK_STREAM | SOCK_CLOEXEC, IPPROTO_TCP)};
  if (!socket) detail::throw_socket_error("socket");
  detail::set_option(socket, SOL_SOCKET, SO_REUSEADDR, 1, "SO_REUSEADDR");
  if (options.reuse_port) detail::set_option(socket, SOL_SOCKET, SO_REUSEPORT, 1, "SO_REUSEPORT");
  if (::bind(socket.get(), at.data(), at.size()) != 0) detail::throw_socket_error(("bind " + at.to_string()).c_str());
  if (::listen(socket.get(), options.backlog) != 0) detail::throw_socket_error("listen");
  return tcp_listener{std::move(socket)};
}

task<tcp_stream> tcp_listener::accept() {
  for (;;) {
    auto accepted = co_await as_result(ops::accept{fd_});
    if (accepted) co_return tcp_stream{std::move(*accepted)};
    co_await outlive(accepted.error(), notice_);
  }
}

incoming_connections tcp_listener::incoming() { return incoming_connections{fd_}; }

address tcp_listener::local_address() const { return detail::local_address_of(fd_); }

task<std::optional<tcp_stream>> incoming_connections::next() {
  for (;;) {
    auto accepted = co_await as_result(accepted_.next());
    if (accepted && !*accepted) co_return std::nullopt;
    if (accepted) co_return tcp_stream{std::move(*accepted)};
    co_await outlive(accepted.error(), notice_);
  }
}

}  // namespace gyre::net
