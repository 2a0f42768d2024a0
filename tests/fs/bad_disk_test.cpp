// SPDX-License-Identifier: MIT
// A disk that cannot be read any more, on the kernel: who reads it, or copies from it, is told.
#include <gyre/fs/copy.hpp>
#include <gyre/fs/file.hpp>
#include <gyre/fs/whole_file.hpp>
#include <gyre/runtime/as_result.hpp>
#include <gyre/runtime/error.hpp>
#include <gyre/runtime/executor.hpp>
#include <gyre/runtime/unique_fd.hpp>

#include "../support/skip.hpp"
#include "../support/temp_folder.hpp"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <linux/loop.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

namespace gyre::fs {
namespace {

using namespace test;

constexpr std::uint64_t good_bytes = std::uint64_t{1} << 20U;

// A loop device over a file that has been cut to half of it. It goes with its last descriptor.
class bad_disk {
 public:
  bad_disk() {
    const unique_fd control{::open("/dev/loop-control", O_RDWR | O_CLOEXEC)};
    const unique_fd behind{::open(folder_.file("disk", std::string(2 * good_bytes, 'x')).c_str(), O_RDWR | O_CLOEXEC)};
    for (int attempt = 0; control && !device_ && attempt < 10; ++attempt) {
      const int number = ::ioctl(control.get(), LOOP_CTL_GET_FREE);
      path_ = "/dev/loop" + std::to_string(number);
      unique_fd opened{::open(path_.c_str(), O_RDWR | O_CLOEXEC)};
      ::loop_config wanted{};
      wanted.fd = static_cast<std::uint32_t>(behind.get());
      wanted.info.lo_flags = LO_FLAGS_AUTOCLEAR;
      // Somebody else may have taken it by now.
      if (opened && ::ioctl(opened.get(), LOOP_CONFIGURE, &wanted) == 0) device_ = std::move(opened);
    }
    if (!device_) SAY_SKIPPED("a loop device takes root, and Linux 5.8");
    else REQUIRE(::ftruncate(behind.get(), good_bytes) == 0);
  }

  [[nodiscard]] bool is_there() const noexcept { return static_cast<bool>(device_); }
  [[nodiscard]] const std::string& path() const noexcept { return path_; }

 private:
  temp_folder folder_;
  std::string path_;
  unique_fd device_;
};

}  // namespace

TEST_CASE("what is good of a bad disk is read, and what is not is an error that says how far it got") {
  const bad_disk disk;
  if (!disk.is_there()) return;
  executor loop;
  const auto opened = loop.run(file::open(disk.path()));
  std::vector<std::byte> buffer(good_bytes);

  loop.run(opened.read_exactly_at(std::span{buffer}.first(4096), 0));
  CHECK(buffer.front() == std::byte{'x'});
  std::size_t bytes_read = SIZE_MAX;
  try {
    loop.run(opened.read_exactly_at(buffer, good_bytes / 2));
  } catch (const transfer_error& error) {
    CHECK(error.code() == std::errc::io_error);
    bytes_read = error.bytes();
  }
  CHECK(bytes_read <= good_bytes / 2);
  CHECK(loop.run(as_result(read_all(disk.path()))).error() == std::errc::io_error);
}

TEST_CASE("a copy from a bad disk fails, and leaves nothing unless that was wanted") {
  const bad_disk disk;
  if (!disk.is_there()) return;
  const temp_folder folder;
  executor loop;

  CHECK(loop.run(as_result(fs::copy(disk.path(), folder.file("to")))).error() == std::errc::io_error);
  CHECK(std::filesystem::is_empty(folder.path()));
  const auto partly = loop.run(as_result(fs::copy(disk.path(), folder.file("to"), {.keep_partial = true})));
  CHECK(partly.error() == std::errc::io_error);
  const auto kept = content_of(folder.file("to"));
  CHECK(kept.size() <= good_bytes);
  CHECK(std::ranges::count(kept, 'x') == static_cast<std::ptrdiff_t>(kept.size()));
}

}  // namespace gyre::fs
