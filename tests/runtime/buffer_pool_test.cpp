// SPDX-License-Identifier: MIT
// A pool by itself: what it is made with, what it is refused, and leases that go where they like.
#include <gyre/runtime/as_result.hpp>
#include <gyre/runtime/buffer_pool.hpp>
#include <gyre/runtime/detail/sanitizers.hpp>
#include <gyre/runtime/executor.hpp>
#include <gyre/runtime/ops/leased.hpp>
#include <gyre/runtime/ops/pool_streams.hpp>
#include <gyre/runtime/ops/socket.hpp>

#include "../support/bytes.hpp"
#include "../support/scripted.hpp"

#include <doctest/doctest.h>
#include <liburing.h>
#include <sys/socket.h>
#include <unistd.h>

#if GYRE_DETAIL_ADDRESS_SANITIZER
#include <sanitizer/asan_interface.h>
#endif

#include <array>
#include <cerrno>
#include <cstdint>
#include <optional>
#include <system_error>
#include <thread>
#include <utility>

namespace gyre {
namespace {

using namespace test;

std::error_code refusal_of(executor& loop, const buffer_pool_options& options) {
  try {
    const buffer_pool made{loop, options};
  } catch (const std::system_error& error) {
    return error.code();
  }
  return {};
}

struct two_ends {
  two_ends() {
    std::array<int, 2> ends{};
    REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()) == 0);
    here.reset(ends[0]);
    there.reset(ends[1]);
  }
  unique_fd here;
  unique_fd there;
};

}  // namespace

TEST_CASE("a pool has a power of two of buffers, all of them the kernel's at first") {
  executor loop;
  const buffer_pool pool{loop, {.buffers_count = 100, .buffer_bytes = 1000}};

  CHECK(pool.buffers_count() == 128);
  CHECK(pool.buffer_bytes() == 1000);
  CHECK(pool.statistics().free_buffers == 128);
  CHECK(pool.statistics().on_loan == 0);
  const auto asked = pool.ask_kernel();
  if (asked) CHECK(*asked == 128);
  else CHECK(asked.error() == std::errc::invalid_argument);  // before Linux 6.8
}

TEST_CASE("what no pool can be is an error, and so is what the machine refuses") {
  executor loop;
  CHECK(refusal_of(loop, {.buffers_count = 0}) == std::errc::invalid_argument);
  CHECK(refusal_of(loop, {.buffer_bytes = 0}) == std::errc::invalid_argument);
  CHECK(refusal_of(loop, {.buffers_count = 32'769}) == std::errc::invalid_argument);
  CHECK(refusal_of(loop, {.buffer_bytes = std::size_t{1} << 31}) == std::errc::invalid_argument);
  CHECK(refusal_of(loop, {.buffers_count = 32'768, .buffer_bytes = INT32_MAX}) == std::errc::not_enough_memory);
  CHECK(!refusal_of(loop, {.buffers_count = 1, .buffer_bytes = 1}));

  scripted_executor on{{.on_cancel = detail::scripted_ring::cancels::by_hand, .buffer_ring_error = ENOMEM}};
  CHECK(refusal_of(on.loop, {}) == std::errc::not_enough_memory);
}

TEST_CASE("each pool of an executor has a number of its own, which is free again when it goes") {
  scripted_executor on;
  std::optional<buffer_pool> first{buffer_pool{on.loop, {.buffers_count = 1}}};
  const buffer_pool second{on.loop, {.buffers_count = 1}};
  CHECK(on.script.buffer_groups() == std::vector<std::uint16_t>{65'535, 65'534});

  first.reset();
  const buffer_pool third{on.loop, {.buffers_count = 1}};

  CHECK(on.script.buffer_groups() == std::vector<std::uint16_t>{65'534, 65'535});
}

TEST_CASE("a group's number that somebody has taken by hand is passed over") {
  scripted_executor on;
  alignas(4096) std::array<std::byte, 4096> entries{};
  REQUIRE(on.script.register_buffer_ring({.entries = entries.data(), .count = 1, .group = 65'535}) == 0);

  const buffer_pool pool{on.loop, {.buffers_count = 1}};

  CHECK(on.script.buffer_groups().back() == 65'534);
}

TEST_CASE("a lease moves, can be given back early, and is a range of bytes that operations take") {
  executor loop;
  const buffer_pool pool{loop, {.buffers_count = 2, .buffer_bytes = 64}};
  const two_ends pair;
  REQUIRE(::send(pair.there.get(), "echo", 4, 0) == 4);

  loop.run([&]() -> task<> {
    buffer_lease received = co_await ops::recv_leased(pair.here, pool);
    CHECK(!received.empty());
    buffer_lease moved{std::move(received)};
    CHECK(!received);
    received = std::move(moved);
    CHECK(text_of(received) == "echo");
    co_await ops::send(pair.here, received);
    CHECK(pool.statistics().on_loan == 1);
    received.reset();
    CHECK(pool.statistics().on_loan == 0);
  });

  std::array<char, 8> back{};
  CHECK(::recv(pair.there.get(), back.data(), back.size(), 0) == 4);
}

TEST_CASE("leases that are dropped on another thread come home, and wake who waits for a buffer there") {
  executor loop;
  for (const bool incremental : {false, true}) {
    const buffer_pool pool{loop, {.buffers_count = 1, .buffer_bytes = 4, .incremental = incremental}};
    const two_ends pair;
    REQUIRE(::send(pair.there.get(), "onetwothree", 11, 0) == 11);
    ops::recv_stream incoming{pair.here, pool};
    std::string received;

    loop.run([&]() -> task<> {
      while (received.size() < 11) {
        auto chunk = co_await incoming.next();
        received += text_of(*chunk);
        std::thread{[lease = std::move(*chunk)]() mutable { lease.reset(); }}.detach();
      }
    });

    CHECK(received == "onetwothree");
    CHECK(pool.statistics().shortages > 0);
  }
}

TEST_CASE("a lease that is dropped on another thread while its pool goes, or after it, is freed by the last of them") {
  for (int i = 0; i < 100; ++i) {
    std::thread other;
    {
      executor loop;
      const two_ends pair;
      REQUIRE(::send(pair.there.get(), "bytes", 5, 0) == 5);
      const auto receive = [&]() -> task<buffer_lease> {
        const buffer_pool pool{loop, {.buffers_count = 1, .buffer_bytes = 64}};
        co_return co_await ops::recv_leased(pair.here, pool);
      };
      other = std::thread{[mine = loop.run(receive)] { CHECK(text_of(mine) == "bytes"); }};
    }
    other.join();
  }
}

#ifdef ASAN_POISON_MEMORY_REGION
TEST_CASE("a buffer that has gone back shows under AddressSanitizer when it is used") {
  executor loop;
  for (const bool incremental : {false, true}) {
    const buffer_pool pool{loop, {.buffers_count = 1, .buffer_bytes = 8, .incremental = incremental}};
    const two_ends pair;
    REQUIRE(::send(pair.there.get(), "12345678", 8, 0) == 8);
    loop.run([&]() -> task<> {
      buffer_lease lease = co_await ops::recv_leased(pair.here, pool);
      std::byte* const begin = lease.data();
      CHECK(__asan_region_is_poisoned(begin, 8) == nullptr);
      lease.reset();
      CHECK(__asan_address_is_poisoned(begin) == 1);
    });
  }
}
#endif

}  // namespace gyre
