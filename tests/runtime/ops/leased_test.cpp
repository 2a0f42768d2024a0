// SPDX-License-Identifier: MIT
// Single operations into a pool's buffer: what they bring, what they leave behind when they fail or are stopped.
#include <gyre/runtime/as_result.hpp>
#include <gyre/runtime/cancel_scope.hpp>
#include <gyre/runtime/ops/direct.hpp>
#include <gyre/runtime/ops/leased.hpp>
#include <gyre/runtime/ops/pool_streams.hpp>
#include <gyre/runtime/ops/provide.hpp>
#include <gyre/runtime/this_task.hpp>

#include "../../support/bytes.hpp"
#include "../../support/modes.hpp"
#include "../../support/outcome.hpp"
#include "../../support/scripted.hpp"
#include "../../support/skip.hpp"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <liburing.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <string>
#include <utility>
#include <vector>

namespace gyre {
namespace {

using namespace test;
using detail::scripted_ring;

constexpr int some_socket = 1'000'123;

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

TEST_CASE("recv_leased brings what is there, and an empty lease at the end") {
  executor loop{options_under_test({.direct_descriptors = 2})};
  for (const bool incremental : {false, true}) {
    const buffer_pool pool{loop, {.buffers_count = 2, .buffer_bytes = 8, .incremental = incremental}};
    const two_ends pair;
    REQUIRE(::send(pair.there.get(), "0123456789", 10, 0) == 10);
    ::shutdown(pair.there.get(), SHUT_WR);

    loop.run([&]() -> task<> {
      CHECK(text_of(co_await ops::recv_leased(pair.here, pool)) == "01234567");
      const auto direct = co_await ops::to_direct(pair.here);
      CHECK(text_of(co_await ops::recv_leased(direct, pool)) == "89");
      CHECK(!co_await ops::recv_leased(pair.here, pool));
    });
    CHECK(pool.statistics().on_loan == 0);
    CHECK(pool.statistics().free_buffers == 2);
  }
}

TEST_CASE("read_leased brings parts of a file, and gives back the buffer of an end and of an error") {
  executor loop{options_under_test()};
  const buffer_pool pool{loop, {.buffers_count = 1, .buffer_bytes = 4}};
  const unique_fd file{::open("/proc/self/exe", O_RDONLY | O_CLOEXEC)};
  const unique_fd folder{::open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC)};

  loop.run([&]() -> task<> {
    for (int i = 0; i < 3; ++i) {
      CHECK(text_of(co_await ops::read_leased(file, pool, 0)) ==
            "\x7f"
            "ELF");
      CHECK(!co_await ops::read_leased(file, pool, std::uint64_t{1} << 40));
      const auto refused = co_await as_result(ops::read_leased(folder, pool, 0));
      CHECK(refused.error() == std::errc::is_a_directory);
      CHECK_THROWS_AS(static_cast<void>(co_await ops::read_leased(folder, pool, 0)), std::system_error);
    }
  });

