// SPDX-License-Identifier: MIT
// Echo server: sends back whatever each client says; one task per client.
//
//   echo_server 7000        then, elsewhere: nc 127.0.0.1 7000
//
// It listens on every IPv4 address of the machine, as a listener does that is told no other.
//
// Ctrl-C cancels the accept in the kernel, unwinds every session and closes every socket. Nobody wrote a line for that.
#include <gyre/net/tcp_listener.hpp>
#include <gyre/runtime/deadline.hpp>
#include <gyre/runtime/run.hpp>
#include <gyre/runtime/task_group.hpp>

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <span>
#include <system_error>

using namespace std::chrono_literals;

gyre::task<> echo(gyre::net::tcp_stream client) {
  std::array<std::byte, 4096> buffer;
  while (auto n = co_await gyre::with_timeout(30s, client.read(buffer)))
    co_await client.write_all(std::span{buffer}.first(n));
}

gyre::task<> serve(gyre::net::tcp_listener listener) {
  co_await gyre::with_task_group({.on_error = gyre::log_and_continue}, [&](gyre::task_group& clients) -> gyre::task<> {
    for (;;) clients.start(echo(co_await listener.accept()));
  });
}

int main(int argc, char** argv) {
  const int port = argc == 2 ? std::atoi(argv[1]) : 0;
  if (port < 1 || port > 65535) return std::fputs("usage: echo_server PORT\n", stderr), 2;
  try {
    return gyre::run(serve(gyre::net::tcp_listener::bind({.port = static_cast<std::uint16_t>(port)})));
  } catch (const std::system_error& error) {
    return std::fprintf(stderr, "echo_server: %s\n", error.what()), 1;
  }
}
