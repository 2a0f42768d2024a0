// SPDX-License-Identifier: MIT
// From a request to a file, or to the reason why not.
#include "site.hpp"

#include "byte_range.hpp"
#include "content_type.hpp"
#include "http_date.hpp"
#include "listing.hpp"
#include "target.hpp"

#include <gyre/runtime/as_result.hpp>

#include <spdlog/fmt/fmt.h>
#include <spdlog/spdlog.h>

#include <cerrno>
#include <chrono>
#include <iterator>
#include <optional>
#include <string_view>
#include <system_error>
#include <utility>

namespace http {
namespace {

// Of two versions of a file, the one that a client has is known by either.
struct validators {
  std::chrono::sys_seconds modified;
  std::string etag;

  explicit validators(const gyre::fs::metadata& about)
      : modified{std::chrono::floor<std::chrono::seconds>(about.modified)},
        etag{fmt::format("\"{:x}-{:x}\"", about.modified.time_since_epoch().count(), about.size_bytes)} {}
};

// RFC 9110, 13.1.2: a list of tags, compared weakly, or "*".
bool names_tag(std::string_view list, std::string_view etag) noexcept {
  while (!list.empty()) {
    const auto comma = std::min(list.find(','), list.size());
    auto tag = list.substr(0, comma);
    list.remove_prefix(std::min(comma + 1, list.size()));
    while (tag.starts_with(' ') || tag.starts_with('\t')) tag.remove_prefix(1);
    while (tag.ends_with(' ') || tag.ends_with('\t')) tag.remove_suffix(1);
    if (tag.starts_with("W/")) tag.remove_prefix(2);
    if (tag == etag || tag == "*") return true;
  }
  return false;
}

// RFC 9110, 13.2.2: a tag counts more than a date.
bool client_has_it(const request& asked, const validators& current) {
  if (!asked.if_none_match.empty()) return names_tag(asked.if_none_match, current.etag);
  const auto since = parse_date(asked.if_modified_since);
  return since && current.modified <= *since;
}

// RFC 9110, 13.1.5: a part makes sense only beside other parts of the same version.
bool range_applies(const request& asked, const validators& current) {
  if (asked.verb != method::get || asked.range.empty()) return false;
  if (asked.if_range.empty() || asked.if_range == current.etag) return true;
  const auto date = parse_date(asked.if_range);
  return date && *date == current.modified;
}

status status_of(const std::error_code& error) noexcept {
  switch (error.value()) {
    case ENOENT:
    case ENOTDIR:
    case ENAMETOOLONG:
    case ENXIO:  // a socket, or a device without a driver
    case ENODEV:
    case ELOOP:
    case EXDEV:
      return status::not_found;  // led out of the folder: nothing is told of what is there
    case EACCES:
    case EPERM:
      return status::forbidden;
    case EMFILE:
    case ENFILE:
    case ENOMEM:
    case EAGAIN:
      return status::unavailable;  // EAGAIN: renames came between, again and again
    default:
      return status::internal_error;
  }
}

answer file_answer(const request& asked, std::string_view path, gyre::fs::file opened,
                   const gyre::fs::metadata& about) {
  const validators current{about};
  answer reply;
  const auto out = std::back_inserter(reply.fields);
  fmt::format_to(out, "Last-Modified: {}\r\nETag: {}\r\n", format_date(current.modified), current.etag);
  if (client_has_it(asked, current)) {
    reply.code = status::not_modified;
    return reply;
  }

  reply.fields += "Accept-Ranges: bytes\r\nX-Content-Type-Options: nosniff\r\n";
  const auto range = range_applies(asked, current) ? byte_range::of(asked.range, about.size_bytes) : byte_range{};
  switch (range.what) {
    case byte_range::kind::unsatisfiable:
      return answer::of(status::range_not_satisfiable,
                        fmt::format("Content-Range: bytes */{}\r\nAccept-Ranges: bytes\r\n", about.size_bytes));
    case byte_range::kind::part:
      reply.code = status::partial_content;
      reply.offset = range.first;
      reply.size_bytes = range.size_bytes;
      fmt::format_to(out, "Content-Range: bytes {}-{}/{}\r\n", range.first, range.first + range.size_bytes - 1,
                     about.size_bytes);
      break;
    case byte_range::kind::whole:
      reply.size_bytes = about.size_bytes;
      break;
  }
  fmt::format_to(out, "Content-Type: {}\r\n", content_type_of(path));
  reply.file = std::move(opened);
  return reply;
}

std::string url_of(std::string_view path) { return path == "." ? "/" : '/' + url_encoded(path) + '/'; }

}  // namespace

gyre::task<answer> site::answer_to(const request& asked) {
  std::error_code failure;
  try {
    co_return co_await answer_or_throw(asked);
  } catch (const std::system_error& error) {
    failure = error.code();
  }
  const auto code = status_of(failure);
  if (code >= status::internal_error) spdlog::warn("{}: {}", asked.target, failure.message());
  co_return answer::of(code);
}

gyre::task<answer> site::answer_or_throw(const request& asked) {
  if (asked.verb == method::other) co_return answer::of(status::method_not_allowed, "Allow: GET, HEAD\r\n");
  auto wanted = resource::of(asked.target);
  if (wanted.refused) co_return answer::of(*wanted.refused);
  co_return co_await file_or_folder(asked, std::move(wanted.path), wanted.names_directory);
}

gyre::task<answer> site::file_or_folder(const request& asked, std::string path, bool names_directory) {
  auto opened = co_await open(path);
  // The system knows it, having just opened the file: no need to go to a kernel worker for it.
  const auto about = opened.try_metadata().value();
  if (about.is_directory()) {
    if (names_directory) co_return co_await folder(asked, std::move(path), std::move(opened));
    // Relative links on a page count from the last slash of its address.
    co_return answer::of(status::moved_permanently, "Location: " + url_of(path) + "\r\n");
  }
  if (!about.is_regular() || names_directory) co_return answer::of(status::not_found);
  co_return file_answer(asked, path, std::move(opened), about);
}

gyre::task<answer> site::folder(const request& asked, std::string path, gyre::fs::file opened) {
  auto index_path = path + "/index.html";
  auto index = co_await gyre::as_result(open(index_path));
  if (index) {
    const auto about = index->try_metadata().value();
    if (about.is_regular()) co_return file_answer(asked, index_path, std::move(*index), about);
  } else if (status_of(index.error()) != status::not_found) {
    throw std::system_error{index.error()};
  }

  auto directory = opened.release();
  const auto title = path == "." ? "/" : '/' + path + '/';
  // Reading a directory is what io_uring cannot do.
  auto page = co_await gyre::offload(directory_reader_, [&] { return listing_of(std::move(directory), title); });
  co_return answer::page(status::ok, std::move(page));
}

gyre::task<gyre::fs::file> site::open(std::string path) const {
  // A FIFO in the folder would otherwise keep a kernel worker until somebody writes to it.
  const gyre::fs::open_options at_once{.no_wait = true};
  co_return co_await gyre::fs::file::open_beneath(root_, std::move(path), at_once);
}

}  // namespace http