  CHECK(pool.ask_kernel().value() == 1);
}

TEST_CASE("read_leased refuses an incremental pool, whose buffers the kernel would lose count of") {
  executor loop{options_under_test()};
  const buffer_pool pool{loop, {.buffers_count = 1, .buffer_bytes = 64, .incremental = true}};
  if (!pool.is_incremental()) {
    SAY_SKIPPED("this kernel is not trusted with incremental buffers");
    return;
  }
  const unique_fd file{::open("/proc/self/exe", O_RDONLY | O_CLOEXEC)};

  const auto refused = loop.run(
      [&]() -> task<std::error_code> { co_return (co_await as_result(ops::read_leased(file, pool))).error(); });

  CHECK(refused == std::errc::invalid_argument);
}

TEST_CASE("where no buffer is left it is an error, counted, and until_free() knows when to try again") {
  executor loop{options_under_test()};
  const buffer_pool pool{loop, {.buffers_count = 1, .buffer_bytes = 4}};
  const two_ends pair;
  REQUIRE(::send(pair.there.get(), "onetwo", 6, 0) == 6);

  loop.run([&]() -> task<> {
    auto kept = co_await ops::recv_leased(pair.here, pool);
    const auto refused = co_await as_result(ops::recv_leased(pair.here, pool));
    CHECK(refused.error() == std::errc::no_buffer_space);
    CHECK(pool.statistics().shortages == 1);
    kept.reset();
    co_await pool.until_free();
    CHECK(text_of(co_await ops::recv_leased(pair.here, pool)) == "wo");
  });
}

TEST_CASE("one that is stopped takes no buffer with it; one that has won against the stop is delivered") {
  for (const bool wins : {false, true}) {
    scripted_executor on{by_hand};
    const buffer_pool pool{on.loop, {.buffers_count = 2, .buffer_bytes = 8}};
    const auto group = on.script.buffer_groups().front();
    std::string received;
    auto root = on.loop.start([](const buffer_pool& from, std::string& to) -> task<> {
      to = text_of(co_await ops::recv_leased(some_socket, from));
    }(pool, received));
    on.loop.run_ready();

    root.cancel();
    on.loop.run_ready();
    CHECK(on.script.only(IORING_OP_RECV).stop_asked);
    if (wins) on.script.deliver_selected(on.script.only(IORING_OP_RECV), "won", /*more=*/false);
    else on.script.complete(on.script.only(IORING_OP_RECV), -ECANCELED);
    on.script.complete(on.script.only(IORING_OP_ASYNC_CANCEL), wins ? -ENOENT : 0);
    on.loop.run_ready();

    CHECK(root.done());
    CHECK(root.stopped() != wins);
    CHECK(received == (wins ? "won" : ""));
    CHECK(on.script.buffers_in(group) == 2);
  }
}

TEST_CASE("a stream that found no buffer while a read may have taken it tries again when that has ended") {
  scripted_executor on{by_hand};
  {
    const buffer_pool pool{on.loop, {.buffers_count = 1, .buffer_bytes = 8}};
    ops::recv_stream incoming{some_socket, pool};
    outcome of_read;
    outcome of_stream;
    auto reading = on.loop.start(observe(ops::read_leased(some_socket, pool, 0), of_read));
    auto streaming = on.loop.start(observe(incoming.next(), of_stream));
    on.loop.run_ready();

    const std::uint32_t has_a_buffer = on.script.take_buffer_for(on.script.only(IORING_OP_READ));
    on.script.complete(on.script.only(IORING_OP_RECV), -ENOBUFS);
    for (int i = 0; i < 5; ++i) on.loop.turn(/*may_park=*/false);
    CHECK(on.script.taken_count(IORING_OP_RECV) == 1);
    on.script.complete(on.script.only(IORING_OP_READ), -EIO, has_a_buffer);
    on.loop.run_ready();

    CHECK(of_read.error == std::errc::io_error);
    CHECK(on.script.taken_count(IORING_OP_RECV) == 2);
    on.stop(streaming);
  }
  on.loop.run_ready();
  on.script.complete(on.script.only(IORING_OP_ASYNC_CANCEL), 0);
  on.script.complete(on.script.only(IORING_OP_RECV), -ECANCELED);
  on.loop.run_ready();
}

TEST_CASE("a stream that found no buffer tries again when one is back, though a receive waits that may never take it") {
  scripted_executor on{by_hand};
  {
    const buffer_pool pool{on.loop, {.buffers_count = 1, .buffer_bytes = 8}};
    const auto group = on.script.buffer_groups().front();
    ops::recv_stream incoming{some_socket, pool};
    outcome of_idle;
    outcome of_stream;
    auto idle = on.loop.start(observe(ops::recv_leased(some_socket + 1, pool), of_idle));
    auto streaming = on.loop.start(observe(incoming.next(), of_stream));
    on.loop.run_ready();
    const auto receiving = on.script.in_flight(IORING_OP_RECV).back();
    CHECK(on.script.buffers_in(group) == 1);
    on.script.complete(receiving, -ENOBUFS);  // told late: the buffer is back
    for (int i = 0; i < 5; ++i) on.loop.turn(/*may_park=*/false);
    CHECK(on.script.taken_count(IORING_OP_RECV) == 3);

    on.stop(streaming);
    on.stop(idle);
    for (const auto& each : on.script.in_flight(IORING_OP_RECV)) on.script.complete(each, -ECANCELED);
    for (const auto& each : on.script.in_flight(IORING_OP_ASYNC_CANCEL)) on.script.complete(each, 0);
    on.loop.run_ready();
  }
  for (const auto& each : on.script.in_flight(IORING_OP_RECV)) on.script.complete(each, -ECANCELED);
  for (const auto& each : on.script.in_flight(IORING_OP_ASYNC_CANCEL)) on.script.complete(each, 0);
  on.loop.run_ready();
}

TEST_CASE("one that is stopped when it has a buffer gives it back, whoever awaits") {
  for (const bool as_error : {false, true}) {
    scripted_executor on{by_hand};
    const buffer_pool pool{on.loop, {.buffers_count = 2, .buffer_bytes = 8}};
    const auto group = on.script.buffer_groups().front();
    outcome noted;
    auto root = on.loop.start([](const buffer_pool& from, outcome& to, bool told) -> task<> {
      if (told) co_await observe(stopped_as_error(ops::read_leased(some_socket, from, 0)), to);
      else co_await observe(ops::read_leased(some_socket, from, 0), to);
    }(pool, noted, as_error));
    on.loop.run_ready();
    root.cancel();
    on.loop.run_ready();
    on.script.complete_with_buffer(on.script.only(IORING_OP_READ), -ECANCELED);
    on.script.complete(on.script.only(IORING_OP_ASYNC_CANCEL), 0);
    on.loop.run_ready();
    CHECK(root.done());
    CHECK(on.script.buffers_in(group) == 2);
    CHECK(pool.statistics().on_loan == 0);
  }
}

TEST_CASE("one that the kernel never saw gives back no buffer, whatever lay in its place before") {
  scripted_executor on{by_hand};
  const buffer_pool pool{on.loop, {.buffers_count = 2, .buffer_bytes = 8}};
  const auto group = on.script.buffer_groups().front();
  std::error_code error;
  auto root = on.loop.start([](const buffer_pool& from, std::error_code& to) -> task<> {
    std::vector<buffer_lease> kept;
    for (int i = 0; i < 2; ++i) {  // in the same place of the frame
      auto received = co_await as_result(stopped_as_error(ops::recv_leased(some_socket, from)));
      if (received) kept.push_back(std::move(*received));
      else to = received.error();
      if (received) (co_await this_task::scope()).cancel();
    }
  }(pool, error));
  on.loop.run_ready();
  on.script.deliver_selected(on.script.only(IORING_OP_RECV), "kept", /*more=*/false);
  on.loop.run_ready();
  CHECK(root.done());
  CHECK(error == std::errc::operation_canceled);
  CHECK(on.script.buffers_in(group) == 2);
  CHECK(pool.statistics().free_buffers == 2);
}

TEST_CASE("buffers are provided and removed by requests, in a group that is no pool's") {
  executor loop{options_under_test()};
  const buffer_pool pool{loop, {.buffers_count = 1, .buffer_bytes = 64}};
  std::vector<std::byte> memory(1000);

  loop.run([&]() -> task<> {
    co_await ops::provide_buffers(memory, 100, /*group=*/1, /*first_id=*/5);
    CHECK(co_await ops::remove_buffers(1, 4) == 4);
    CHECK(co_await ops::remove_buffers(1, 100) == 6);
    const auto of_nobody = co_await as_result(ops::remove_buffers(2, 1));
    CHECK(of_nobody.error() == std::errc::no_such_file_or_directory);
    const auto of_none = co_await as_result(ops::remove_buffers(1, 0));
    CHECK(of_none.error() == std::errc::invalid_argument);
    const auto of_pool = co_await as_result(ops::provide_buffers(memory, 100, pool.group().number()));
    CHECK(of_pool.error() == std::errc::invalid_argument);
    for (const std::size_t bytes : {std::size_t{0}, std::size_t{2000}, std::size_t{1} << 40}) {
      const auto refused = co_await as_result(ops::provide_buffers(memory, bytes, 1));
      CHECK(refused.error().value() != 0);
    }
    const auto too_many = co_await as_result(ops::provide_buffers(memory, 100, 1, 65'530));
    CHECK(too_many.error().value() != 0);
  });
}

}  // namespace gyre
