// SPDX-License-Identifier: MIT
// Copies a file, and shows how far it is; or a directory with all that is in it.
//
//   copy FROM TO
//   copy -a FROM TO    with times, attributes and owner as well; FROM may be a directory
//
// TO must not exist. A file is on the device when copy returns, or it is not there at all: a copy that fails, or is
// stopped by Ctrl-C, leaves nothing. On a terminal a bar tells share, bytes and rate, and when it will be done.
#include <gyre/fs/copy.hpp>
#include <gyre/fs/path_ops.hpp>
#include <gyre/runtime/run.hpp>

#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cinttypes>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

namespace {

using clock_type = std::chrono::steady_clock;
using namespace std::chrono_literals;

std::string with_unit(double bytes) {
  static constexpr std::array<const char*, 5> units{"B", "KiB", "MiB", "GiB", "TiB"};
  std::size_t unit = 0;
  for (; bytes >= 1024 && unit + 1 < units.size(); ++unit) bytes /= 1024;
  std::array<char, 32> text{};
  std::snprintf(text.data(), text.size(), "%.1f %s", bytes, units[unit]);
  return text.data();
}

// A line on the terminal, drawn ten times a second; nothing where there is no terminal.
class bar {
 public:
  void show(const gyre::fs::copy_progress& now) {
    const auto time = clock_type::now();
    if (!on_terminal_ || (time < next_ && now.bytes_done < now.bytes_total)) return;
    next_ = time + 100ms;
    drawn_ = true;
    const double seconds = std::max(std::chrono::duration<double>(time - begun_).count(), 1e-3);
    const double rate = static_cast<double>(now.bytes_done) / seconds;
    const double share =
        now.bytes_total == 0 ? 0 : static_cast<double>(now.bytes_done) / static_cast<double>(now.bytes_total);
    const double left = rate > 0 ? static_cast<double>(now.bytes_total - now.bytes_done) / rate : 0;
    const auto filled = static_cast<std::size_t>(share * 30);
    const std::string drawing = std::string(filled, '#') + std::string(30 - filled, '.');
    std::fprintf(stderr, "\r[%s] %3.0f %%  %s  %s/s  %.0f s left \x1b[K", drawing.c_str(), 100 * share,
                 with_unit(static_cast<double>(now.bytes_done)).c_str(), with_unit(rate).c_str(), left);
  }
  ~bar() {
    if (drawn_) std::fputc('\n', stderr);
  }

 private:
  const bool on_terminal_ = ::isatty(STDERR_FILENO) == 1;
  const clock_type::time_point begun_ = clock_type::now();
  clock_type::time_point next_ = begun_;
  bool drawn_ = false;
};

gyre::task<std::uint64_t> copy_file(std::string from, std::string to, gyre::fs::copied_metadata kept) {
  bar progress;
  const gyre::fs::copy_options options{.metadata = kept, .durability = gyre::fs::durability::full};
  const auto copied =
      co_await gyre::fs::copy(from, to, options, [&](const gyre::fs::copy_progress& now) { progress.show(now); });
  co_return copied.bytes;
}

gyre::task<std::uint64_t> copy_all(std::string from, std::string to) {
  const auto about = co_await gyre::fs::metadata_of(from);
  if (!about.is_directory()) co_return co_await copy_file(from, to, gyre::fs::copied_metadata::all);
  const gyre::fs::copy_tree_options options{.metadata = gyre::fs::copied_metadata::all};
  const auto copied = co_await gyre::fs::copy_tree(from, to, options);
  co_return copied.bytes;
}

gyre::task<int> copy_or_complain(std::string from, std::string to, bool all) {
  try {
    auto copying = all ? copy_all(from, to) : copy_file(from, to, gyre::fs::copied_metadata::permissions);
    const std::uint64_t bytes = co_await std::move(copying);
    std::printf("%" PRIu64 " bytes\n", bytes);
    co_return EXIT_SUCCESS;
  } catch (const std::system_error& error) {
    std::fprintf(stderr, "copy %s %s: %s\n", from.c_str(), to.c_str(), error.what());
    co_return EXIT_FAILURE;
  }
}

}  // namespace

int main(int argc, char** argv) {
  const bool all = argc == 4 && std::string_view{argv[1]} == "-a";
  if (argc != 3 && !all) return std::fputs("usage: copy [-a] FROM TO\n", stderr), 2;
  return gyre::run(copy_or_complain(argv[argc - 2], argv[argc - 1], all));
}
