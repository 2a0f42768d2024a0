// SPDX-License-Identifier: MIT
// Operations on open files, on the kernel: what they do, and how they fail. Cancels: kernel_cancel_test.cpp.
#include <gyre/runtime/as_result.hpp>
#include <gyre/runtime/executor.hpp>
#include <gyre/runtime/ops/direct.hpp>
#include <gyre/runtime/ops/file.hpp>

#include "../../support/bytes.hpp"
#include "../../support/huge_memory.hpp"
#include "../../support/kernel_has.hpp"
#include "../../support/skip.hpp"
#include "../../support/temp_folder.hpp"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/uio.h>
#include <unistd.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <filesystem>
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
  const auto sink = opened("/dev/null", O_WRONLY);
  loop.run([&]() -> task<> {
    CHECK((co_await as_result(ops::writev(sink, too_many, 0))).error() == std::errc::invalid_argument);
    CHECK(co_await ops::writev(sink, std::span{too_many}.first(1024), 0) == 1024);
    CHECK(co_await ops::writev(sink, std::span<const iovec>(), 0) == 0);
  });
}

TEST_CASE("what is larger than one request can move is moved in part") {
  const temp_folder folder;
  const huge_memory memory{std::size_t{3} << 30};
  const auto sink = opened("/dev/null", O_WRONLY);
  const auto file = opened(folder.file("a", "text"), O_RDONLY);
  const std::array halves{iovec{memory.bytes().data(), std::size_t{2} << 30},
                          iovec{memory.bytes().data(), std::size_t{1} << 30}};
  executor loop;

  loop.run([&]() -> task<> {
    CHECK(co_await ops::write(sink, memory.bytes(), 0) == ops::transfer_bytes_max);
    CHECK(co_await ops::writev(sink, halves, 0) == ops::transfer_bytes_max);
    CHECK(co_await ops::read(file, memory.bytes(), 0) == 4);
    CHECK(co_await ops::readv(file, halves, 0) == 4);
  });
  CHECK(text_of(memory.bytes().first(4)) == "text");
}

