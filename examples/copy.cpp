// SPDX-License-Identifier: MIT
// Copies a file, and says how far it got when it fails.
//
//   copy FROM TO
//
// TO must not exist. It is on the device when copy returns, or it is gone: a copy that fails, or is stopped by
// Ctrl-C, removes what it made.
#include <gyre/fs/file.hpp>
#include <gyre/runtime/run.hpp>

#include <unistd.h>

#include <cinttypes>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <span>
#include <string>
#include <system_error>
#include <vector>

namespace {

// Removes a file unless it was finished. A destructor, since that is what a stop runs too.
class unfinished_file {
 public:
  explicit unfinished_file(const std::string& path) noexcept : path_{path} {}
  unfinished_file(const unfinished_file&) = delete;
  unfinished_file& operator=(const unfinished_file&) = delete;
  ~unfinished_file() {
    if (!finished_) ::unlink(path_.c_str());
  }
  void finished() noexcept { finished_ = true; }

 private:
  const std::string& path_;
  bool finished_ = false;
};

gyre::task<> copy(std::string from, std::string to) {
  const auto source = co_await gyre::fs::file::open(from);
  const auto about = co_await source.metadata();
  const gyre::fs::open_options making{.access = gyre::fs::file_access::write,
                                      .create = gyre::fs::file_creation::must_be_new,
                                      .permissions = about.permissions & 0777};
  auto target = co_await gyre::fs::file::open(to, making);
  unfinished_file made{to};

  std::vector<std::byte> buffer(1024 * 1024);
  std::uint64_t copied_bytes = 0;
  while (const auto count = co_await source.read_at(buffer, copied_bytes)) {
    co_await target.write_all_at(std::span{buffer}.first(count), copied_bytes);
    copied_bytes += count;
  }
  co_await target.sync();
  co_await target.close();
  made.finished();
  std::printf("%" PRIu64 " bytes\n", copied_bytes);
}

gyre::task<int> copy_or_complain(std::string from, std::string to) {
  try {
    co_await copy(from, to);
    co_return EXIT_SUCCESS;
  } catch (const std::system_error& error) {
    std::fprintf(stderr, "copy %s %s: %s\n", from.c_str(), to.c_str(), error.what());
    co_return EXIT_FAILURE;
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) return std::fputs("usage: copy FROM TO\n", stderr), 2;
  return gyre::run(copy_or_complain(argv[1], argv[2]));
}
