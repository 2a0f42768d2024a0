// SPDX-License-Identifier: MIT
// What goes back and forth: a request as the parser leaves it, and an answer as the site gives it.
#pragma once

#include <gyre/fs/file.hpp>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace http {

enum class status : std::uint16_t {
  ok = 200,
  partial_content = 206,
  moved_permanently = 301,
  not_modified = 304,
  bad_request = 400,
  forbidden = 403,
  not_found = 404,
  method_not_allowed = 405,
  request_timeout = 408,
  content_too_large = 413,
  range_not_satisfiable = 416,
  header_too_large = 431,
  internal_error = 500,
  unavailable = 503,
  version_not_supported = 505
};

/// "Not Found" and the like.
[[nodiscard]] std::string_view reason_of(status code) noexcept;

enum class method : std::uint8_t { get, head, other };

/// The parts of a request that this server looks at. Strings are copies: its buffer is used again.
struct request {
  method verb = method::other;
  std::string verb_text;
  std::string target;  // as it came: nothing decoded
  std::string if_modified_since;
  std::string if_none_match;
  std::string if_range;
  std::string range;
  std::uint64_t body_bytes = 0;  // as announced
  unsigned hosts_count = 0;      // Host fields
  bool is_http_1_1 = true;
  bool keep_alive = false;        // what the client asks for, or leaves to its version's default
  bool chunked = false;           // a body whose length nobody announced
  bool expects_continue = false;  // the body comes only after a go-ahead

  /// Empties it for the next request of the connection; strings keep their memory.
  void clear() noexcept;
};

/// What to send: a status, header fields, and either a text or a part of a file.
struct answer {
  status code = status::ok;
  std::string fields;  // whole lines: "Allow: GET, HEAD\r\n"
  std::string text;
  std::optional<gyre::fs::file> file;
  std::uint64_t offset = 0;      // where in the file
  std::uint64_t size_bytes = 0;  // of the body: a HEAD gets the number and no bytes

  /// A status and a page that says so.
  [[nodiscard]] static answer of(status code, std::string fields = {});

  /// A page.
  [[nodiscard]] static answer page(status code, std::string html, std::string fields = {});
};

/// What the connection itself adds to an answer.
struct head_options {
  std::string_view date;
  bool keep_alive = true;
  bool is_http_1_1 = true;
};

/// The status line and the header, with the empty line at its end.
[[nodiscard]] std::string head_of(const answer& reply, const head_options& options);

}  // namespace http
