// SPDX-License-Identifier: MIT
// Two UDP sockets on the loopback, over one family or the other, and an executor that both are used on.
#pragma once

#include <gyre/net/udp_socket.hpp>
#include <gyre/runtime/executor.hpp>

#include "loopback.hpp"
#include "modes.hpp"

#include <doctest/doctest.h>
#include <poll.h>
#include <sys/socket.h>

#include <string_view>
#include <vector>

namespace gyre::test {

inline net::address loopback_v6() { return net::address::parse("[::1]:0").value(); }

/// The loopback addresses that this machine has.
inline std::vector<net::address> loopbacks() {
  std::vector<net::address> all{net::address::loopback(0)};
  if (has_ipv6_loopback(without_it::goes_on)) all.push_back(loopback_v6());
  return all;
}

struct udp_pair {
  explicit udp_pair(net::udp_options options = {.at = net::address::loopback(0)})
      : here{net::udp_socket::bind(options)}, there{net::udp_socket::bind({.at = options.at})} {}
  explicit udp_pair(const net::address& at) : udp_pair{net::udp_options{.at = at}} {}

  net::address here_address() const { return here.local_address(); }
  net::address there_address() const { return there.local_address(); }

  executor loop{options_under_test()};
  net::udp_socket here;
  net::udp_socket there;
};

/// Sends at once, by a plain call.
inline void send_now(const net::udp_socket& from, std::string_view bytes, const net::address& to) {
  REQUIRE(::sendto(from.fd().get(), bytes.data(), bytes.size(), 0, to.data(), to.size()) ==
          static_cast<ssize_t>(bytes.size()));
}

/// Whether the kernel has something to be received on the socket, or an error of it.
inline bool has_something(const net::udp_socket& socket) {
  ::pollfd asked{.fd = socket.fd().get(), .events = POLLIN, .revents = 0};
  return ::poll(&asked, 1, 0) == 1;
}

}  // namespace gyre::test
