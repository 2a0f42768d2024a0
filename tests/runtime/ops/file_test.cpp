// SPDX-License-Identifier: MIT
// Operations on open files, on the kernel: what they do, and how they fail. Cancels: kernel_cancel_test.cpp.
#include <gyre/runtime/as_result.hpp>
#include <gyre/runtime/executor.hpp>
#include <gyre/runtime/ops/file.hpp>

#include "../../support/bytes.hpp"
#include "../../support/temp_folder.hpp"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/uio.h>
#include <unistd.h>

#include <array>
#include <cstddef>
#include <limits>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace gyre {
namespace {

using namespace test;

unique_fd opened(const std::string& path, int flags) { return unique_fd{::open(path.c_str(), flags | O_CLOEXEC)}; }

}  // namespace

TEST_CASE("read takes bytes from a position, as many as there are") {
  const temp_folder folder;
  const auto file = opened(folder.file("a", "0123456789"), O_RDONLY);
  executor loop;

  loop.run([&]() -> task<> {
    std::array<std::byte, 4> buffer;
    CHECK(co_await ops::read(file, buffer, 3) == 4);
    CHECK(text_of(buffer) == "3456");
    CHECK(co_await ops::read(file, buffer, 8) == 2);
    CHECK(co_await ops::read(file, buffer, 10) == 0);
    CHECK(co_await ops::read(file, std::span<std::byte>(), 0) == 0);
  });
}

TEST_CASE("read and write at the current position move it") {
  const temp_folder folder;
  const auto file = opened(folder.file("a", ""), O_RDWR);
  executor loop;

  loop.run([&]() -> task<> {
    CHECK(co_await ops::write(file, bytes_of("one ")) == 4);
    CHECK(co_await ops::write(file, bytes_of("two")) == 3);
    CHECK(::lseek(file.get(), 0, SEEK_CUR) == 7);
    ::lseek(file.get(), 4, SEEK_SET);
    std::array<std::byte, 10> buffer;
    CHECK(co_await ops::read(file, buffer) == 3);
  });
  CHECK(content_of(folder.file("a")) == "one two");
}

TEST_CASE("write puts bytes at a position") {
  const temp_folder folder;
  const auto file = opened(folder.file("a", "0123456789"), O_WRONLY);
  executor loop;

  loop.run([&]() -> task<> { CHECK(co_await ops::write(file, bytes_of("abc"), 2) == 3); });

  CHECK(content_of(folder.file("a")) == "01abc56789");
}

TEST_CASE("readv and writev go through their buffers in order") {
  const temp_folder folder;
  const auto file = opened(folder.file("a", ""), O_RDWR);
  std::string first = "head ";
  std::string second = "and tail";
  std::array<char, 3> small{};
  std::array<char, 20> large{};
  const std::array sources{iovec{first.data(), first.size()}, iovec{second.data(), second.size()}};
  const std::array targets{iovec{small.data(), small.size()}, iovec{large.data(), large.size()}};
  executor loop;

  loop.run([&]() -> task<> {
    CHECK(co_await ops::writev(file, sources, 0) == 13);
    CHECK(co_await ops::readv(file, targets, 0) == 13);
  });

  CHECK(std::string_view{small.data(), 3} == "hea");
  CHECK(std::string_view{large.data(), 10} == "d and tail");
}

TEST_CASE("more buffers than IOV_MAX are refused") {
  const temp_folder folder;
  const auto file = opened(folder.file("a", "text"), O_RDONLY);
  std::array<char, 1> byte{};
  const std::vector<iovec> too_many(1025, iovec{byte.data(), 1});
  executor loop;

  loop.run([&]() -> task<> {
    const auto got = co_await as_result(ops::readv(file, too_many, 0));
    CHECK(got.error() == std::errc::invalid_argument);
  });
}

TEST_CASE("what cannot be read or written says why") {
  const temp_folder folder;
  const auto directory = opened(folder.path(), O_RDONLY | O_DIRECTORY);
  const auto read_only = opened(folder.file("a", "text"), O_RDONLY);
  executor loop;

  loop.run([&]() -> task<> {
    std::array<std::byte, 4> buffer{};
    CHECK((co_await as_result(ops::read(directory, buffer, 0))).error() == std::errc::is_a_directory);
    CHECK((co_await as_result(ops::write(read_only, buffer, 0))).error() == std::errc::bad_file_descriptor);
    CHECK((co_await as_result(ops::read(-1, buffer, 0))).error() == std::errc::bad_file_descriptor);
    CHECK((co_await as_result(ops::fsync(-1))).error() == std::errc::bad_file_descriptor);
  });
}

TEST_CASE("fsync and fdatasync come back when the file is on its device") {
  const temp_folder folder;
  const auto file = opened(folder.file("a", "text"), O_RDWR);
  executor loop;

  loop.run([&]() -> task<> {
    co_await ops::fsync(file);
    co_await ops::fsync(file, ops::sync_what::data);
  });
}

TEST_CASE("close closes, and says when there was nothing to close") {
  const temp_folder folder;
  auto file = opened(folder.file("a", "text"), O_RDONLY);
  const int fd = file.get();
  executor loop;

  loop.run([&]() -> task<> {
    co_await ops::close(std::move(file));
    CHECK(::fcntl(fd, F_GETFD) == -1);
    CHECK((co_await as_result(ops::close(unique_fd(fd)))).error() == std::errc::bad_file_descriptor);
  });
}

TEST_CASE("a close that is never awaited, or not begun, closes all the same") {
  const temp_folder folder;
  auto first = opened(folder.file("a", "text"), O_RDONLY);
  auto second = opened(folder.file("a"), O_RDONLY);
  const std::array fds{first.get(), second.get()};
  executor loop;

  {
    const ops::close never_awaited{std::move(first)};
  }
  auto root = loop.start([](unique_fd owned) -> task<> { co_await ops::close(std::move(owned)); }(std::move(second)));
  root.cancel();
  loop.run_ready();

  CHECK(root.stopped());
  for (const int fd : fds) CHECK(::fcntl(fd, F_GETFD) == -1);
}

}  // namespace gyre
