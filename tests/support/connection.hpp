// SPDX-License-Identifier: MIT
// Two ends of a TCP connection as tcp_streams on an executor of their own, and what tests do with them.
#pragma once

#include <gyre/net/address.hpp>
#include <gyre/net/tcp_listener.hpp>
#include <gyre/net/tcp_stream.hpp>
#include <gyre/runtime/executor.hpp>

#include "transfers.hpp"
#include "turning.hpp"

#include <doctest/doctest.h>
#include <sys/socket.h>

#include <cstddef>
#include <optional>

namespace gyre::test {

constexpr std::size_t big_bytes = std::size_t{8} << 20;

/// Two ends of a connection, on an executor of their own.
struct connection {
  explicit connection(const net::address& at = net::address::loopback(0)) {
    auto listener = net::tcp_listener::bind({.at = at});
    auto connecting = loop.start(net::tcp_stream::connect(listener.local_address()));
    theirs.emplace(loop.run(listener.accept()));
    turn_until_done(loop, connecting);
    ours.emplace(connecting.get());
  }

  // So that writes come in parts. A narrow receive buffer would do the same, at the pace of TCP's timers.
  void make_narrow() {
    constexpr int bytes = 1 << 16;
    for (const auto* each : {&ours, &theirs})
      REQUIRE(::setsockopt((*each)->fd().get(), SOL_SOCKET, SO_SNDBUF, &bytes, sizeof bytes) == 0);
  }

  executor loop;
  std::optional<net::tcp_stream> ours;
  std::optional<net::tcp_stream> theirs;
};

/// The peer goes without a goodbye: a reset instead of an end.
inline void reset(net::tcp_stream& stream) {
  const ::linger at_once{.l_onoff = 1, .l_linger = 0};
  REQUIRE(::setsockopt(stream.fd().get(), SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once) == 0);
  stream.release().reset();
}

}  // namespace gyre::test
