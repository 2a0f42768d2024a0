// SPDX-License-Identifier: MIT
// Whether a shortage is worth a line in the log: a storm of them is told once, and not each time that it lets one
// connection in.
//
//   the shortage                                        is
//   the first                                           told
//   comes less than a minute after the one before it    of the same storm, however long that lasts: not told
//   comes later                                         a new one: told
#pragma once

#include <chrono>
#include <optional>
#include <utility>

namespace gyre::net::detail {

class shortage_notice {
 public:
  static constexpr std::chrono::minutes quiet_before_a_new_one{1};

  /// Notes a shortage, and says whether it is to be told.
  [[nodiscard]] bool is_news(std::chrono::steady_clock::time_point now) noexcept {
    const auto before = std::exchange(latest_, now);
    return !before || now - *before >= quiet_before_a_new_one;
  }

 private:
  std::optional<std::chrono::steady_clock::time_point> latest_;
};

}  // namespace gyre::net::detail
