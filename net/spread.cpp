// SPDX-License-Identifier: MIT
// Where connections come from, and who gets the next one.
#include <gyre/net/spread.hpp>
#include <gyre/runtime/as_result.hpp>

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
