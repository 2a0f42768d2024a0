// SPDX-License-Identifier: MIT
// Two UDP sockets on the loopback, neither of which is connected.
#pragma once

#include <gyre/runtime/unique_fd.hpp>

#include <doctest/doctest.h>
#include <netinet/in.h>
#include <sys/socket.h>

namespace gyre::test {

struct datagram_pair {
  datagram_pair() : here{bound_socket(here_address)}, there{bound_socket(there_address)} {}

  const ::sockaddr* to_there() const { return reinterpret_cast<const ::sockaddr*>(&there_address); }

  ::sockaddr_in here_address{};
  ::sockaddr_in there_address{};
  unique_fd here;
  unique_fd there;

 private:
  static unique_fd bound_socket(::sockaddr_in& own) {
    unique_fd made{::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0)};
    own.sin_family = AF_INET;
    own.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    ::socklen_t size = sizeof own;
    REQUIRE(::bind(made.get(), reinterpret_cast<::sockaddr*>(&own), size) == 0);
    REQUIRE(::getsockname(made.get(), reinterpret_cast<::sockaddr*>(&own), &size) == 0);
    return made;
  }
};

}  // namespace gyre::test
