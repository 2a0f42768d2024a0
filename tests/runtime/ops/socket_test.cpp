// SPDX-License-Identifier: MIT
// Operations on sockets, polls, timeouts and nops, on the kernel: what they do, and how they fail. Cancels:
// kernel_cancel_test.cpp; send_all and recv_all: transfer_test.cpp.
#include <gyre/runtime/as_result.hpp>
#include <gyre/runtime/executor.hpp>
#include <gyre/runtime/ops/cancel.hpp>
#include <gyre/runtime/ops/direct.hpp>
#include <gyre/runtime/ops/misc.hpp>
#include <gyre/runtime/ops/poll.hpp>
#include <gyre/runtime/ops/socket.hpp>
#include <gyre/runtime/ops/timeout.hpp>
#include <gyre/runtime/ops/transfer.hpp>

#include "../../support/outcome.hpp"
#include "../../support/skip.hpp"
#include "../../support/socket_pair.hpp"
#include "../../support/turning.hpp"

#include <arpa/inet.h>
#include <doctest/doctest.h>
#include <fcntl.h>
#include <liburing.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <cstddef>
#include <span>
#include <utility>

namespace gyre {
namespace {

using namespace std::chrono_literals;
using namespace test;

struct listener {
  listener() : fd{::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)} {
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    REQUIRE(::bind(fd.get(), generic(), size) == 0);
    REQUIRE(::getsockname(fd.get(), reinterpret_cast<sockaddr*>(&address), &size) == 0);
    REQUIRE(::listen(fd.get(), 16) == 0);
  }
  const sockaddr* generic() const { return reinterpret_cast<const sockaddr*>(&address); }

  unique_fd fd;
  sockaddr_in address{};
};

}  // namespace

TEST_CASE("socket, connect, accept, send and recv make a conversation") {
  const listener server;
  executor loop;

  loop.run([&]() -> task<> {
    const auto client = co_await ops::socket(AF_INET, SOCK_STREAM);
    CHECK((::fcntl(client.get(), F_GETFD) & FD_CLOEXEC) != 0);
    co_await ops::connect(client, server.generic(), sizeof server.address);

    sockaddr_in peer{};
    socklen_t peer_size = sizeof peer;
    const auto accepted = co_await ops::accept(server.fd, reinterpret_cast<sockaddr*>(&peer), &peer_size);
    CHECK((::fcntl(accepted.get(), F_GETFD) & FD_CLOEXEC) != 0);
    sockaddr_in own{};
    socklen_t own_size = sizeof own;
    CHECK(::getsockname(client.get(), reinterpret_cast<sockaddr*>(&own), &own_size) == 0);
    CHECK(peer.sin_port == own.sin_port);

    const std::array<std::byte, 3> bytes{std::byte{1}, std::byte{2}, std::byte{3}};
    std::array<std::byte, 10> buffer{};
    CHECK(co_await ops::send(client, bytes) == 3);
    CHECK(co_await ops::recv(accepted, buffer) == 3);
    CHECK(buffer[2] == std::byte{3});

    co_await ops::shutdown(client, SHUT_WR);
    CHECK(co_await ops::recv(accepted, buffer) == 0);
  });
}

namespace {

bool kernel_binds() {
  const bool has_it = executor{}.ring().knows(IORING_OP_LISTEN);
  if (!has_it) SAY_SKIPPED("this kernel has no bind and listen");
  return has_it;
}

sockaddr_in any_port() {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return address;
}

sockaddr_in address_of(const unique_fd& socket) {
  sockaddr_in own{};
  socklen_t size = sizeof own;
  REQUIRE(::getsockname(socket.get(), reinterpret_cast<sockaddr*>(&own), &size) == 0);
  return own;
}

}  // namespace

TEST_CASE("a server is made by operations alone, of plain descriptors or direct ones: socket, bind, listen, accept") {
  if (!kernel_binds()) return;
  executor loop{{.direct_descriptors = 2}};

  loop.run([]() -> task<> {
    const auto wanted = any_port();
    const auto* const address = reinterpret_cast<const sockaddr*>(&wanted);
    const auto listener = co_await ops::socket(AF_INET, SOCK_STREAM);
    co_await ops::bind(listener, address, sizeof wanted);
    co_await ops::listen(listener, 5);
    const auto direct = co_await ops::socket_direct(AF_INET, SOCK_STREAM);
    co_await ops::bind(direct, address, sizeof wanted);
    co_await ops::listen(direct);

    const auto own = address_of(listener);
    const auto client = co_await ops::socket(AF_INET, SOCK_STREAM);
    co_await ops::connect(client, reinterpret_cast<const sockaddr*>(&own), sizeof own);
    CHECK(static_cast<bool>(co_await ops::accept(listener)));
  });
}

