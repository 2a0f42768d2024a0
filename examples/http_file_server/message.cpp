// SPDX-License-Identifier: MIT
// Answers as bytes: status lines, headers and the pages that tell of an error.
#include "message.hpp"

#include <spdlog/fmt/fmt.h>

#include <iterator>
#include <utility>

namespace http {

std::string_view reason_of(status code) noexcept {
  switch (code) {
    case status::ok:
      return "OK";
    case status::partial_content:
      return "Partial Content";
    case status::moved_permanently:
      return "Moved Permanently";
    case status::not_modified:
      return "Not Modified";
    case status::bad_request:
      return "Bad Request";
    case status::forbidden:
      return "Forbidden";
    case status::not_found:
      return "Not Found";
    case status::method_not_allowed:
      return "Method Not Allowed";
    case status::request_timeout:
      return "Request Timeout";
    case status::content_too_large:
      return "Content Too Large";
    case status::range_not_satisfiable:
      return "Range Not Satisfiable";
    case status::header_too_large:
      return "Request Header Fields Too Large";
    case status::internal_error:
      return "Internal Server Error";
    case status::unavailable:
      return "Service Unavailable";
    case status::version_not_supported:
      return "HTTP Version Not Supported";
  }
  return "Unknown";
}

void request::clear() noexcept {
  verb = method::other;
  for (auto* text : {&verb_text, &target, &if_modified_since, &if_none_match, &if_range, &range}) text->clear();
  body_bytes = 0;
  hosts_count = 0;
  is_http_1_1 = true;
  keep_alive = chunked = expects_continue = false;
}

answer answer::page(status code, std::string html, std::string fields) {
  answer made;
  made.code = code;
  made.fields = std::move(fields);
  made.fields += "Content-Type: text/html; charset=utf-8\r\n";
  made.size_bytes = html.size();
  made.text = std::move(html);
  return made;
}

answer answer::of(status code, std::string fields) {
  const auto title = fmt::format("{} {}", static_cast<int>(code), reason_of(code));
  return page(code, fmt::format("<!DOCTYPE html>\n<title>{0}</title>\n<h1>{0}</h1>\n", title), std::move(fields));
}

std::string head_of(const answer& reply, const head_options& options) {
  std::string head;
  head.reserve(384);
  auto out = std::back_inserter(head);
  // RFC 9110, 2.5: a server answers with the highest version that it speaks, whatever the request's.
  fmt::format_to(out, "HTTP/1.1 {} {}\r\nDate: {}\r\n", static_cast<int>(reply.code), reason_of(reply.code),
                 options.date);
  head += reply.fields;
  // RFC 9110, 8.6: the length of a 304 would be that of what is not sent.
  if (reply.code != status::not_modified) fmt::format_to(out, "Content-Length: {}\r\n", reply.size_bytes);
  if (!options.keep_alive) head += "Connection: close\r\n";
  else if (!options.is_http_1_1) head += "Connection: keep-alive\r\n";
  head += "\r\n";
  return head;
}

}  // namespace http
