// SPDX-License-Identifier: MIT
// A listener that was moved has no socket left to accept connections from.
// must say: a listener that was moved away takes no connections
#include <gyre/net/address.hpp>
#include <gyre/net/tcp_listener.hpp>
#include <gyre/runtime/executor.hpp>

#include <utility>

int main() {
  gyre::executor loop;
  auto first = gyre::net::tcp_listener::bind({.at = gyre::net::address::loopback(0)});
  const auto second = std::move(first);

  static_cast<void>(loop.run(first.accept()));
}
