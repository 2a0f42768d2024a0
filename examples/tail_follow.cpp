// SPDX-License-Identifier: MIT
// Prints what is added to a file, as tail -f does.
//
//   tail_follow FILE
//
// Begins with the last 4 KiB. Sleeps until the kernel tells of a change: no polling. A file that becomes shorter is
// printed from its beginning; one that is removed, or renamed, is printed to its end, and that is all. Ctrl-C ends it.
#include <gyre/fs/file.hpp>
#include <gyre/fs/watch.hpp>
#include <gyre/runtime/run.hpp>

#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <span>
#include <string>
#include <system_error>

namespace {

constexpr std::uint64_t shown_at_first = 4096;

class follower {
 public:
  explicit follower(const gyre::fs::file& followed)
      : followed_{followed}, out_{gyre::unique_fd{::dup(STDOUT_FILENO)}} {}

  gyre::task<> begin_near_end() {
    const auto size = co_await followed_.size();
    printed_ = size - std::min(size, shown_at_first);
  }

  gyre::task<> print_new() {
    if (co_await followed_.size() < printed_) printed_ = 0;
    while (const auto count = co_await followed_.read_at(buffer_, printed_)) {
      co_await out_.write_all(std::span<const std::byte>{buffer_}.first(count));
      printed_ += count;
    }
  }

 private:
  const gyre::fs::file& followed_;
  const gyre::fs::file out_;
  std::uint64_t printed_ = 0;
  std::array<std::byte, 65536> buffer_;
};

gyre::task<int> follow(std::string path) {
  try {
    const auto opened = co_await gyre::fs::file::open(path);
    auto changes = co_await gyre::fs::watch(path);  // before the first look, so that no change is missed
    follower tail{opened};
    co_await tail.begin_near_end();
    for (;;) {
      co_await tail.print_new();
      const auto event = co_await changes.next();
      if (!event || event->what == gyre::fs::change::removed) break;
    }
    co_await tail.print_new();
    co_return EXIT_SUCCESS;
  } catch (const std::system_error& error) {
    std::fprintf(stderr, "tail_follow %s: %s\n", path.c_str(), error.what());
    co_return EXIT_FAILURE;
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) return std::fputs("usage: tail_follow FILE\n", stderr), 2;
  return gyre::run(follow(argv[1]));
}
