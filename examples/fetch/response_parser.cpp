// SPDX-License-Identifier: MIT
// What is kept of a response.
#include "response_parser.hpp"

#include <boost/asio/buffer.hpp>
#include <boost/beast/http/error.hpp>

#include <algorithm>
#include <array>
#include <limits>
#include <stdexcept>

namespace fetch {

response_parser::response_parser() {
  eager(true);
  header_limit(header_bytes_max);
  body_limit(std::numeric_limits<std::uint64_t>::max());
}

std::size_t response_parser::put(std::span<const std::byte> bytes) {
  body_.clear();
  error_code error;
  const std::size_t taken = basic_parser::put(boost::asio::const_buffer{bytes.data(), bytes.size()}, error);
  if (error && error != boost::beast::http::error::need_more)
    throw std::runtime_error{"no response of HTTP's: " + error.message()};
  return taken;
}

void response_parser::end() {
  body_.clear();
  error_code error;
  put_eof(error);
  if (error || !is_done()) throw std::runtime_error{"the server has closed in the middle of its response"};
}

bool response_parser::is_redirect() const noexcept {
  constexpr std::array redirects{301, 302, 303, 307, 308};
  return std::find(redirects.begin(), redirects.end(), status_) != redirects.end();
}

void response_parser::on_response_impl(int status, string_view reason, int, error_code&) {
  status_ = status;
  reason_.assign(reason.data(), reason.size());
}

void response_parser::on_field_impl(field name, string_view, string_view value, error_code&) {
  if (name == field::location) location_.assign(value.data(), value.size());
}

std::size_t response_parser::on_body_impl(string_view body, error_code&) {
  body_.push_back(std::as_bytes(std::span{body.data(), body.size()}));
  return body.size();
}

std::size_t response_parser::on_chunk_body_impl(std::uint64_t, string_view body, error_code& error) {
  return on_body_impl(body, error);
}

}  // namespace fetch
