// SPDX-License-Identifier: MIT
// Echo server on all processors: each new client goes to the executor that has the fewest.
//
//   echo_on_all_cores           and then, several times: nc 127.0.0.1 7000
//
// The first executor accepts; Ctrl-C ends every session, wherever it runs. With a listener for each executor instead,
// bind_each(all.size(), …), the kernel deals the clients out.
#include <gyre/net/spread.hpp>
#include <gyre/net/tcp_listener.hpp>
#include <gyre/runtime/deadline.hpp>
#include <gyre/runtime/runtime.hpp>

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdio>
#include <span>
#include <system_error>

using namespace std::chrono_literals;

gyre::task<> echo(gyre::net::tcp_stream client) {
  std::array<std::byte, 4096> buffer;
  while (const auto n = co_await gyre::with_timeout(30s, client.read(buffer)))
    co_await client.write_all(std::span{buffer}.first(n));
}

int main() {
  try {
    gyre::runtime all;
    return all.run([&](std::size_t index) -> gyre::task<> {
      if (index == 0) co_await spread(all, gyre::net::tcp_listener::bind({.port = 7000}), echo);
    });
  } catch (const std::system_error& error) {  // the port is taken, perhaps
    return std::fprintf(stderr, "echo_on_all_cores: %s\n", error.what()), 1;
  }
}
