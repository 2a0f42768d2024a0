// SPDX-License-Identifier: MIT
// Prints the CRC-32 of files: the ring reads, and a thread for each processor computes.
//
//   hash_files FILE...
//
// A checksum of a large file would keep the executor from everything else for seconds. So each piece is offloaded, and
// while some files are summed up others are read; no more of them at a time than twice the processors.
#include <gyre/fs/file.hpp>
#include <gyre/runtime/offload.hpp>
#include <gyre/runtime/run.hpp>
#include <gyre/runtime/task_group.hpp>

#include <boost/crc.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

namespace {

gyre::task<std::uint32_t> crc_of(const std::string& path, gyre::offload_pool& processors) {
  const auto file = co_await gyre::fs::file::open(path);
  boost::crc_32_type sum;
  std::vector<std::byte> piece(1024 * 1024);
  std::uint64_t offset = 0;
  while (const auto count = co_await file.read_at(piece, offset)) {
    co_await gyre::offload(processors, [&] { sum.process_bytes(piece.data(), count); });
    offset += count;
  }
  co_return sum.checksum();
}

gyre::task<> print_crc_of(std::string path, gyre::offload_pool& processors, int& exit_status) {
  try {
    const std::uint32_t sum = co_await crc_of(path, processors);
    std::printf("%08x  %s\n", sum, path.c_str());
  } catch (const std::system_error& error) {
    std::fprintf(stderr, "hash_files %s: %s\n", path.c_str(), error.what());
    exit_status = EXIT_FAILURE;
  }
}

gyre::task<int> hash_files(std::vector<std::string> paths) {
  const std::size_t processors_count = std::max(std::thread::hardware_concurrency(), 1u);
  gyre::offload_pool processors{{.threads_max = processors_count}};
  int exit_status = EXIT_SUCCESS;
  co_await gyre::with_task_group({.max_tasks = 2 * processors_count}, [&](gyre::task_group& files) -> gyre::task<> {
    for (std::string& each : paths) {
      co_await files.room();
      files.start(print_crc_of(std::move(each), processors, exit_status));
    }
  });
  co_return exit_status;
}

}  // namespace

int main(int argc, char** argv) { return gyre::run(hash_files({argv + 1, argv + argc})); }
