// SPDX-License-Identifier: MIT
// Reads and writes with flags, on the kernel: what each flag does, and how a file says that it does not know it.
#include <gyre/runtime/as_result.hpp>
#include <gyre/runtime/executor.hpp>
#include <gyre/runtime/ops/direct.hpp>
#include <gyre/runtime/ops/file.hpp>
#include <gyre/runtime/ops/file_flags.hpp>

#include "../../support/bytes.hpp"
#include "../../support/huge_memory.hpp"
#include "../../support/skip.hpp"
#include "../../support/temp_folder.hpp"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/uio.h>
#include <unistd.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace gyre {
namespace {

using namespace test;

unique_fd opened(const std::string& path, int flags) { return unique_fd{::open(path.c_str(), flags | O_CLOEXEC)}; }

struct empty_pipe {
  empty_pipe() {
    std::array<int, 2> ends{};
    REQUIRE(::pipe2(ends.data(), O_CLOEXEC) == 0);
    out.reset(ends[0]);
    in.reset(ends[1]);
  }
  unique_fd out, in;
};

// Of those that a kernel or a file system may lack.
bool is_unknown(const auto& got) { return !got && got.error() == std::errc::operation_not_supported; }

}  // namespace

TEST_CASE("without a flag they are read, write, readv and writev") {
  const temp_folder folder;
  const auto file = opened(folder.file("a", ""), O_RDWR);
  std::array<char, 2> first{'a', 'b'};
  std::array<char, 2> second{'c', 'd'};
  const std::array parts{iovec{first.data(), 2}, iovec{second.data(), 2}};
  executor loop;

  loop.run([&]() -> task<> {
    CHECK(co_await ops::write2(file, bytes_of("0123"), 0, 0) == 4);
    CHECK(co_await ops::writev2(file, parts, 4, 0) == 4);
    CHECK(co_await ops::write2(file, bytes_of("!"), ops::current_position, 0) == 1);
    std::array<std::byte, 16> buffer;
    CHECK(co_await ops::read2(file, buffer, 4, 0) == 4);
    CHECK(text_of(std::span{buffer}.first(4)) == "abcd");
    CHECK(co_await ops::readv2(file, parts, 0, 0) == 4);
    CHECK(co_await ops::read2(file, std::span<std::byte>(), 0, 0) == 0);
    CHECK(co_await ops::read2(file, buffer, ops::current_position, 0) == 7);
  });
  CHECK(first == std::array{'!', '1'});
  CHECK(second == std::array{'2', '3'});
}

TEST_CASE("RWF_NOWAIT waits for nothing: neither a pipe nor a disk") {
  const temp_folder folder;
  const auto file = opened(folder.file("a", "text"), O_RDONLY);
  const empty_pipe pipe;
  executor loop;

  loop.run([&]() -> task<> {
    std::array<std::byte, 4> buffer;
    const std::array parts{iovec{buffer.data(), buffer.size()}};
    const auto none = co_await as_result(ops::read2(pipe.out, buffer, ops::current_position, RWF_NOWAIT));
    CHECK(none.error() == std::errc::resource_unavailable_try_again);
    const auto none_in_parts = co_await as_result(ops::readv2(pipe.out, parts, ops::current_position, RWF_NOWAIT));
    CHECK(none_in_parts.error() == std::errc::resource_unavailable_try_again);
    CHECK(co_await ops::write2(pipe.in, bytes_of("abcd"), ops::current_position, RWF_NOWAIT) == 4);
    CHECK(co_await ops::read2(pipe.out, buffer, ops::current_position, RWF_NOWAIT) == 4);
    CHECK(text_of(buffer) == "abcd");
    const auto cached = co_await as_result(ops::read2(file, buffer, 0, RWF_NOWAIT));
    CHECK((cached.has_value() || cached.error() == std::errc::resource_unavailable_try_again || is_unknown(cached)));
    const auto space = ::fcntl(pipe.in.get(), F_GETPIPE_SZ);
    CHECK(::fcntl(pipe.in.get(), F_SETFL, O_NONBLOCK) == 0);
    const std::vector<char> filling(static_cast<std::size_t>(space), 'x');
    REQUIRE(::write(pipe.in.get(), filling.data(), filling.size()) == space);
    CHECK(::fcntl(pipe.in.get(), F_SETFL, 0) == 0);
    const auto full = co_await as_result(ops::writev2(pipe.in, parts, ops::current_position, RWF_NOWAIT));
    CHECK(full.error() == std::errc::resource_unavailable_try_again);
  });
}

