// SPDX-License-Identifier: MIT
// What a socket is asked and told through the ring, plain and direct.
#include <gyre/runtime/as_result.hpp>
#include <gyre/runtime/executor.hpp>
#include <gyre/runtime/ops/direct.hpp>
#include <gyre/runtime/ops/misc.hpp>
#include <gyre/runtime/ops/socket_option.hpp>

#include "../../support/outcome.hpp"
#include "../../support/skip.hpp"
#include "../../support/tcp_pair.hpp"
#include "../../support/turning.hpp"

#include <doctest/doctest.h>
#include <netinet/tcp.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include <array>
#include <cstddef>

namespace gyre {
namespace {

using namespace test;

// Linux 6.7 has them. An opcode of its own they are not, so that no probe tells.
bool kernel_has_socket_commands() {
  const tcp_pair pair;
  const bool has_them = run_now([](fd_ref socket) -> task<bool> {
    co_return (co_await as_result(ops::socket_bytes_readable(socket))).has_value();
  }(pair.here));
  if (!has_them) SAY_SKIPPED("this kernel has no commands for sockets");
  return has_them;
}

int plain_option(const unique_fd& socket, int level, int name) {
  int value = -1;
  socklen_t size = sizeof value;
  REQUIRE(::getsockopt(socket.get(), level, name, &value, &size) == 0);
  return value;
}

}  // namespace

TEST_CASE("a socket tells how many bytes wait to be read, and how many are still to be sent") {
  if (!kernel_has_socket_commands()) return;
  const tcp_pair pair;
  executor loop{{.direct_descriptors = 2}};

  loop.run([&]() -> task<> {
    CHECK(co_await ops::socket_bytes_readable(pair.there) == 0);
    REQUIRE(::send(pair.here.get(), "data", 4, 0) == 4);
    CHECK(co_await ops::socket_bytes_readable(pair.there) == 4);
    CHECK(co_await ops::socket_bytes_unsent(pair.here) == 0);
    pair.fill();
    CHECK(co_await ops::socket_bytes_unsent(pair.here) > 0);
    const auto direct = co_await ops::to_direct(pair.there);
    const std::size_t readable_bytes = co_await ops::socket_bytes_readable(pair.there);
    CHECK(readable_bytes >= 4);
    CHECK(co_await ops::socket_bytes_readable(direct) == readable_bytes);
    CHECK(co_await ops::socket_bytes_unsent(direct) == 0);
  });
}

TEST_CASE("an option is set from a value or from bytes, and told into a value or into bytes") {
  if (!kernel_has_socket_commands()) return;
  const tcp_pair pair;
  executor loop{{.direct_descriptors = 2}};

  loop.run([&]() -> task<> {
    co_await ops::setsockopt(pair.here, IPPROTO_TCP, TCP_NODELAY, 1);
    CHECK(plain_option(pair.here, IPPROTO_TCP, TCP_NODELAY) == 1);
    const int off = 0;
    co_await ops::setsockopt(pair.here, IPPROTO_TCP, TCP_NODELAY, std::as_bytes(std::span{&off, 1}));
    CHECK(plain_option(pair.here, IPPROTO_TCP, TCP_NODELAY) == 0);

    int type = -1;
    CHECK(co_await ops::getsockopt(pair.here, SOL_SOCKET, SO_TYPE, type) == sizeof type);
    CHECK(type == SOCK_STREAM);
    std::array<std::byte, 16> room{};
    CHECK(co_await ops::getsockopt(pair.here, SOL_SOCKET, SO_TYPE, room) == sizeof type);

    const auto direct = co_await ops::to_direct(pair.here);
    co_await ops::setsockopt(direct, SOL_SOCKET, SO_KEEPALIVE, 1);
    CHECK(plain_option(pair.here, SOL_SOCKET, SO_KEEPALIVE) == 1);
    int kept_alive = 0;
    co_await ops::getsockopt(direct, SOL_SOCKET, SO_KEEPALIVE, kept_alive);
    CHECK(kept_alive == 1);
  });
}

TEST_CASE("what a socket cannot be asked or told is an error") {
  if (!kernel_has_socket_commands()) return;
  const tcp_pair pair;
  const unique_fd no_socket{::eventfd(0, EFD_CLOEXEC)};
  const unique_fd listener{::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
  REQUIRE(::listen(listener.get(), 1) == 0);
  executor loop;

  loop.run([&]() -> task<> {
    int value = 0;
    CHECK((co_await as_result(ops::socket_bytes_readable(no_socket))).error() == std::errc::operation_not_supported);
    CHECK((co_await as_result(ops::socket_bytes_readable(listener))).error() == std::errc::invalid_argument);
    CHECK((co_await as_result(ops::socket_bytes_unsent(-1))).error() == std::errc::bad_file_descriptor);
    CHECK((co_await as_result(ops::getsockopt(pair.here, IPPROTO_TCP, TCP_NODELAY, value))).error() ==
          std::errc::operation_not_supported);
    CHECK((co_await as_result(ops::getsockopt(pair.here, SOL_SOCKET, -1, value))).error() ==
          std::errc::no_protocol_option);
    CHECK((co_await as_result(ops::setsockopt(pair.here, SOL_SOCKET, -1, 1))).error() == std::errc::no_protocol_option);
    CHECK((co_await as_result(ops::setsockopt(pair.here, SOL_SOCKET, SO_KEEPALIVE, 'x'))).error() ==
          std::errc::invalid_argument);
    CHECK((co_await as_result(ops::setsockopt(pair.here, SOL_SOCKET, SO_KEEPALIVE, std::span<const std::byte>{})))
              .error() == std::errc::invalid_argument);
  });
}

// They complete where they are submitted, so that only one that has not been submitted can be stopped.
TEST_CASE("a command in a scope that is cancelled before it is submitted does nothing") {
  const tcp_pair pair;
  executor loop;
  outcome noted;
  auto setting = loop.start(observe(ops::setsockopt(pair.here, SOL_SOCKET, SO_KEEPALIVE, 1), noted));

  setting.cancel();
  turn_until_done(loop, setting);

  CHECK(noted.how == ended::stopped);
  CHECK(plain_option(pair.here, SOL_SOCKET, SO_KEEPALIVE) == 0);
}

}  // namespace gyre
