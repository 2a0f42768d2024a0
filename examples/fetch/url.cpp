// SPDX-License-Identifier: MIT
// A URL is somebody else's text as soon as it comes from a redirect: what would end a line of a request is refused.
#include "url.hpp"

#include <algorithm>
#include <charconv>
#include <stdexcept>

namespace fetch {
namespace {

constexpr std::string_view scheme_end = "://";

[[noreturn]] void refuse(std::string_view text, const char* why) {
  throw std::invalid_argument{std::string{text} + ": " + why};
}

bool equals_ignoring_case(std::string_view left, std::string_view right) {
  const auto lower = [](char each) { return each >= 'A' && each <= 'Z' ? static_cast<char>(each - 'A' + 'a') : each; };
  return std::equal(left.begin(), left.end(), right.begin(), right.end(),
                    [&](char a, char b) { return lower(a) == lower(b); });
}

std::uint16_t port_of(std::string_view text, std::string_view whole) {
  std::uint16_t port = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), port);
  if (error != std::errc{} || end != text.data() + text.size() || port == 0) refuse(whole, "no port");
  return port;
}

// "host", "host:port", "[::1]" or "[::1]:port".
void read_authority(std::string_view authority, std::string_view whole, url& into) {
  if (authority.find('@') != std::string_view::npos) refuse(whole, "names and passwords are not sent");
  const bool in_brackets = authority.starts_with('[');
  const auto host_end = in_brackets ? authority.find(']') : authority.find(':');
  if (in_brackets && host_end == std::string_view::npos) refuse(whole, "a bracket is open");
  into.host = authority.substr(in_brackets ? 1 : 0, in_brackets ? host_end - 1 : host_end);
  if (into.host.empty()) refuse(whole, "no host");
  const auto rest = host_end == std::string_view::npos ? "" : authority.substr(host_end + (in_brackets ? 1 : 0));
  if (rest.empty() || rest == ":") return;
  if (!rest.starts_with(':')) refuse(whole, "no port");
  into.port = port_of(rest.substr(1), whole);
}

}  // namespace

std::string url::authority() const {
  const std::string written = host.find(':') == std::string::npos ? host : "[" + host + "]";
  return port == 80 ? written : written + ":" + std::to_string(port);
}

url parse_url(std::string_view text) {
  if (std::any_of(text.begin(), text.end(), [](unsigned char each) { return each <= ' ' || each == 0x7f; }))
    refuse("the URL", "spaces and control characters are to be written as %20 and the like");
  const auto scheme_size = text.find(scheme_end);
  if (scheme_size == std::string_view::npos) refuse(text, "no URL: it begins with http://");
  const auto scheme = text.substr(0, scheme_size);
  if (equals_ignoring_case(scheme, "https")) refuse(text, "https is not spoken here: only http");
  if (!equals_ignoring_case(scheme, "http")) refuse(text, "only http is spoken here");

  const auto after = text.substr(scheme_size + scheme_end.size());
  const auto authority_size = std::min(after.find_first_of("/?#"), after.size());
  url made;
  read_authority(after.substr(0, authority_size), text, made);
  const auto rest = after.substr(authority_size);
  made.target = rest.substr(0, rest.find('#'));
  if (!made.target.starts_with('/')) made.target.insert(0, 1, '/');
  return made;
}

url follow(const url& from, std::string_view location) {
  const auto path_begin = location.find_first_of("/?#");
  const auto scheme_size = location.find(scheme_end);
  const bool is_absolute = scheme_size != std::string_view::npos && scheme_size < path_begin;
  if (is_absolute) return parse_url(location);
  const std::string text{location};
  if (text.starts_with("//")) return parse_url("http:" + text);
  const std::string server = "http://" + from.authority();
  if (text.starts_with('/')) return parse_url(server + text);
  const std::string path = from.target.substr(0, from.target.find('?'));
  if (text.starts_with('?')) return parse_url(server + path + text);
  if (text.empty() || text.starts_with('#')) return from;
  return parse_url(server + path.substr(0, path.rfind('/') + 1) + text);
}

}  // namespace fetch
