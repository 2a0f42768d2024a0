// SPDX-License-Identifier: MIT
// Advice on files and memory, on the kernel.
#include <gyre/runtime/as_result.hpp>
#include <gyre/runtime/executor.hpp>
#include <gyre/runtime/ops/advise.hpp>
#include <gyre/runtime/ops/direct.hpp>

#include "../../support/huge_memory.hpp"
#include "../../support/temp_folder.hpp"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

namespace gyre {
namespace {

using namespace test;

}  // namespace

TEST_CASE("fadvise takes each advice, for any length, and refuses what is none") {
  const temp_folder folder;
  const auto path = folder.file("a", std::string(8192, 'x'));
  const unique_fd file{::open(path.c_str(), O_RDONLY | O_CLOEXEC)};
  std::array<int, 2> ends{};
  REQUIRE(::pipe2(ends.data(), O_CLOEXEC) == 0);
  const unique_fd reading{ends[0]};
  const unique_fd writing{ends[1]};
  executor loop{{.direct_descriptors = 1}};

  loop.run([&]() -> task<> {
    for (const int advice : {POSIX_FADV_NORMAL, POSIX_FADV_RANDOM, POSIX_FADV_SEQUENTIAL, POSIX_FADV_WILLNEED,
                             POSIX_FADV_NOREUSE, POSIX_FADV_DONTNEED}) {
      co_await ops::fadvise(file, 0, 4096, advice);
      co_await ops::fadvise(file, 4096, 0, advice);
    }
    const auto longer = co_await as_result(ops::fadvise(file, 0, std::uint64_t{5} << 30, POSIX_FADV_DONTNEED));
    CHECK((longer.has_value() || longer.error() == std::errc::invalid_argument));  // before Linux 6.11
    const direct_fd direct = co_await ops::to_direct(file);
    co_await ops::fadvise(direct, 0, 0, POSIX_FADV_WILLNEED);
    CHECK((co_await as_result(ops::fadvise(file, 0, 0, 1000))).error() == std::errc::invalid_argument);
    CHECK((co_await as_result(ops::fadvise(file, 0, ~std::uint64_t{0}, 0))).error() == std::errc::invalid_argument);
    CHECK((co_await as_result(ops::fadvise(reading, 0, 0, 0))).error() == std::errc::invalid_seek);
    CHECK((co_await as_result(ops::fadvise(-1, 0, 0, 0))).error() == std::errc::bad_file_descriptor);
  });
}

TEST_CASE("madvise gives memory back, as much as it is told to") {
  constexpr std::size_t page = 4096;
  const huge_memory memory{(std::size_t{4} << 30) + 2 * page};
  const auto bytes = memory.bytes();
  bytes.front() = std::byte{1};
  bytes[page] = std::byte{2};
  bytes.back() = std::byte{3};
  executor loop;

  loop.run([&]() -> task<> {
    co_await ops::madvise(bytes.first(page), MADV_DONTNEED);
    CHECK(bytes.front() == std::byte{0});
    CHECK(bytes[page] == std::byte{2});
    co_await ops::madvise(bytes.first(0), MADV_DONTNEED);
    CHECK(bytes[page] == std::byte{2});
    const auto longer = co_await as_result(ops::madvise(bytes, MADV_DONTNEED));
    if (longer) CHECK(bytes.back() == std::byte{0});
    else CHECK(longer.error() == std::errc::invalid_argument);  // before Linux 6.11
  });
}

TEST_CASE("madvise says what is wrong") {
  constexpr std::size_t page = 4096;
  const huge_memory memory{4 * page};
  const auto bytes = memory.bytes();
  REQUIRE(::mprotect(bytes.data() + page, page, PROT_READ) == 0);
  std::span<std::byte> gone;
  {
    const huge_memory unmapped{page};
    gone = unmapped.bytes();
  }
  executor loop;

  loop.run([&]() -> task<> {
    const auto askew = co_await as_result(ops::madvise(bytes.subspan(1, page), MADV_DONTNEED));
    CHECK(askew.error() == std::errc::invalid_argument);
    const auto unheard_of = co_await as_result(ops::madvise(bytes, 10'000));
    CHECK(unheard_of.error() == std::errc::invalid_argument);
    const auto nowhere = co_await as_result(ops::madvise(gone, MADV_DONTNEED));
    CHECK(nowhere.error() == std::errc::not_enough_memory);
  });
}

}  // namespace gyre
