// SPDX-License-Identifier: MIT
// Echo server for very many clients that say little: one pool of buffers for all of them.
//
//   echo_leased 7000        then, elsewhere: nc 127.0.0.1 7000
//
// A client that is silent holds no buffer: the kernel takes one of the pool's when bytes have come. Each session has
// one request in the kernel, which goes on by itself. What was received is sent back from where it lies, and its buffer
// is free when that is done. Where all are in use, clients wait in the order in which they came, and no byte is lost.
#include <gyre/net/tcp_listener.hpp>
#include <gyre/runtime/buffer_pool.hpp>
#include <gyre/runtime/executor.hpp>
#include <gyre/runtime/ops/pool_streams.hpp>
#include <gyre/runtime/run.hpp>
#include <gyre/runtime/task_group.hpp>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <system_error>

gyre::task<> echo(gyre::net::tcp_stream client, const gyre::buffer_pool& buffers) {
  gyre::ops::recv_stream incoming{client.fd(), buffers};
  while (auto chunk = co_await incoming.next()) co_await client.write_all(chunk->bytes());
}

gyre::task<> serve(gyre::net::tcp_listener listener) {
  const gyre::buffer_pool buffers{gyre::executor::current(), {.buffers_count = 256, .buffer_bytes = 4096}};
  co_await gyre::with_task_group({.on_error = gyre::log_and_continue}, [&](gyre::task_group& clients) -> gyre::task<> {
    for (;;) clients.start(echo(co_await listener.accept(), buffers));
  });
}

int main(int argc, char** argv) {
  const int port = argc == 2 ? std::atoi(argv[1]) : 0;
  if (port < 1 || port > 65535) return std::fputs("usage: echo_leased PORT\n", stderr), 2;
  try {
    return gyre::run(serve(gyre::net::tcp_listener::bind({.port = static_cast<std::uint16_t>(port)})));
  } catch (const std::system_error& error) {
    return std::fprintf(stderr, "echo_leased: %s\n", error.what()), 1;
  }
}
