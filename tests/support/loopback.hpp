// SPDX-License-Identifier: MIT
// TCP on this machine alone, by plain socket calls: the other side of what a test looks at.
#pragma once

#include <gyre/net/address.hpp>
#include <gyre/runtime/unique_fd.hpp>

#include "skip.hpp"

#include <doctest/doctest.h>
#include <netinet/in.h>
#include <sys/socket.h>

namespace gyre::test {

/// A socket that can be connected to that address. It does not block.
inline unique_fd socket_for(const net::address& peer) {
  unique_fd made{::socket(peer.family(), SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, IPPROTO_TCP)};
  REQUIRE(static_cast<bool>(made));
  return made;
}

inline void begin_to_connect(const unique_fd& socket, const net::address& peer) {
  static_cast<void>(::connect(socket.get(), peer.data(), peer.size()));
}

/// A client that has connected, or is about to.
inline unique_fd connect_to(const net::address& peer) {
  unique_fd client = socket_for(peer);
  begin_to_connect(client, peer);
  return client;
}

/// Whether this machine has IPv6 at all; says so where it has not.
inline bool has_ipv6_loopback(without_it otherwise = without_it::skipped) {
  const auto loopback = net::address::parse("[::1]:0").value();
  const unique_fd tried{::socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, IPPROTO_TCP)};
  const bool has_it = tried && ::bind(tried.get(), loopback.data(), loopback.size()) == 0;
  if (!has_it) say_missing(otherwise, "this machine has no IPv6 loopback");
  return has_it;
}

}  // namespace gyre::test
