// SPDX-License-Identifier: MIT
// Writes files to standard output, one after the other.
//
//   cat FILE...
//
// Shows reading at a position, writing to what has none, and that a file which cannot be read costs one co_await and no
// more: the next one is written all the same.
#include <gyre/fs/file.hpp>
#include <gyre/runtime/as_result.hpp>
#include <gyre/runtime/run.hpp>

#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <span>
#include <string>
#include <vector>

namespace {

// Standard output may be a pipe or a terminal: no positions there.
gyre::task<> write_out(std::span<const std::byte> bytes) {
  while (!bytes.empty()) bytes = bytes.subspan(co_await gyre::ops::write{STDOUT_FILENO, bytes});
}

gyre::task<> write_out_file(const char* path, std::span<std::byte> buffer) {
  const auto file = co_await gyre::fs::file::open(path);
  std::uint64_t offset = 0;
  while (const auto count = co_await file.read_at(buffer, offset)) {
    co_await write_out(buffer.first(count));
    offset += count;
  }
}

gyre::task<int> cat(std::span<char*> paths) {
  std::vector<std::byte> buffer(256 * 1024);
  int status = EXIT_SUCCESS;
  for (const char* path : paths) {
    const auto written = co_await gyre::as_result(write_out_file(path, buffer));
    if (written) continue;
    std::fprintf(stderr, "cat: %s: %s\n", path, written.error().message().c_str());
    status = EXIT_FAILURE;
  }
  co_return status;
}

}  // namespace

int main(int argc, char** argv) { return gyre::run(cat(std::span{argv, static_cast<std::size_t>(argc)}.subspan(1))); }
