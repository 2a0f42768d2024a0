// SPDX-License-Identifier: MIT
// Where something is to be had over HTTP: the parts of a URL, and what a redirect makes of it.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace fetch {

struct url {
  std::string host;  // without brackets
  std::uint16_t port = 80;
  std::string target;  // as the request line has it: path and query, "/" at least

  /// "example.org:8080", as the Host field has it.
  [[nodiscard]] std::string authority() const;
  [[nodiscard]] std::string to_string() const { return "http://" + authority() + target; }
};

/// Reads an absolute URL; a fragment is left out.
///
/// @errors  std::invalid_argument, which says what is wrong with it, and that https is not spoken here.
[[nodiscard]] url parse_url(std::string_view text);

/// What a Location field means that came from there: RFC 3986, section 5.2, but for dots in paths, which servers take.
[[nodiscard]] url follow(const url& from, std::string_view location);

}  // namespace fetch
