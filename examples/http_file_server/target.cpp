// SPDX-License-Identifier: MIT
// Decoding what clients ask for, and encoding names for what they are shown.
#include "target.hpp"

#include <algorithm>
#include <cstddef>

namespace http {
namespace {

int hex_value(char digit) noexcept {
  if (digit >= '0' && digit <= '9') return digit - '0';
  if (digit >= 'a' && digit <= 'f') return digit - 'a' + 10;
  if (digit >= 'A' && digit <= 'F') return digit - 'A' + 10;
  return -1;
}

// Empty when a percent sign is followed by anything but two hexadecimal digits, or stands for a NUL.
std::optional<std::string> percent_decoded(std::string_view text) {
  std::string decoded;
  decoded.reserve(text.size());
  for (std::size_t index = 0; index < text.size(); ++index) {
    if (text[index] != '%') {
      decoded += text[index];
      continue;
    }
    if (index + 2 >= text.size()) return std::nullopt;
    const int high = hex_value(text[index + 1]);
    const int low = hex_value(text[index + 2]);
    if (high < 0 || low < 0 || high + low == 0) return std::nullopt;
    decoded += static_cast<char>(high * 16 + low);
    index += 2;
  }
  return decoded;
}

// RFC 9112, 3.2: "/path?query", or "http://host/path?query" as a proxy is sent it. Empty for any other form.
std::optional<std::string_view> path_part(std::string_view target) noexcept {
  if (!target.starts_with('/')) {
    constexpr std::string_view scheme = "http://";
    if (!target.starts_with(scheme)) return std::nullopt;
    target.remove_prefix(scheme.size());
    target.remove_prefix(std::min(target.find_first_of("/?#"), target.size()));
  }
  return target.substr(0, target.find_first_of("?#"));
}

// The last part of a path is dropped; false when there was none.
bool drop_last_part(std::string& path) {
  if (path.empty()) return false;
  const auto slash = path.rfind('/');
  path.resize(slash == std::string::npos ? 0 : slash);
  return true;
}

resource refusing(status why) {
  resource none;
  none.refused = why;
  return none;
}

bool is_unreserved(char letter) noexcept {  // RFC 3986, 2.3
  return (letter >= 'a' && letter <= 'z') || (letter >= 'A' && letter <= 'Z') || (letter >= '0' && letter <= '9') ||
         letter == '-' || letter == '.' || letter == '_' || letter == '~';
}

}  // namespace

// Parts are taken apart before they are decoded, so that "%2f" never separates any; ".." is applied after, so that
// "%2e%2e" is no way around it.
resource resource::of(std::string_view target) {
  const auto path = path_part(target);
  if (!path) return refusing(status::bad_request);

  resource found;
  found.names_directory = true;
  for (std::size_t begin = 0; begin < path->size();) {
    const auto end = std::min(path->find('/', begin), path->size());
    const auto part = percent_decoded(path->substr(begin, end - begin));
    if (!part) return refusing(status::bad_request);
    if (part->find('/') != std::string::npos) return refusing(status::not_found);  // no name has a slash in it
    if (*part == "..") {
      if (!drop_last_part(found.path)) return refusing(status::not_found);
    } else if (!part->empty() && *part != ".") {
      if (!found.path.empty()) found.path += '/';
      found.path += *part;
    }
    found.names_directory = end < path->size() || part->empty() || *part == "." || *part == "..";
    begin = end + 1;
  }
  if (found.path.empty()) found.path = ".";
  return found;
}

std::string url_encoded(std::string_view path) {
  constexpr std::string_view digits = "0123456789ABCDEF";
  std::string encoded;
  for (const char letter : path) {
    if (is_unreserved(letter) || letter == '/') {
      encoded += letter;
    } else {
      const auto code = static_cast<unsigned char>(letter);
      encoded += {'%', digits[code / 16], digits[code % 16]};
    }
  }
  return encoded;
}

std::string html_escaped(std::string_view text) {
  std::string escaped;
  for (const char letter : text) {
    switch (letter) {
      case '&':
        escaped += "&amp;";
        break;
      case '<':
        escaped += "&lt;";
        break;
      case '>':
        escaped += "&gt;";
        break;
      case '"':
        escaped += "&quot;";
        break;
      case '\'':
        escaped += "&#39;";
        break;
      default:
        escaped += letter;
    }
  }
  return escaped;
}

}  // namespace http
