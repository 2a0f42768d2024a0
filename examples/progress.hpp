// SPDX-License-Identifier: MIT
// How far a long job is, as one line on a terminal: share, a bar, bytes, rate, and the time that is left.
//
//   [############............]  42 %  1.3 GiB  512.0 MiB/s  3 s left
//
// Drawn on standard error ten times a second at most, as wide as the window is then: a narrow one has no bar, or less
// of the rest. Where standard error is no terminal nothing is drawn, so that a log or a pipe has no such lines.
#pragma once

#include <gyre/fs/standard_streams.hpp>

#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <string>

namespace example {

inline std::string with_unit(double bytes) {
  static constexpr std::array<const char*, 5> units{"B", "KiB", "MiB", "GiB", "TiB"};
  std::size_t unit = 0;
  for (; bytes >= 1024 && unit + 1 < units.size(); ++unit) bytes /= 1024;
  std::array<char, 32> text{};
  std::snprintf(text.data(), text.size(), "%.1f %s", bytes, units[unit]);
  return text.data();
}

inline std::string as_time(double seconds) {
  const auto whole = static_cast<std::uint64_t>(seconds);
  std::array<char, 32> text{};
  if (whole < 60) std::snprintf(text.data(), text.size(), "%d s", static_cast<int>(whole));
  else
    std::snprintf(text.data(), text.size(), "%d:%02d min", static_cast<int>(whole / 60), static_cast<int>(whole % 60));
  return text.data();
}

class progress {
 public:
  progress() = default;
  progress(const progress&) = delete;
  progress& operator=(const progress&) = delete;
  ~progress() {
    if (drawn_) std::fputc('\n', stderr);
  }

  /// @param total  0 where nobody knows: then there is neither bar nor time left.
  void show(std::uint64_t done, std::uint64_t total) {
    using namespace std::chrono_literals;
    const auto now = clock::now();
    if (!on_terminal_ || (now < next_ && done != total)) return;
    next_ = now + 100ms;
    drawn_ = true;
    const double seconds = std::max(std::chrono::duration<double>(now - begun_).count(), 1e-3);
    const auto window = gyre::fs::try_terminal_size(STDERR_FILENO);
    std::fprintf(stderr, "\r%s\x1b[K", line(done, total, seconds, window ? window->columns : 80).c_str());
  }

 private:
  using clock = std::chrono::steady_clock;

  static std::string line(std::uint64_t done, std::uint64_t total, double seconds, std::size_t columns) {
    const double rate = static_cast<double>(done) / seconds;
    std::string text = with_unit(static_cast<double>(done)) + "  " + with_unit(rate) + "/s";
    if (total > 0) {
      const double share = std::min(1.0, static_cast<double>(done) / static_cast<double>(total));
      std::array<char, 16> percent{};
      std::snprintf(percent.data(), percent.size(), "%3.0f %%  ", 100 * share);
      text.insert(0, percent.data());
      if (rate > 0 && done <= total) text += "  " + as_time(static_cast<double>(total - done) / rate) + " left";
      text.insert(0, bar(share, columns, text.size()));
    }
    return text.substr(0, columns > 0 ? columns - 1 : 0);  // the last column stays free: some terminals would wrap
  }

  // As long as what is beside it leaves room for, 40 at most; none where that is hardly anything.
  static std::string bar(double share, std::size_t columns, std::size_t taken) {
    constexpr std::size_t frame = 4;  // brackets, a blank, the last column
    constexpr std::size_t length_min = 5;
    constexpr std::size_t length_max = 40;
    if (columns < taken + frame + length_min) return {};
    const std::size_t length = std::min(length_max, columns - taken - frame);
    const auto filled = static_cast<std::size_t>(share * static_cast<double>(length));
    return "[" + std::string(filled, '#') + std::string(length - filled, '.') + "] ";
  }

  const bool on_terminal_ = gyre::fs::is_terminal(STDERR_FILENO);
  const clock::time_point begun_ = clock::now();
  clock::time_point next_ = begun_;
  bool drawn_ = false;
};

}  // namespace example
