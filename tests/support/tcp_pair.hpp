// SPDX-License-Identifier: MIT
// Two ends of a TCP connection on the loopback.
#pragma once

#include <gyre/runtime/unique_fd.hpp>

#include <doctest/doctest.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>

#include <vector>

namespace gyre::test {

struct tcp_pair {
  tcp_pair() {
    const unique_fd listener{::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
    ::sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    ::socklen_t size = sizeof address;
    auto* const generic = reinterpret_cast<::sockaddr*>(&address);
    REQUIRE(::bind(listener.get(), generic, size) == 0);
    REQUIRE(::getsockname(listener.get(), generic, &size) == 0);
    REQUIRE(::listen(listener.get(), 1) == 0);
    here.reset(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    REQUIRE(::connect(here.get(), generic, size) == 0);
    there.reset(::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
    REQUIRE(static_cast<bool>(there));
  }

  /// So that nothing more can be sent from here. Buffers of a fixed size: others grow when they are full for a while.
  /// What is full has room again when the peer's end acknowledges what it took meanwhile: so it is filled until it
  /// stays full.
  void fill() const {
    constexpr int buffer_bytes = 1 << 16;
    REQUIRE(::setsockopt(here.get(), SOL_SOCKET, SO_SNDBUF, &buffer_bytes, sizeof buffer_bytes) == 0);
    REQUIRE(::setsockopt(there.get(), SOL_SOCKET, SO_RCVBUF, &buffer_bytes, sizeof buffer_bytes) == 0);
    const std::vector<char> bytes(1 << 16);
    for (int full_count = 0; full_count < 10; ++full_count) {
      while (::send(here.get(), bytes.data(), bytes.size(), MSG_DONTWAIT) > 0) full_count = 0;
      ::poll(nullptr, 0, /*timeout=*/5);
    }
  }

  unique_fd here;
  unique_fd there;
};

}  // namespace gyre::test