TEST_CASE("an O_DIRECT transfer that is not aligned is refused") {
  const temp_folder folder;
  const auto path = folder.file("a", std::string(8192, 'x'));
  const auto file = opened(path, O_RDONLY | O_DIRECT);
  if (!file) {
    SAY_SKIPPED("no O_DIRECT in ", folder.path());
    return;
  }
  const huge_memory pages{8192};
  executor loop;

  loop.run([&]() -> task<> {
    const auto page = pages.bytes().first(4096);
    CHECK(co_await ops::read(file, page, 0) == 4096);
    const auto odd_offset = co_await as_result(ops::read(file, page, 1));
    CHECK(odd_offset.error() == std::errc::invalid_argument);
    const auto odd_buffer = co_await as_result(ops::read(file, pages.bytes().subspan(1, 4096), 0));
    CHECK(odd_buffer.error() == std::errc::invalid_argument);
    const auto odd_size = co_await as_result(ops::read(file, page.first(5), 0));
    CHECK(odd_size.error() == std::errc::invalid_argument);
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

TEST_CASE("sync_file_range writes a part of a file to its device, however long it is said to be") {
  const temp_folder folder;
  const auto file = opened(folder.file("a", "text"), O_RDWR);
  std::array<int, 2> ends{};
  REQUIRE(::pipe2(ends.data(), O_CLOEXEC) == 0);
  const unique_fd reading{ends[0]};
  const unique_fd writing{ends[1]};
  executor loop;

  loop.run([&]() -> task<> {
    constexpr unsigned and_wait = SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER;
    co_await ops::sync_file_range(file, 0, 4, and_wait);
    co_await ops::sync_file_range(file, 2, 0, SYNC_FILE_RANGE_WRITE);
    co_await ops::sync_file_range(file, 0, std::uint64_t{5} << 30, SYNC_FILE_RANGE_WRITE);
    const auto odd_flags = co_await as_result(ops::sync_file_range(file, 0, 4, 0x8000));
    CHECK(odd_flags.error() == std::errc::invalid_argument);
    const auto of_pipe = co_await as_result(ops::sync_file_range(writing, 0, 4, SYNC_FILE_RANGE_WRITE));
    CHECK(of_pipe.error() == std::errc::invalid_seek);
    const auto closed = co_await as_result(ops::sync_file_range(-1, 0, 4, SYNC_FILE_RANGE_WRITE));
    CHECK(closed.error() == std::errc::bad_file_descriptor);
  });
}

TEST_CASE("fallocate makes room, and punches holes") {
  const temp_folder folder;
  const auto path = folder.file("a", std::string(16384, 'x'));
  const auto file = opened(path, O_RDWR);
  const auto read_only = opened(path, O_RDONLY);
  executor loop;

  loop.run([&]() -> task<> {
    const auto punched = co_await as_result(
        ops::fallocate(file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, /*offset=*/4096, /*length=*/4096));
    if (punched.error() == std::errc::operation_not_supported) {
      SAY_LEFT_OUT("no holes in ", folder.path());
    } else {
      CHECK(punched.has_value());
      CHECK(content_of(path) == std::string(4096, 'x') + std::string(4096, '\0') + std::string(8192, 'x'));
    }
    co_await ops::fallocate(file, 0, 0, 32768);
    CHECK(std::filesystem::file_size(path) == 32768);
    CHECK((co_await as_result(ops::fallocate(file, 0, 0, 0))).error() == std::errc::invalid_argument);
    CHECK((co_await as_result(ops::fallocate(read_only, 0, 0, 1))).error() == std::errc::bad_file_descriptor);
    CHECK((co_await as_result(ops::fallocate(-1, 0, 0, 1))).error() == std::errc::bad_file_descriptor);
    const auto huge = co_await as_result(ops::fallocate(file, 0, 0, std::uint64_t{1} << 62));
    CHECK(huge.error() == std::errc::file_too_large);
  });
}

TEST_CASE("ftruncate makes a file shorter and longer") {
  if (!kernel_has(IORING_OP_FTRUNCATE, "ftruncate")) return;
  const temp_folder folder;
  const auto path = folder.file("a", "0123456789");
  const auto file = opened(path, O_RDWR);
  const auto read_only = opened(path, O_RDONLY);
  executor loop;

  loop.run([&]() -> task<> {
    co_await ops::ftruncate(file, 4);
    CHECK(content_of(path) == "0123");
    co_await ops::ftruncate(file, 6);
    CHECK(content_of(path) == std::string("0123\0\0", 6));
    CHECK((co_await as_result(ops::ftruncate(read_only, 1))).error() == std::errc::invalid_argument);
    CHECK((co_await as_result(ops::ftruncate(-1, 1))).error() == std::errc::bad_file_descriptor);
    CHECK((co_await as_result(ops::ftruncate(file, ~std::uint64_t{0}))).error() == std::errc::invalid_argument);
    const auto huge = co_await as_result(ops::ftruncate(file, std::uint64_t{1} << 62));
    CHECK(huge.error() == std::errc::file_too_large);
  });
}

TEST_CASE("a direct descriptor is cut, given room, and synced like a plain one") {
  const temp_folder folder;
  const auto path = folder.file("a", "0123456789");
  executor loop{{.direct_descriptors = 1}};

  loop.run([&]() -> task<> {
    const direct_fd file = co_await ops::openat_direct(AT_FDCWD, path.c_str(), O_RDWR);
    co_await ops::fallocate(file, 0, 0, 100);
    CHECK(std::filesystem::file_size(path) == 100);
    if (kernel_has(IORING_OP_FTRUNCATE, "ftruncate", without_it::goes_on)) {
      co_await ops::ftruncate(file, 4);
      CHECK(content_of(path) == "0123");
    }
    co_await ops::sync_file_range(file, 0, 0, SYNC_FILE_RANGE_WRITE);
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
