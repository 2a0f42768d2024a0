// SPDX-License-Identifier: MIT
// Counts the lines of files on all cores.
//
//   count_lines FILE...
//
// Each executor takes the next file when it is done with one. What they have found is printed and added up on the first
// of them alone, so that neither needs a lock. Ctrl-C stops all of them, and so does a file that cannot be read.
#include <gyre/fs/file.hpp>
#include <gyre/runtime/on.hpp>
#include <gyre/runtime/runtime.hpp>

#include <algorithm>
#include <atomic>
#include <cinttypes>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <span>
#include <string>
#include <vector>

namespace {

gyre::task<std::uint64_t> count_lines(const std::string& path) {
  const auto file = co_await gyre::fs::file::open(path);
  std::vector<std::byte> buffer(256 * 1024);
  std::uint64_t offset = 0;
  std::uint64_t lines_count = 0;
  while (const auto count = co_await file.read_at(buffer, offset)) {
    const auto piece = std::span{buffer}.first(count);
    lines_count += static_cast<std::uint64_t>(std::count(piece.begin(), piece.end(), std::byte{'\n'}));
    offset += count;
  }
  co_return lines_count;
}

struct totals {
  gyre::task<> add(const std::string& path, std::uint64_t lines_count) {
    std::printf("%8" PRIu64 " %s\n", lines_count, path.c_str());
    sum += lines_count;
    co_return;
  }
  std::uint64_t sum = 0;  // the first executor's
};

int count_all(const std::vector<std::string>& paths) {
  gyre::runtime all;
  totals total;
  std::atomic<std::size_t> next = 0;

  const int status = all.run([&]() -> gyre::task<> {
    for (std::size_t mine = next++; mine < paths.size(); mine = next++) {
      const auto lines_count = co_await count_lines(paths[mine]);
      co_await gyre::on(all[0], total.add(paths[mine], lines_count));
    }
  });

  std::printf("%8" PRIu64 " total, counted by %zu executors\n", total.sum, all.size());
  return status;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) return std::fputs("usage: count_lines FILE...\n", stderr), 2;
  try {
    return count_all({argv + 1, argv + argc});
  } catch (const std::exception& error) {
    std::fprintf(stderr, "count_lines: %s\n", error.what());
    return EXIT_FAILURE;
  }
}
