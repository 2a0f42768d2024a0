// SPDX-License-Identifier: MIT
// Dates as HTTP writes them: "Sun, 06 Nov 1994 08:49:37 GMT".
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <string_view>

namespace http {

[[nodiscard]] std::string format_date(std::chrono::sys_seconds when);

/// Reads any of the three forms that RFC 9110, 5.6.7 asks a recipient to accept.
[[nodiscard]] std::optional<std::chrono::sys_seconds> parse_date(std::string_view text);

/// The Date field, made anew once a second.
class date_field {
 public:
  [[nodiscard]] std::string_view now();

 private:
  std::chrono::sys_seconds made_at_{};
  std::string text_;
};

}  // namespace http
