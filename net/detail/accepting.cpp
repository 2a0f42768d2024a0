// SPDX-License-Identifier: MIT
// What a failed accept means, and how a listener is closed under those who wait for it.
#include <gyre/net/detail/accepting.hpp>
#include <gyre/runtime/deadline.hpp>
#include <gyre/runtime/log.hpp>
#include <gyre/runtime/ops/cancel.hpp>
#include <gyre/runtime/ops/file.hpp>

#include <sys/socket.h>

#include <cerrno>
#include <chrono>
#include <cstddef>

namespace gyre::net::detail {
namespace {

// Nobody tells a process that a descriptor of its own, or of the machine, has become free: whoever needs one has to
// try. Twenty times a second costs less than a thousandth of a processor, and no client notices the time.
constexpr auto between_tries = std::chrono::milliseconds{50};

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

}  // namespace

void throw_closed() { throw std::system_error{std::make_error_code(std::errc::operation_canceled), "accept"}; }

task<> listening_socket::outlive(std::error_code error) {
  if (is_closing()) throw_closed();
  if (is_shortage(error)) co_await wait_out(error);
  else if (!concerns_one_peer(error)) throw std::system_error{error, "accept"};
}

// Trying at once would fail at once: somebody has to close something first.
task<> listening_socket::wait_out(std::error_code shortage) {
  if (notice_.is_news(std::chrono::steady_clock::now()))
    log::warning("accept: " + shortage.message() + "; new connections wait until there is room");
  co_await move_on_after(between_tries, closing_.wait());
}

task<unique_fd> listening_socket::end_all() {
  closing_.set();
  if (!fd_) co_return unique_fd{};
  unique_fd closing = std::move(fd_);
  // From here on no request for connections waits, and none comes. In what order the rest is told, does not matter to
  // who waits: it looks at is_closing().
  ::shutdown(closing.get(), SHUT_RDWR);
  streams_.end_all();
  for (std::size_t found = 1; found > 0;) found = co_await ops::cancel_fd{closing};
  co_return closing;
}

task<> listening_socket::close() {
  unique_fd ended = co_await end_all();
  if (ended) co_await ops::close{std::move(ended)};
}

}  // namespace gyre::net::detail
