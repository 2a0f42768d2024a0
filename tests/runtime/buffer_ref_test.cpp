// SPDX-License-Identifier: MIT
// What operations take for memory: made of spans and of all that converts to them, cut, and of any size.
#include <gyre/runtime/as_result.hpp>
#include <gyre/runtime/buffer_ref.hpp>
#include <gyre/runtime/executor.hpp>
#include <gyre/runtime/ops/file.hpp>
#include <gyre/runtime/registered_buffer.hpp>
#include <gyre/runtime/unique_fd.hpp>

#include <doctest/doctest.h>
#include <fcntl.h>
#include <liburing.h>
#include <sys/uio.h>
#include <unistd.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <system_error>
#include <type_traits>
#include <utility>
#include <vector>

namespace gyre {
namespace {

using bytes = std::span<std::byte>;
using const_bytes = std::span<const std::byte>;

static_assert(std::is_convertible_v<bytes, buffer_ref>);
static_assert(std::is_convertible_v<std::array<std::byte, 4>&, buffer_ref>);
static_assert(std::is_convertible_v<std::span<std::byte, 4>, buffer_ref>);
static_assert(std::is_convertible_v<std::vector<std::byte>&, buffer_ref>);
static_assert(std::is_convertible_v<const registered_buffer&, buffer_ref>);
static_assert(std::is_convertible_v<buffer_ref, const_buffer_ref>);
static_assert(std::is_convertible_v<const std::vector<std::byte>&, const_buffer_ref>);
static_assert(std::is_convertible_v<bytes, const_buffer_ref>);

// What is not to be written is not written.
static_assert(!std::is_convertible_v<const_bytes, buffer_ref>);
static_assert(!std::is_convertible_v<const std::vector<std::byte>&, buffer_ref>);
static_assert(!std::is_convertible_v<const_buffer_ref, buffer_ref>);
static_assert(!std::is_convertible_v<std::span<char>, buffer_ref>);

static_assert(std::is_convertible_v<std::span<const ::iovec>, iovec_ref>);
static_assert(std::is_convertible_v<std::array<::iovec, 2>&, iovec_ref>);
static_assert(std::is_convertible_v<const std::vector<::iovec>&, iovec_ref>);
static_assert(std::is_trivially_copyable_v<buffer_ref> && std::is_trivially_copyable_v<iovec_ref>);

}  // namespace

TEST_CASE("a reference to plain memory says where it is, and that it is not registered") {
  std::array<std::byte, 8> memory{};

  const buffer_ref whole{memory};
  const const_buffer_ref to_read = whole;

  CHECK(whole.data() == memory.data());
  CHECK(whole.size() == 8);
  CHECK(!whole.is_registered());
  CHECK(to_read.data() == memory.data());
  CHECK(to_read.size() == 8);
  CHECK(!to_read.is_registered());
  CHECK(buffer_ref{}.empty());
  CHECK(buffer_ref{memory.data() + 1, 3}.size() == 3);
}

TEST_CASE("a part of a reference ends where the whole does") {
  std::array<std::byte, 8> memory{};
  const buffer_ref whole{memory};

  CHECK(whole.first(3).size() == 3);
  CHECK(whole.first(9).size() == 8);
  CHECK(whole.subspan(6).data() == memory.data() + 6);
  CHECK(whole.subspan(6).size() == 2);
  CHECK(whole.subspan(6, 9).size() == 2);
  CHECK(whole.subspan(8).empty());
  CHECK(whole.subspan(100, 100).empty());
  CHECK(whole.subspan(100).data() == memory.data() + 8);
}

TEST_CASE("of more than one request can move an entry says the first part") {
  auto* const somewhere = reinterpret_cast<std::byte*>(std::uintptr_t{4096});  // never looked at
  const const_buffer_ref huge{somewhere, std::size_t{5} << 30};
  const const_buffer_ref largest = huge.first(ops::transfer_bytes_max);
  const iovec_ref many{std::span{reinterpret_cast<const ::iovec*>(somewhere), std::size_t{1} << 40}};
  const auto length_of = [](const auto& described, std::uint32_t plain) {
    io_uring_sqe entry{};
    entry.opcode = IORING_OP_WRITE;
    entry.len = plain;
    described.mark(entry, IORING_OP_WRITE_FIXED);
    CHECK(entry.opcode == IORING_OP_WRITE);
    return entry.len;
  };

  CHECK(huge.size() == std::size_t{5} << 30);
  CHECK(huge.subspan(std::size_t{4} << 30).size() == std::size_t{1} << 30);
  CHECK(length_of(huge, huge.plain_size()) == ops::transfer_bytes_max);
  CHECK(length_of(largest, largest.plain_size()) == ops::transfer_bytes_max);
  CHECK(length_of(huge.first(7), huge.first(7).plain_size()) == 7);
  CHECK(length_of(many, many.plain_count()) == INT32_MAX);  // which the kernel refuses
}

TEST_CASE("memory of a size that there cannot be is a bad address") {
  executor loop;
  std::array<std::byte, 4> memory{};
  std::array<int, 2> ends{};
  REQUIRE(::pipe2(ends.data(), O_CLOEXEC) == 0);
  const unique_fd out{ends[0]};
  const unique_fd in{ends[1]};

  loop.run([&]() -> task<> {
    const auto got = co_await as_result(ops::write{in, const_buffer_ref{memory.data(), SIZE_MAX}});
    CHECK(got.error() == std::errc::bad_address);
  });
}

TEST_CASE("a reference to a registered buffer knows its slot, and so do its parts, read or written") {
  executor loop{{.registered_buffers = 4}};
  std::array<std::byte, 64> memory{};

  loop.run([&]() -> task<> {
    const registered_buffer other{loop, bytes{memory}.first(8)};
    const registered_buffer whole{loop, memory};
    const const_buffer_ref part = whole.subspan(16, 8).first(4);
    CHECK(part.is_registered());
    CHECK(part.slot() == whole.slot());
    CHECK(part.slot() != other.slot());
    CHECK(part.data() == memory.data() + 16);
    CHECK(part.size() == 4);
    CHECK(whole.first(1000).size() == 64);
    co_return;
  });
}

TEST_CASE("what owns no registration is empty memory") {
  const registered_buffer nothing;

  CHECK(buffer_ref{nothing}.empty());
  CHECK(!buffer_ref{nothing}.is_registered());
  CHECK(nothing.first(4).empty());
}

}  // namespace gyre
