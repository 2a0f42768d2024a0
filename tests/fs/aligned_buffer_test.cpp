// SPDX-License-Identifier: MIT
// Aligned memory, and direct I/O on the real kernel with it.
#include <gyre/fs/aligned_buffer.hpp>
#include <gyre/fs/file.hpp>
#include <gyre/runtime/as_result.hpp>
#include <gyre/runtime/executor.hpp>
#include <gyre/runtime/registered_buffer.hpp>

#include "../support/bytes.hpp"
#include "../support/skip.hpp"
#include "../support/temp_folder.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cstdint>
#include <new>
#include <optional>
#include <string>
#include <system_error>
#include <utility>

namespace gyre::fs {
namespace {

using namespace test;

constexpr open_options direct{.access = file_access::read_write, .create = file_creation::if_missing, .direct = true};

// What direct I/O asks of this file; nothing, and a word, where there is none.
std::optional<direct_alignment> asked_alignment(executor& loop, const std::string& path) {
  const auto plain = loop.run(file::open(path));
  const auto asked = loop.run(plain.direct_io_alignment());
  if (!asked) SAY_SKIPPED("no direct I/O on the file system of temporary files");
  return asked;
}

bool is_aligned(const std::byte* memory, std::size_t alignment) {
  return reinterpret_cast<std::uintptr_t>(memory) % alignment == 0;
}

}  // namespace

TEST_CASE("an aligned buffer begins at a multiple, is rounded up to one, and is zeros") {
  aligned_buffer buffer{5000, 512};

  CHECK(is_aligned(buffer.data(), 512));
  CHECK(buffer.size() == 5120);
  CHECK(std::ranges::all_of(buffer.bytes(), [](std::byte each) { return each == std::byte{0}; }));
}

TEST_CASE("an aligned buffer of a size that cannot be rounded up is not to be had, and no smaller one instead") {
  CHECK_THROWS_AS((aligned_buffer{SIZE_MAX, 4096}), std::bad_alloc);
  CHECK_THROWS_AS((aligned_buffer{SIZE_MAX - 4094, 4096}), std::bad_alloc);
  CHECK_THROWS_AS((aligned_buffer{PTRDIFF_MAX, 2}), std::bad_alloc);
  CHECK_THROWS_AS((aligned_buffer{1, SIZE_MAX / 2 + 1}), std::bad_alloc);
}

TEST_CASE("an aligned buffer that was moved from is empty") {
  aligned_buffer buffer{4096};
  const aligned_buffer taken{std::move(buffer)};

  CHECK(taken.size() == 4096);
  CHECK(buffer.bytes().empty());  // NOLINT(bugprone-use-after-move)
}

TEST_CASE("direct I/O moves what the alignment of its file allows") {
  const temp_folder folder;
  executor loop;
  const auto path = folder.file("file", std::string(8192, 'x'));
  const auto asked = asked_alignment(loop, path);
  if (!asked) return;
  aligned_buffer buffer{4096, std::max(asked->memory_bytes, asked->offset_bytes)};

  loop.run([&]() -> task<> {
    auto opened = co_await file::open(path, direct);
    std::ranges::fill(buffer.bytes(), std::byte{'y'});
    CHECK(co_await opened.write_at(buffer.bytes(), /*offset=*/4096) == 4096);
    CHECK(co_await opened.read_at(buffer.bytes(), /*offset=*/0) == 4096);
    co_await opened.close();
  });

  CHECK(buffer.bytes().front() == std::byte{'x'});
  CHECK(content_of(path) == std::string(4096, 'x') + std::string(4096, 'y'));
}

TEST_CASE("direct I/O at an odd offset is refused") {
  const temp_folder folder;
  executor loop;
  const auto path = folder.file("file", std::string(8192, 'x'));
  const auto asked = asked_alignment(loop, path);
  if (!asked || asked->offset_bytes == 1) return;
  aligned_buffer buffer{4096, 4096};

  loop.run([&]() -> task<> {
    const auto opened = co_await file::open(path, direct);
    const auto refused = co_await as_result(opened.read_at(buffer.bytes(), /*offset=*/1));
    CHECK(refused.error() == std::errc::invalid_argument);
  });
}

TEST_CASE("a file reads into registered memory, past the page cache") {
  const temp_folder folder;
  executor loop{{.registered_buffers = 1}};
  const auto path = folder.file("file", std::string(4096, 'x'));
  if (!asked_alignment(loop, path)) return;
  aligned_buffer memory{4096, 4096};
  const registered_buffer registered{loop, memory.bytes()};

  loop.run([&]() -> task<> {
    const auto opened = co_await file::open(path, direct);
    co_await opened.read_exactly_at(registered, /*offset=*/0);
  });

  CHECK(text_of(memory.bytes()) == std::string(4096, 'x'));
}

}  // namespace gyre::fs