TEST_CASE("what bind and listen refuse says why") {
  if (!kernel_binds()) return;
  const listener server;
  const socket_pair pair;
  executor loop;

  loop.run([&]() -> task<> {
    const auto other = co_await ops::socket(AF_INET, SOCK_STREAM);
    CHECK((co_await as_result(ops::bind(other, server.generic(), sizeof server.address))).error() ==
          std::errc::address_in_use);
    CHECK((co_await as_result(ops::bind(other, nullptr, sizeof server.address))).error() == std::errc::bad_address);
    CHECK((co_await as_result(ops::bind(other, server.generic(), 1 << 20))).error() == std::errc::invalid_argument);
    CHECK((co_await as_result(ops::bind(-1, server.generic(), sizeof server.address))).error() ==
          std::errc::bad_file_descriptor);
    CHECK((co_await as_result(ops::listen(pair.here))).error() == std::errc::invalid_argument);
    CHECK((co_await as_result(ops::listen(-1))).error() == std::errc::bad_file_descriptor);
  });
}

TEST_CASE("receiving and sending that waits first comes to the same, with plain descriptors and direct ones") {
  const socket_pair pair;
  executor loop{{.direct_descriptors = 2}};

  loop.run([&]() -> task<> {
    const auto direct = co_await ops::to_direct(pair.there);
    const std::array<std::byte, 4> bytes{std::byte{1}};
    std::array<std::byte, 10> buffer{};
    CHECK(co_await ops::send_poll_first(pair.here, bytes) == 4);
    CHECK(co_await ops::recv_poll_first(direct, buffer, MSG_PEEK) == 4);
    CHECK(co_await ops::recv_poll_first(pair.there, buffer) == 4);
    CHECK(buffer[0] == std::byte{1});
    CHECK((co_await as_result(ops::recv_poll_first(-1, buffer))).error() == std::errc::bad_file_descriptor);
    CHECK((co_await as_result(ops::send_poll_first(-1, bytes))).error() == std::errc::bad_file_descriptor);
  });
}

TEST_CASE("a receive that waits first is stopped while it waits, and loses nothing") {
  const socket_pair pair;
  executor loop;
  outcome noted;
  std::array<std::byte, 4> buffer{};
  auto receiving = loop.start(observe(ops::recv_poll_first(pair.here, buffer), noted));
  loop.run_ready();
  REQUIRE(noted.how == ended::not_yet);

  receiving.cancel();
  turn_until_done(loop, receiving);

  CHECK(noted.how == ended::stopped);
  REQUIRE(::send(pair.there.get(), "data", 4, 0) == 4);
  CHECK(loop.run([](fd_ref from, std::span<std::byte> into) -> task<std::size_t> {
    co_return co_await ops::recv_poll_first(from, into);
  }(pair.here, buffer)) == 4);
}

TEST_CASE("what sockets refuse says why") {
  const listener server;
  const socket_pair pair;
  executor loop;

  loop.run([&]() -> task<> {
    std::array<std::byte, 4> buffer{};
    const auto no_family = co_await as_result(ops::socket(-1, SOCK_STREAM));
    CHECK(no_family.error() == std::errc::address_family_not_supported);
    const auto unconnected = co_await ops::socket(AF_INET, SOCK_STREAM);
    CHECK((co_await as_result(ops::recv(unconnected, buffer))).error() == std::errc::not_connected);
    CHECK((co_await as_result(ops::shutdown(unconnected, SHUT_RD))).error() == std::errc::not_connected);
    CHECK((co_await as_result(ops::accept(pair.here))).error() == std::errc::invalid_argument);
    CHECK((co_await as_result(ops::recv(-1, buffer))).error() == std::errc::bad_file_descriptor);
  });
}

