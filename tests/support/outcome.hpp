// SPDX-License-Identifier: MIT
// How something that was awaited ended, noted where a test can look at it.
#pragma once

#include <gyre/runtime/as_result.hpp>
#include <gyre/runtime/task.hpp>

#include <filesystem>
#include <iterator>
#include <ostream>
#include <system_error>
#include <utility>

namespace gyre::test {

enum class ended { not_begun, not_yet, with_value, with_error, stopped };

inline std::ostream& operator<<(std::ostream& out, ended how) {
  static constexpr const char* names[] = {"not begun", "not yet", "with value", "with error", "stopped"};
  return out << names[static_cast<int>(how)];
}

struct outcome {
  ended how = ended::not_begun;
  std::error_code error;
};

/// Notes a stop: what follows the co_await does not run, destructors do.
class stop_watch {
 public:
  explicit stop_watch(outcome& noted) noexcept : noted_{noted} { noted_.how = ended::not_yet; }
  stop_watch(const stop_watch&) = delete;
  stop_watch& operator=(const stop_watch&) = delete;
  ~stop_watch() {
    if (noted_.how == ended::not_yet) noted_.how = ended::stopped;
  }

 private:
  outcome& noted_;
};

/// Awaits something and notes how it ended.
template <class Awaitable>
task<> observe(Awaitable awaitable, outcome& noted) {
  const stop_watch watch{noted};
  const auto got = co_await as_result(std::move(awaitable));
  noted.how = got ? ended::with_value : ended::with_error;
  noted.error = got.error();
}

/// Open descriptors of this process.
inline std::size_t open_descriptors_count() {
  const std::filesystem::directory_iterator all{"/proc/self/fd"};
  return static_cast<std::size_t>(std::distance(begin(all), end(all)));
}

}  // namespace gyre::test
