// SPDX-License-Identifier: MIT
// The header of one request, out of bytes as they come. Boost.Beast's parser reads them; this keeps what the server
// needs.
//
// Bodies are not parsed: this server has no use for them. It skips one whose length was announced, and closes the
// connection after one whose was not.
#pragma once

#include "message.hpp"

#include <boost/beast/http/basic_parser.hpp>

#include <cstddef>
#include <optional>
#include <span>

namespace http {

class request_parser final : boost::beast::http::basic_parser<true> {
 public:
  /// @param into          Filled as the header comes; cleared first. Outlives the parser.
  /// @param header_limit  Bytes that a header may have.
  request_parser(request& into, std::size_t header_limit);

  /// What a put() came to: more is needed (neither), the header is complete, or the request is refused with a status.
  struct progress {
    std::size_t bytes = 0;  // taken: do not put them again
    bool complete = false;
    std::optional<status> refused;
  };

  /// Reads some more. `bytes` are all that have come and were not taken yet.
  [[nodiscard]] progress put(std::span<const std::byte> bytes);

 private:
  using string_view = boost::beast::string_view;
  using error_code = boost::beast::error_code;
  using field = boost::beast::http::field;
  using verb = boost::beast::http::verb;

  void on_request_impl(verb known, string_view text, string_view target, int version, error_code& error) override;
  void on_field_impl(field name, string_view name_text, string_view value, error_code& error) override;
  void on_header_impl(error_code& error) override;

  // Not called: a request has no status line, and the parser is told to skip the body.
  void on_response_impl(int, string_view, int, error_code&) override {}
  void on_body_init_impl(const boost::optional<std::uint64_t>&, error_code&) override {}
  std::size_t on_body_impl(string_view body, error_code&) override { return body.size(); }
  void on_chunk_header_impl(std::uint64_t, string_view, error_code&) override {}
  std::size_t on_chunk_body_impl(std::uint64_t, string_view body, error_code&) override { return body.size(); }
  void on_finish_impl(error_code&) override {}

  request& into_;
};

}  // namespace http
