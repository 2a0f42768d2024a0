// SPDX-License-Identifier: MIT
// Two sockets that are connected to each other, for tests on the kernel.
#pragma once

#include <gyre/runtime/unique_fd.hpp>

#include <doctest/doctest.h>
#include <sys/socket.h>

#include <array>

namespace gyre::test {

struct socket_pair {
  socket_pair() {
    std::array<int, 2> ends{};
    REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()) == 0);
    here.reset(ends[0]);
    there.reset(ends[1]);
  }

  unique_fd here;
  unique_fd there;
};

}  // namespace gyre::test