TEST_CASE("RWF_APPEND writes at the end, and rwf_noappend does not although the file is opened for it") {
  const temp_folder folder;
  const auto path = folder.file("a", "0123");
  const auto file = opened(path, O_WRONLY);
  const auto appending = opened(path, O_WRONLY | O_APPEND);
  executor loop;

  loop.run([&]() -> task<> {
    CHECK(co_await ops::write2(file, bytes_of("end"), 0, RWF_APPEND) == 3);
    CHECK(content_of(path) == "0123end");
    const auto put = co_await as_result(ops::write2(appending, bytes_of("x"), 1, ops::rwf_noappend));
    if (is_unknown(put)) SAY_LEFT_OUT("this kernel has no RWF_NOAPPEND");
    else CHECK(content_of(path) == "0x23end");
    std::array<char, 1> last{'!'};
    const std::array parts{iovec{last.data(), 1}};
    CHECK(co_await ops::writev2(file, parts, 0, RWF_APPEND) == 1);
    CHECK(content_of(path).ends_with("end!"));
  });
}

TEST_CASE("RWF_DSYNC and RWF_SYNC write through") {
  const temp_folder folder;
  const auto path = folder.file("a", "");
  const auto file = opened(path, O_WRONLY);
  executor loop;

  loop.run([&]() -> task<> {
    CHECK(co_await ops::write2(file, bytes_of("ab"), 0, RWF_DSYNC) == 2);
    CHECK(co_await ops::write2(file, bytes_of("cd"), 2, RWF_SYNC) == 2);
  });
  CHECK(content_of(path) == "abcd");
}

TEST_CASE("flags that a kernel, a file system or a device may lack are obeyed or refused") {
  const temp_folder folder;
  const auto path = folder.file("a", "text");
  const auto file = opened(path, O_RDWR);
  const empty_pipe pipe;
  executor loop;

  loop.run([&]() -> task<> {
    std::array<std::byte, 4> buffer;
    const auto uncached = co_await as_result(ops::read2(file, buffer, 0, ops::rwf_dontcache));
    CHECK((is_unknown(uncached) || uncached.value() == 4));
    const auto whole = co_await as_result(ops::write2(file, bytes_of("atom"), 0, ops::rwf_atomic));
    const bool may_be_refused = is_unknown(whole) || whole.error() == std::errc::invalid_argument;
    CHECK((may_be_refused || whole.value() == 4));
    const auto in_pipe = co_await as_result(ops::read2(pipe.out, buffer, ops::current_position, ops::rwf_atomic));
    CHECK(is_unknown(in_pipe));
    const auto unheard_of = co_await as_result(ops::read2(file, buffer, 0, 1U << 30));
    CHECK(is_unknown(unheard_of));
    const auto polled = co_await as_result(ops::read2(file, buffer, 0, RWF_HIPRI));
    CHECK(polled.error() == std::errc::invalid_argument);
  });
}

TEST_CASE("what cannot be read or written with flags says why, as without them") {
  const temp_folder folder;
  const auto file = opened(folder.file("a", "text"), O_RDONLY);
  const auto sink = opened("/dev/null", O_WRONLY);
  const huge_memory memory{std::size_t{3} << 30};
  std::array<char, 1> byte{};
  const std::vector<iovec> too_many(1025, iovec{byte.data(), 1});
  executor loop{{.direct_descriptors = 1}};

  loop.run([&]() -> task<> {
    std::array<std::byte, 4> buffer{};
    const auto bad = std::errc::bad_file_descriptor;
    CHECK((co_await as_result(ops::read2(-1, buffer, 0, 0))).error() == bad);
    CHECK((co_await as_result(ops::write2(file, buffer, 0, 0))).error() == bad);
    CHECK((co_await as_result(ops::readv2(file, too_many, 0, 0))).error() == std::errc::invalid_argument);
    CHECK((co_await as_result(ops::writev2(sink, too_many, 0, 0))).error() == std::errc::invalid_argument);
    CHECK(co_await ops::write2(sink, memory.bytes(), 0, 0) == ops::transfer_bytes_max);
    CHECK(co_await ops::read2(file, memory.bytes(), 0, 0) == 4);
    const direct_fd direct = co_await ops::to_direct(file);
    CHECK(co_await ops::read2(direct, buffer, 0, 0) == 4);
    CHECK((co_await as_result(ops::writev2(direct, std::span{too_many}.first(1), 0, 0))).error() == bad);
  });
}

}  // namespace gyre
