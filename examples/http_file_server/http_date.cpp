// SPDX-License-Identifier: MIT
// Dates to text and back. Names of days and months are English in any locale, since the program sets none.
#include "http_date.hpp"

#include <array>
#include <ctime>

namespace http {
namespace {

// IMF-fixdate, then the obsolete forms of RFC 850 and of asctime().
constexpr std::array forms{"%a, %d %b %Y %H:%M:%S GMT", "%A, %d-%b-%y %H:%M:%S GMT", "%a %b %e %H:%M:%S %Y"};

}  // namespace

std::string format_date(std::chrono::sys_seconds when) {
  const std::time_t seconds = when.time_since_epoch().count();
  std::tm parts{};
  std::array<char, 64> text{};
  // A file system can hold times whose year does not fit: they read as the epoch.
  if (::gmtime_r(&seconds, &parts) == nullptr) return format_date({});
  return {text.data(), std::strftime(text.data(), text.size(), forms[0], &parts)};
}

std::optional<std::chrono::sys_seconds> parse_date(std::string_view text) {
  const std::string terminated{text};
  for (const char* form : forms) {
    std::tm parts{};
    const char* end = ::strptime(terminated.c_str(), form, &parts);
    if (end == nullptr || *end != '\0') continue;
    return std::chrono::sys_seconds{std::chrono::seconds{::timegm(&parts)}};
  }
  return std::nullopt;
}

std::string_view date_field::now() {
  const auto now = std::chrono::floor<std::chrono::seconds>(std::chrono::system_clock::now());
  if (now != made_at_ || text_.empty()) {
    text_ = format_date(now);
    made_at_ = now;
  }
  return text_;
}

}  // namespace http
