// SPDX-License-Identifier: MIT
// Two ends of a TCP connection on the loopback.
#pragma once

#include <gyre/runtime/unique_fd.hpp>

#include "full_socket.hpp"

#include <doctest/doctest.h>
#include <netinet/in.h>
#include <sys/socket.h>

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

  /// So that nothing more can be sent from here. Returns whether it stays so in any case.
  bool fill() const { return fill_connection(here, there); }

  unique_fd here;
  unique_fd there;
};

}  // namespace gyre::test
