// SPDX-License-Identifier: MIT
// Prints a checksum of each file, reading many at once in little memory.
//
//   checksums /usr/bin/*
//
// Two semaphores: no more than 32 files are open at a time, and no more than 16 MiB of them are in memory. A buffer
// takes as many permits as it has kilobytes, so that many small files go side by side, or a few large ones; who wants
// much is not overtaken for ever by those who want little. Whatever ends a task, an error or Ctrl-C, its permits are
// given back.
#include <gyre/fs/file.hpp>
#include <gyre/runtime/as_result.hpp>
#include <gyre/runtime/run.hpp>
#include <gyre/runtime/task_group.hpp>
#include <gyre/sync/semaphore.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <span>
#include <vector>

namespace {

constexpr std::uint64_t block_bytes_max = 1024 * 1024;

struct limits {
  gyre::sync::local_semaphore open_files{32};
  gyre::sync::local_semaphore kilobytes{16 * 1024};
};

// Adler-32, as zlib has it.
class adler32 {
 public:
  void add(std::span<const std::byte> bytes) noexcept {
    for (const std::byte each : bytes) {
      low_ = (low_ + std::to_integer<std::uint32_t>(each)) % 65521;
      high_ = (high_ + low_) % 65521;
    }
  }
  [[nodiscard]] std::uint32_t value() const noexcept { return high_ << 16 | low_; }

 private:
  std::uint32_t low_ = 1;
  std::uint32_t high_ = 0;
};

gyre::task<std::uint32_t> checksum(const char* path, limits& limit) {
  const auto place = co_await limit.open_files.acquire();
  const auto file = co_await gyre::fs::file::open(path);
  const std::uint64_t block_bytes = std::clamp<std::uint64_t>(co_await file.size(), 1024, block_bytes_max);
  const auto memory = co_await limit.kilobytes.acquire(block_bytes / 1024);

  adler32 sum;
  std::vector<std::byte> block(block_bytes);
  std::uint64_t offset = 0;
  while (const auto count = co_await file.read_at(block, offset)) {
    sum.add(std::span{block}.first(count));
    offset += count;
  }
  co_return sum.value();
}

gyre::task<> print_checksum(const char* path, limits& limit, int& status) {
  const auto sum = co_await gyre::as_result(checksum(path, limit));
  if (sum) {
    std::printf("%08x  %s\n", *sum, path);
  } else {
    std::fprintf(stderr, "checksums: %s: %s\n", path, sum.error().message().c_str());
    status = EXIT_FAILURE;
  }
}

gyre::task<int> print_all(std::span<char*> paths) {
  limits limit;
  int status = EXIT_SUCCESS;
  co_await gyre::with_task_group([&](gyre::task_group& files) -> gyre::task<> {
    for (const char* path : paths) files.start(print_checksum(path, limit, status));
    co_return;
  });
  co_return status;
}

}  // namespace

int main(int argc, char** argv) {
  return gyre::run(print_all(std::span{argv, static_cast<std::size_t>(argc)}.subspan(1)));
}
