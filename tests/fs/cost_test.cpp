// SPDX-License-Identifier: MIT
// What files cost, counted: requests to the kernel, and what the heap is asked for. One request for each system call
// that a program without gyre would make, and no memory on the paths that are run a million times.
//
// This program counts every operator new. A sanitizer's build takes each frame from the heap on purpose: there only
// requests are counted.
#include <gyre/fs/directory.hpp>
#include <gyre/fs/file.hpp>
#include <gyre/fs/path_ops.hpp>
#include <gyre/fs/walk.hpp>
#include <gyre/fs/whole_file.hpp>
#include <gyre/runtime/detail/frame_pool.hpp>
#include <gyre/runtime/executor.hpp>

#include "../support/temp_folder.hpp"

#include <doctest/doctest.h>

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <new>
#include <string>
#include <utility>

namespace {

std::atomic<std::uint64_t> allocations_count = 0;

[[maybe_unused]] void* counted_allocation(std::size_t bytes) {
  ++allocations_count;
  if (void* const memory = std::malloc(bytes != 0 ? bytes : 1)) return memory;
  throw std::bad_alloc{};
}

}  // namespace

#if GYRE_DETAIL_POOLED_FRAMES
void* operator new(std::size_t bytes) { return counted_allocation(bytes); }
void* operator new[](std::size_t bytes) { return counted_allocation(bytes); }
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }
void operator delete[](void* memory) noexcept { std::free(memory); }
void operator delete[](void* memory, std::size_t) noexcept { std::free(memory); }
#endif

namespace gyre::fs {
namespace {

using namespace test;

// A folder that is open, so that paths are short, and a small file in it.
struct place {
  place() { folder.file("file", "text"); }

  [[nodiscard]] path_at at(const char* name) const { return path_at{opened.fd(), name}; }

  temp_folder folder;
  executor loop;
  directory opened{loop.run(directory::open(folder.path()))};
};

// Under a sanitizer nothing is counted.
constexpr std::uint64_t one_allocation = GYRE_DETAIL_POOLED_FRAMES;

struct cost {
  std::uint64_t requests = 0;
  std::uint64_t allocations = 0;
  friend bool operator==(const cost&, const cost&) = default;
};

// What a thousand rounds cost, each; two before them warm the pool of frames. A thousandth more is no whole round's.
template <class MakeRound>
cost cost_of(executor& loop, MakeRound make_round) {
  constexpr std::uint64_t rounds_count = 1000;
  cost counted;
  loop.run([&]() -> task<> {
    co_await make_round();
    co_await make_round();
    const auto requests_before = loop.statistics().sqes;
    const std::uint64_t allocations_before = allocations_count;
    for (std::uint64_t round = 0; round < rounds_count; ++round) co_await make_round();
    const std::uint64_t allocations = allocations_count - allocations_before;
    const std::uint64_t requests = loop.statistics().sqes - requests_before;
    CHECK(requests % rounds_count == 0);
    CHECK(allocations % rounds_count == 0);
    counted = {requests / rounds_count, allocations / rounds_count};
  });
  return counted;
}

// Requests only, of something that asks the heap for more, or for less, from time to time.
template <class T>
std::uint64_t requests_of(executor& loop, task<T> once) {
  const auto before = loop.statistics().sqes;
  static_cast<void>(loop.run(std::move(once)));
  return loop.statistics().sqes - before;
}

}  // namespace

TEST_CASE("a transfer at a position is one request, and takes nothing from the heap") {
  place here;
  const open_options both{.access = file_access::read_write};
  const auto file = here.loop.run(file::open(here.at("file"), both));
  std::array<std::byte, 4> bytes{};

  const auto transfer = [&]() -> task<> {
    co_await file.read_at(bytes, 0);
    co_await file.write_at(bytes, 0);
    co_await file.read_exactly_at(bytes, 0);
    co_await file.write_all_at(bytes, 0);
  };

  CHECK(cost_of(here.loop, transfer) == cost{.requests = 4});
}

TEST_CASE("a file opened, read and closed is three requests") {
  place here;
  std::array<std::byte, 4> bytes{};

  const auto read = [&]() -> task<> {
    auto file = co_await file::open(here.at("file"));
    co_await file.read_at(bytes, 0);
    co_await file.close();
  };

  CHECK(cost_of(here.loop, read) == cost{.requests = 3});
}

TEST_CASE("what is behind a name is one request, and what is known of an open file is none") {
  place here;
  const auto file = here.loop.run(file::open(here.at("file")));

  const auto ask = [&]() -> task<> {
    const auto by_name = co_await metadata_of(here.at("file"));
    const auto by_descriptor = file.try_metadata();
    CHECK(by_name.is_same_file(by_descriptor.value()));
  };

  CHECK(cost_of(here.loop, ask) == cost{.requests = 1});
}

TEST_CASE("a file read as a whole is opened, and read once where its size is known") {
  place here;

  const auto read = [&]() -> task<> {
    const auto bytes = co_await read_all(here.at("file"), 1000);
    CHECK(bytes.size() == 4);
  };

  CHECK(cost_of(here.loop, read) == cost{.requests = 2, .allocations = one_allocation});
}

TEST_CASE("names are made, changed and removed by one request each") {
  place here;

  const auto change = [&]() -> task<> {
    co_await make_directory(here.at("made"));
    co_await symlink("made", here.at("link"));
    co_await rename(here.at("made"), here.at("renamed"));
    co_await unlink(here.at("link"));
    co_await remove_directory(here.at("renamed"));
  };

  CHECK(cost_of(here.loop, change) == cost{.requests = 5});
}

TEST_CASE("a file that replaces another is opened, written, closed and renamed, between an open folder and a look") {
  place here;
  const std::array<std::byte, 100> bytes{};
  here.loop.run(write_atomically(here.at("file"), bytes));  // the executor's own request, for its sleep, is laid once

  // The folder, the file that is there, the new one, its bytes, its close, its name.
  CHECK(requests_of(here.loop, write_atomically(here.at("file"), bytes, {.durability = durability::none})) == 6);
  // And a sync of both.
  CHECK(requests_of(here.loop, write_atomically(here.at("file"), bytes, {.durability = durability::full})) == 8);
}

TEST_CASE("a walk opens each directory, and asks for nothing else") {
  place here;
  for (int folder = 0; folder < 10; ++folder) {
    const auto path = std::filesystem::path{here.folder.path()} / std::to_string(folder);
    std::filesystem::create_directory(path);
    for (int file = 0; file < 20; ++file) here.folder.file(std::to_string(folder) + "/" + std::to_string(file), "x");
  }

  const auto count_names = [&]() -> task<int> {
    int count = 0;
    auto entries = walk(here.at("."));
    while (auto entry = co_await entries.next()) ++count;
    co_return count;
  };

  const auto before = here.loop.statistics().sqes;
  CHECK(here.loop.run(count_names()) == 1 + 10 + 200);
  CHECK(here.loop.statistics().sqes - before == 1 + 10);
}

}  // namespace gyre::fs
