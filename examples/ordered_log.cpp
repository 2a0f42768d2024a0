// SPDX-License-Identifier: MIT
// Appends the lines of its input to a log, each on the device before the next is read.
//
//   ordered_log FILE < lines
//
// The write of a line and the fsync after it are one await: the kernel begins the second when the first has ended well.
// A line that does not fit is cut off again, so that the log ends with a whole one.
#include <gyre/runtime/ops/file.hpp>
#include <gyre/runtime/ops/link.hpp>
#include <gyre/runtime/run.hpp>
#include <gyre/runtime/unique_fd.hpp>

#include <fcntl.h>
#include <unistd.h>

#include <cinttypes>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <span>
#include <string>
#include <system_error>

namespace {

// Returns where the next entry goes.
gyre::task<std::uint64_t> append(const gyre::unique_fd& log, const std::string& line, std::uint64_t at) {
  const auto bytes = std::as_bytes(std::span{line});
  using gyre::ops::sync_what;
  const auto done = co_await gyre::ops::link(gyre::ops::write(log, bytes, at), gyre::ops::fsync(log, sync_what::data));
  const auto& [written, synced] = done;
  if (written && synced) co_return at + bytes.size();
  if (::ftruncate(log.get(), static_cast<off_t>(at)) != 0) std::fputs("the log ends with half a line\n", stderr);
  throw std::system_error{written ? synced.error() : written.error(), "the line was not logged"};
}

gyre::task<int> log_all(gyre::unique_fd log) {
  auto at = static_cast<std::uint64_t>(::lseek(log.get(), 0, SEEK_END));
  std::uint64_t lines_count = 0;
  try {
    for (std::string line; std::getline(std::cin, line); ++lines_count) at = co_await append(log, line += '\n', at);
  } catch (const std::system_error& error) {
    std::fprintf(stderr, "after %" PRIu64 " lines: %s\n", lines_count, error.what());
    co_return EXIT_FAILURE;
  }
  std::printf("%" PRIu64 " lines, %" PRIu64 " bytes\n", lines_count, at);
  co_return EXIT_SUCCESS;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) return std::fputs("usage: ordered_log FILE < lines\n", stderr), 2;
  gyre::unique_fd log{::open(argv[1], O_WRONLY | O_CREAT | O_CLOEXEC, 0644)};
  if (!log) return std::perror(argv[1]), EXIT_FAILURE;
  return gyre::run(log_all(std::move(log)));
}
