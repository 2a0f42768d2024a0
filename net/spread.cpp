// SPDX-License-Identifier: MIT
// Where connections come from, and who gets the next one.
#include <gyre/net/spread.hpp>
#include <gyre/runtime/as_result.hpp>
#include <gyre/runtime/log.hpp>

#include <sys/socket.h>

#include <new>
#include <string>
#include <system_error>

namespace gyre::net {

executor_list::executor_list(gyre::runtime& all) {
  for (std::size_t i = 0; i < all.size(); ++i) all_.push_back(&all[i]);
}

namespace detail {

task<std::optional<tcp_stream>> connection_source::next() {
  if (incoming_) co_return co_await incoming_->next();
  auto accepted = co_await as_result(from_.accept());
  if (accepted) co_return std::move(*accepted);
  if (accepted.error() == std::errc::invalid_argument) co_return std::nullopt;
  throw std::system_error{accepted.error(), "accept"};
}

peer_of_session::peer_of_session(const tcp_stream& client) noexcept {
  ::sockaddr_storage peer{};
  ::socklen_t size = sizeof peer;
  if (::getpeername(client.fd().get(), reinterpret_cast<::sockaddr*>(&peer), &size) != 0) return;
  if (const auto known = address::from_kernel(peer)) peer_ = *known;
}

void peer_of_session::log(const std::exception_ptr& error) const noexcept {
  try {
    const std::string whose = peer_ ? "the session of " + peer_->to_string() : "a session";
    log::exception(whose + " failed; the others go on", error);
  } catch (const std::bad_alloc&) {
    log::exception("a session failed; the others go on", error);
  }
}

std::size_t least_loaded::next() noexcept {
  const std::size_t count = counts_.size();
  std::size_t chosen = (last_ + 1) % count;
  for (std::size_t i = 2; i <= count; ++i) {
    const std::size_t each = (last_ + i) % count;
    if (counts_.running(each) < counts_.running(chosen)) chosen = each;
  }
  return last_ = chosen;
}

}  // namespace detail

std::vector<tcp_listener> bind_each(std::size_t listeners_count, listen_options options) {
  options.reuse_port = true;
  std::vector<tcp_listener> all;
  all.reserve(listeners_count);
  for (std::size_t i = 0; i < listeners_count; ++i) {
    all.push_back(tcp_listener::bind(options));
    options.port = all.front().local_address().port();
  }
  return all;
}

}  // namespace gyre::net
