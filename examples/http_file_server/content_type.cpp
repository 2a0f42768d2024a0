// SPDX-License-Identifier: MIT
// The table of endings and media types.
#include "content_type.hpp"

#include <algorithm>
#include <array>
#include <cstddef>
#include <utility>

namespace http {
namespace {

using entry = std::pair<std::string_view, std::string_view>;

constexpr std::array types{
    entry{"avif", "image/avif"},
    entry{"bz2", "application/x-bzip2"},
    entry{"c", "text/plain; charset=utf-8"},
    entry{"cpp", "text/plain; charset=utf-8"},
    entry{"css", "text/css; charset=utf-8"},
    entry{"csv", "text/csv; charset=utf-8"},
    entry{"gif", "image/gif"},
    entry{"gz", "application/gzip"},
    entry{"h", "text/plain; charset=utf-8"},
    entry{"hpp", "text/plain; charset=utf-8"},
    entry{"htm", "text/html; charset=utf-8"},
    entry{"html", "text/html; charset=utf-8"},
    entry{"ico", "image/x-icon"},
    entry{"jpeg", "image/jpeg"},
    entry{"jpg", "image/jpeg"},
    entry{"js", "text/javascript; charset=utf-8"},
    entry{"json", "application/json"},
    entry{"log", "text/plain; charset=utf-8"},
    entry{"md", "text/markdown; charset=utf-8"},
    entry{"mjs", "text/javascript; charset=utf-8"},
    entry{"mp3", "audio/mpeg"},
    entry{"mp4", "video/mp4"},
    entry{"ogg", "audio/ogg"},
    entry{"pdf", "application/pdf"},
    entry{"png", "image/png"},
    entry{"py", "text/plain; charset=utf-8"},
    entry{"svg", "image/svg+xml"},
    entry{"tar", "application/x-tar"},
    entry{"txt", "text/plain; charset=utf-8"},
    entry{"wasm", "application/wasm"},
    entry{"webm", "video/webm"},
    entry{"webp", "image/webp"},
    entry{"woff", "font/woff"},
    entry{"woff2", "font/woff2"},
    entry{"xml", "application/xml"},
    entry{"xz", "application/x-xz"},
    entry{"zip", "application/zip"},
    entry{"zst", "application/zstd"},
};
static_assert(std::is_sorted(types.begin(), types.end()), "the table is searched by halves");

constexpr std::size_t ending_bytes_max = 8;

}  // namespace

std::string_view content_type_of(std::string_view path) noexcept {
  constexpr std::string_view unknown = "application/octet-stream";
  const auto name = path.substr(path.rfind('/') + 1);
  const auto dot = name.rfind('.');
  if (dot == std::string_view::npos || name.size() - dot - 1 > ending_bytes_max) return unknown;

  std::array<char, ending_bytes_max> lower{};
  const auto ending = name.substr(dot + 1);
  std::transform(ending.begin(), ending.end(), lower.begin(),
                 [](char letter) { return letter >= 'A' && letter <= 'Z' ? static_cast<char>(letter + 32) : letter; });
  const std::string_view wanted{lower.data(), ending.size()};
  const auto found = std::lower_bound(types.begin(), types.end(), wanted,
                                      [](const entry& each, std::string_view key) { return each.first < key; });
  return found != types.end() && found->first == wanted ? found->second : unknown;
}

}  // namespace http
