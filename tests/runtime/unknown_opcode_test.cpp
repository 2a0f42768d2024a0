// SPDX-License-Identifier: MIT
// Operations whose opcode the kernel lacks: refused with the operation's name and the first Linux that has it, and
// nothing happens. The kernel is this one all the same; its probe is made to lack what is newer than Linux 5.19.
#include <gyre/runtime/as_result.hpp>
#include <gyre/runtime/deadline.hpp>
#include <gyre/runtime/detail/kernel_ring.hpp>
#include <gyre/runtime/executor.hpp>
#include <gyre/runtime/ops/direct.hpp>
#include <gyre/runtime/ops/epoll.hpp>
#include <gyre/runtime/ops/file.hpp>
#include <gyre/runtime/ops/futex.hpp>
#include <gyre/runtime/ops/misc.hpp>
#include <gyre/runtime/ops/pipe.hpp>
#include <gyre/runtime/ops/process.hpp>
#include <gyre/runtime/ops/socket.hpp>
#include <gyre/runtime/ops/zero_copy.hpp>

#include "../support/skip.hpp"
#include "../support/socket_pair.hpp"

#include <doctest/doctest.h>
#include <liburing.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <memory>
#include <string>
#include <system_error>

namespace gyre {
namespace {

using namespace std::chrono_literals;
using namespace test;

// As Linux 5.19 has them: IORING_OP_SEND_ZC, which came next, and all that came after it are missing.
executor on_linux_5_19() {
  auto ring = std::make_unique<detail::kernel_ring>(detail::ring_request{});
  for (unsigned opcode = IORING_OP_SEND_ZC; opcode < detail::ring::no_opcode; ++opcode)
    ring->mask(static_cast<std::uint8_t>(opcode));
  return executor{std::move(ring), executor_options{.direct_descriptors = 4}};
}

unique_fd tcp_socket() { return unique_fd{::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)}; }

sockaddr_in loopback_address() {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return address;
}

in_port_t port_of(const unique_fd& socket) {
  sockaddr_in own{};
  socklen_t size = sizeof own;
  REQUIRE(::getsockname(socket.get(), reinterpret_cast<sockaddr*>(&own), &size) == 0);
  return own.sin_port;
}

// Awaits it, and checks that it is refused with both in the text.
template <class Op>
task<> expect_refusal(Op op, std::string name, std::string release) {
  CAPTURE(name);
  std::string told{"nothing was thrown"};
  try {
    static_cast<void>(co_await std::move(op));
  } catch (const std::system_error& error) {
    CHECK(error.code() == std::errc::operation_not_supported);
    told = error.what();
  }
  CHECK(told.find(name + ": ") == 0);
  CHECK(told.find("Linux " + release + " does") != std::string::npos);
}

}  // namespace

TEST_CASE("an executor knows which opcodes its kernel has") {
  const executor loop;

  CHECK(loop.ring().knows(IORING_OP_NOP));
  CHECK(loop.ring().knows(IORING_OP_SOCKET));
  CHECK(!loop.ring().knows(200));
  CHECK(!loop.ring().knows(detail::ring::no_opcode));
}

TEST_CASE("what the kernel lacks is refused, and the text says who is refused and which Linux has it") {
  executor loop = on_linux_5_19();
  const auto address = loopback_address();
  const auto* const generic = reinterpret_cast<const sockaddr*>(&address);
  const auto socket = tcp_socket();
  std::array<std::byte, 4> bytes{};
  std::array<epoll_event, 1> events{};
  std::atomic<std::uint32_t> word = 0;

  loop.run([&]() -> task<> {
    co_await expect_refusal(ops::bind(socket, generic, sizeof address), "bind", "6.11");
    co_await expect_refusal(ops::listen(socket), "listen", "6.11");
    co_await expect_refusal(ops::send_zc(socket, bytes), "send_zc", "6.0");
    co_await expect_refusal(ops::sendmsg_zc(socket, {}), "sendmsg_zc", "6.1");
    co_await expect_refusal(ops::futex_wait(word, 0), "futex_wait", "6.7");
    co_await expect_refusal(ops::futex_wake(word, 1), "futex_wake", "6.7");
    const auto direct = co_await ops::to_direct(socket);
    co_await expect_refusal(ops::to_plain(direct), "to_plain", "6.8");
    co_await expect_refusal(ops::waitid(P_ALL, 0), "waitid", "6.7");
    co_await expect_refusal(ops::ftruncate(socket, 0), "ftruncate", "6.9");
    co_await expect_refusal(ops::epoll_wait(socket, events), "epoll_wait", "6.15");
    co_await expect_refusal(ops::pipe(), "pipe", "6.16");
    co_await expect_refusal(ops::pipe_direct(), "pipe_direct", "6.16");
  });

  CHECK(port_of(socket) == 0);
}

TEST_CASE("what is refused so is refused as a result, within a deadline, and when it had to wait for a place") {
  executor loop = on_linux_5_19();
  const auto socket = tcp_socket();

  loop.run([&]() -> task<> {
    CHECK((co_await as_result(ops::listen(socket))).error() == std::errc::operation_not_supported);
    CHECK((co_await as_result(with_timeout(50ms, ops::listen(socket)))).error() == std::errc::operation_not_supported);
    CHECK((co_await as_result(with_timeout(1h, ops::listen(socket)))).error() == std::errc::operation_not_supported);
    co_await ops::nop();  // the ring goes on
  });
}

TEST_CASE("an error of the kernel's own stays what it is, also that of an operation which may be missing") {
  executor loop;

  loop.run([&]() -> task<> {
    if (!executor::current().ring().knows(IORING_OP_BIND)) {
      SAY_SKIPPED("this kernel has no bind");
      co_return;
    }
    const auto socket = tcp_socket();
    const sockaddr no_address{};
    CHECK((co_await as_result(ops::bind(socket, &no_address, 1))).error() == std::errc::invalid_argument);
  });
}

}  // namespace gyre