TEST_CASE("connecting where nobody listens is refused") {
  listener gone;
  gone.fd.reset();
  executor loop;

  loop.run([&]() -> task<> {
    const auto client = co_await ops::socket(AF_INET, SOCK_STREAM);
    const auto refused = co_await as_result(ops::connect(client, gone.generic(), sizeof gone.address));
    CHECK(refused.error() == std::errc::connection_refused);
  });
}

TEST_CASE("sending to a peer that is gone is an error and no signal") {
  socket_pair pair;
  pair.there.reset();
  executor loop;

  loop.run([&]() -> task<> {
    const std::array<std::byte, 4> bytes{};
    CHECK((co_await as_result(ops::send(pair.here, bytes))).error() == std::errc::broken_pipe);
  });
}

TEST_CASE("recv takes the flags of recv(2)") {
  const socket_pair pair;
  REQUIRE(::send(pair.there.get(), "data", 4, 0) == 4);
  executor loop;

  loop.run([&]() -> task<> {
    std::array<std::byte, 4> buffer{};
    CHECK(co_await ops::recv(pair.here, buffer, MSG_PEEK) == 4);
    CHECK(co_await ops::recv(pair.here, buffer) == 4);
    CHECK((co_await as_result(ops::recv(pair.here, buffer, MSG_DONTWAIT))).error() ==
          std::errc::resource_unavailable_try_again);
  });
}

TEST_CASE("an accept that waits ends when its listener is shut down") {
  const listener server;
  executor loop;
  auto root = loop.start([](const listener& from) -> task<bool> {
    const auto got = co_await as_result(ops::accept(from.fd));
    co_return got.error() == std::errc::invalid_argument;
  }(server));
  loop.run_ready();

  ::shutdown(server.fd.get(), SHUT_RD);
  turn_until_done(loop, root);

  CHECK(root.get());
}

TEST_CASE("poll tells which of the events hold") {
  socket_pair pair;
  executor loop;

  loop.run([&]() -> task<> {
    CHECK(co_await ops::poll(pair.here, POLLIN | POLLOUT) == POLLOUT);
    REQUIRE(::send(pair.there.get(), "data", 4, 0) == 4);
    CHECK(co_await ops::poll(pair.here, POLLIN) == POLLIN);
    pair.there.reset();
    CHECK((co_await ops::poll(pair.here, 0) & POLLHUP) != 0);
    CHECK((co_await as_result(ops::poll(-1, POLLIN))).error() == std::errc::bad_file_descriptor);
  });
}

TEST_CASE("a timeout of no time, or less, ends; and it is no error that its time has come") {
  executor loop;

  loop.run([]() -> task<> {
    co_await ops::timeout(0ns);
    co_await ops::timeout(-1s);
    co_await ops::timeout(1ms);
    CHECK((co_await as_result(ops::timeout(1ns))).has_value());
  });
}

TEST_CASE("a linked timeout ends an operation that comes to nothing, and leaves alone one that is in time") {
  const socket_pair pair;
  executor loop;

  loop.run([&]() -> task<> {
    std::array<std::byte, 4> buffer{};
    CHECK((co_await as_result(ops::link_timeout(ops::recv(pair.here, buffer), 1ms))).error() == std::errc::timed_out);
    CHECK((co_await as_result(ops::link_timeout(ops::recv(pair.here, buffer), 0ns))).error() == std::errc::timed_out);
    REQUIRE(::send(pair.there.get(), "data", 4, 0) == 4);
    CHECK(co_await ops::link_timeout(ops::recv(pair.here, buffer), 1h) == 4);
  });
}

TEST_CASE("cancel_fd finds nothing where nothing is in flight, and no descriptor where none is") {
  const socket_pair pair;
  executor loop;

  loop.run([&]() -> task<> {
    CHECK(co_await ops::cancel_fd(pair.here) == 0);
    CHECK((co_await as_result(ops::cancel_fd(-1))).error() == std::errc::bad_file_descriptor);
  });
}

TEST_CASE("a nop goes through the kernel and comes back") {
  executor loop;

  loop.run([]() -> task<> {
    co_await ops::nop();
    CHECK((co_await as_result(ops::nop())).has_value());
  });

  CHECK(loop.statistics().sqes >= 2);
}

TEST_CASE("one request asks for no more than the kernel moves at once") {
  CHECK(ops::transfer_bytes_max == 0x7fff'f000);
}

}  // namespace gyre
