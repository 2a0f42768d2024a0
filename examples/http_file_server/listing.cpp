// SPDX-License-Identifier: MIT
// Folders as HTML: names escaped for the page, and encoded for their links.
#include "listing.hpp"

#include "target.hpp"

#include <dirent.h>
#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <iterator>
#include <memory>
#include <system_error>
#include <tuple>
#include <utility>
#include <vector>

namespace http {
namespace {

constexpr std::size_t entries_count_max = 10'000;

struct entry {
  bool is_directory = false;
  std::string name;
};

struct listed {
  std::vector<entry> entries;  // folders first, then by name
  bool complete = true;
};

struct closing {
  void operator()(::DIR* directory) const noexcept { ::closedir(directory); }
};

std::unique_ptr<::DIR, closing> opened(gyre::unique_fd directory) {
  std::unique_ptr<::DIR, closing> stream{::fdopendir(directory.get())};
  if (!stream) throw std::system_error{errno, std::system_category(), "fdopendir"};
  (void)directory.release();
  return stream;
}

listed read_entries(::DIR* directory) {
  listed found;
  errno = 0;
  while (const auto* each = ::readdir(directory)) {
    const std::string_view name = each->d_name;
    if (name == "." || name == "..") continue;
    if (found.entries.size() == entries_count_max) {
      found.complete = false;
      break;
    }
    entry& added = found.entries.emplace_back();
    added.is_directory = each->d_type == DT_DIR;
    added.name = name;
  }
  if (errno != 0) throw std::system_error{errno, std::system_category(), "readdir"};
  std::sort(found.entries.begin(), found.entries.end(), [](const entry& left, const entry& right) {
    return std::tie(right.is_directory, left.name) < std::tie(left.is_directory, right.name);
  });
  return found;
}

}  // namespace

std::string listing_of(gyre::unique_fd directory, std::string_view path) {
  const auto found = read_entries(opened(std::move(directory)).get());
  const auto title = html_escaped(path);

  std::string page;
  const auto out = std::back_inserter(page);
  fmt::format_to(out, "<!DOCTYPE html>\n<meta charset=\"utf-8\">\n<title>{0}</title>\n<h1>{0}</h1>\n<ul>\n", title);
  if (path != "/") page += "<li><a href=\"../\">../</a>\n";
  for (const auto& [is_directory, name] : found.entries) {
    const auto* slash = is_directory ? "/" : "";
    // "./" before it, so that no name reads as a scheme or as a host.
    fmt::format_to(out, "<li><a href=\"./{}{}\">{}{}</a>\n", url_encoded(name), slash, html_escaped(name), slash);
  }
  page += "</ul>\n";
  if (!found.complete) fmt::format_to(out, "<p>Only the first {} entries are shown.\n", entries_count_max);
  return page;
}

}  // namespace http
