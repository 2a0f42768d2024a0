// SPDX-License-Identifier: MIT
// A TCP connection leads to an address and a port, not to a path.
// must say: gyre::net::unix_address
#include <gyre/net/tcp_stream.hpp>
#include <gyre/net/unix_address.hpp>

gyre::task<gyre::net::tcp_stream> connects(gyre::net::unix_address at) {
  co_return co_await gyre::net::tcp_stream::connect(at);
}
