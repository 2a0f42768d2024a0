// SPDX-License-Identifier: MIT
// What is kept of a request, and what is refused that Boost.Beast lets pass.
#include "request_parser.hpp"

#include <boost/asio/buffer.hpp>
#include <boost/beast/core/string.hpp>
#include <boost/beast/http/error.hpp>

#include <cstdint>

namespace http {
namespace {

namespace beast = boost::beast;

status status_of(const beast::error_code& error) noexcept {
  if (error == beast::http::error::header_limit) return status::header_too_large;
  if (error == beast::http::error::bad_version) return status::version_not_supported;
  return status::bad_request;
}

void keep(std::string& where, beast::string_view value) { where.assign(value.data(), value.size()); }

// RFC 9112, 2.2: a server ignores empty lines before a request.
std::size_t empty_lines_bytes(std::span<const std::byte> bytes) noexcept {
  std::size_t count = 0;
  while (count + 1 < bytes.size() && bytes[count] == std::byte{'\r'} && bytes[count + 1] == std::byte{'\n'}) count += 2;
  return count;
}

}  // namespace

request_parser::request_parser(request& into, std::size_t header_limit) : into_{into} {
  into_.clear();
  skip(true);
  this->header_limit(static_cast<std::uint32_t>(header_limit));
}

request_parser::progress request_parser::put(std::span<const std::byte> bytes) {
  progress made;
  if (!got_some()) made.bytes = empty_lines_bytes(bytes);
  const auto rest = bytes.subspan(made.bytes);
  const bool half_a_line = !got_some() && rest.size() == 1 && rest[0] == std::byte{'\r'};
  if (rest.empty() || half_a_line) return made;

  error_code error;
  eager(true);
  made.bytes += basic_parser::put(boost::asio::const_buffer{rest.data(), rest.size()}, error);
  if (error && error != beast::http::error::need_more) made.refused = status_of(error);
  made.complete = !error && is_header_done();
  return made;
}

void request_parser::on_request_impl(verb known, string_view text, string_view target, int version, error_code&) {
  into_.verb = known == verb::get ? method::get : known == verb::head ? method::head : method::other;
  keep(into_.verb_text, text);
  keep(into_.target, target);
  into_.is_http_1_1 = version >= 11;
}

void request_parser::on_field_impl(field name, string_view, string_view value, error_code& error) {
  switch (name) {
    case field::host:
      ++into_.hosts_count;
      break;
    case field::if_modified_since:
      keep(into_.if_modified_since, value);
      break;
    case field::if_none_match:
      keep(into_.if_none_match, value);
      break;
    case field::if_range:
      keep(into_.if_range, value);
      break;
    case field::range:
      keep(into_.range, value);
      break;
    case field::expect:
      into_.expects_continue = beast::iequals(value, "100-continue");
      break;
    case field::transfer_encoding:
      // RFC 9112, 6.1: any other encoding leaves open where the request ends. Beast 1.74 takes it for one without a
      // body, and what follows for the next request: a way to smuggle one past a proxy.
      if (!beast::iequals(value, "chunked") || !into_.is_http_1_1) error = beast::http::error::bad_transfer_encoding;
      break;
    default:
      break;
  }
}

void request_parser::on_header_impl(error_code& error) {
  into_.keep_alive = keep_alive();
  into_.chunked = chunked();
  if (const auto announced = content_length()) into_.body_bytes = *announced;
  // RFC 9112, 3.2: exactly one Host, from HTTP/1.1 on.
  if (into_.hosts_count > 1 || (into_.is_http_1_1 && into_.hosts_count == 0)) error = beast::http::error::bad_field;
}

}  // namespace http
