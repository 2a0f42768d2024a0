// SPDX-License-Identifier: MIT
// Request targets as paths and back. What a path may open is not decided here: the kernel keeps it inside the folder.
#pragma once

#include "message.hpp"

#include <optional>
#include <string>
#include <string_view>

namespace http {

/// A target, decoded: what it names below the served folder.
struct resource {
  std::string path;              // "docs/a b.txt", "." for the folder itself; no "..", no empty parts
  bool names_directory = false;  // the target ended in a slash, or in a part that means a folder
  std::optional<status> refused;

  [[nodiscard]] static resource of(std::string_view target);
};

/// A path as part of a URL: everything but unreserved characters and slashes in the form %41.
[[nodiscard]] std::string url_encoded(std::string_view path);

/// A text as part of an HTML page.
[[nodiscard]] std::string html_escaped(std::string_view text);

}  // namespace http
