// SPDX-License-Identifier: MIT
// gyre's half of the embed_ examples: an echo server as anywhere else. Nothing in it knows whose loop drives it.
#pragma once

#include <gyre/net/tcp_listener.hpp>
#include <gyre/runtime/deadline.hpp>
#include <gyre/runtime/task_group.hpp>

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <span>

namespace embedded_echo {

inline gyre::task<> echo(gyre::net::tcp_stream client) {
  using namespace std::chrono_literals;
  std::array<std::byte, 4096> buffer;
  while (const auto count = co_await gyre::with_timeout(30s, client.read(buffer)))
    co_await client.write_all(std::span{buffer}.first(count));
}

inline gyre::task<> serve(gyre::net::tcp_listener listener) {
  co_await gyre::with_task_group({.on_error = gyre::log_and_continue}, [&](gyre::task_group& clients) -> gyre::task<> {
    for (;;) clients.start(echo(co_await listener.accept()));
  });
}

/// On a port of the kernel's choice, which is said on standard output after the one of the other half.
inline gyre::net::tcp_listener listen(std::uint16_t other_port) {
  auto listener = gyre::net::tcp_listener::bind({.at = gyre::net::address::loopback(0)});
  std::printf("listening on 127.0.0.1:%u\ngyre listens on 127.0.0.1:%u\n", unsigned{other_port},
              unsigned{listener.local_address().port()});
  std::fflush(stdout);
  return listener;
}

}  // namespace embedded_echo
