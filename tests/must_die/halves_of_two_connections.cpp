// SPDX-License-Identifier: MIT
// Two halves that do not belong together are to be made one connection.
// must say: two halves are of one connection
#include <gyre/net/stream_halves.hpp>
#include <gyre/net/tcp_stream.hpp>

#include <utility>

int main() {
  auto one = gyre::net::split(gyre::net::tcp_stream{gyre::unique_fd{}});
  auto other = gyre::net::split(gyre::net::tcp_stream{gyre::unique_fd{}});
  static_cast<void>(gyre::net::reunite(std::move(one.reading), std::move(other.writing)));
}
