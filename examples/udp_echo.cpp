// SPDX-License-Identifier: MIT
// Echo server for UDP: what comes goes back to who sent it, from the address that it was sent to.
//
//   udp_echo 7000        then, elsewhere: nc -u 127.0.0.1 7000, or nc -u ::1 7000
//
// One request in the kernel brings all datagrams, each in a buffer of the pool, and is sent back from where it lies. On
// a machine with several addresses a client that asked one of them would not take an answer from another: so the server
// has told to it which was meant. What the network says of an answer that found nobody ends nothing.
#include <gyre/net/udp_socket.hpp>
#include <gyre/runtime/as_result.hpp>
#include <gyre/runtime/buffer_pool.hpp>
#include <gyre/runtime/executor.hpp>
#include <gyre/runtime/run.hpp>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <system_error>

gyre::task<> serve(gyre::net::udp_socket socket) {
  const std::size_t longest = 65'535;  // more is no datagram
  const gyre::buffer_pool buffers{gyre::executor::current(),
                                  {.buffers_count = 64, .buffer_bytes = socket.buffer_bytes_for(longest)}};
  auto incoming = socket.datagrams(buffers);
  while (const auto question = co_await incoming.next()) {
    const auto sent = co_await gyre::as_result(socket.answer(*question, question->payload()));
    if (!sent) std::fprintf(stderr, "%s: %s\n", question->source().to_string().c_str(), sent.error().message().c_str());
  }
}

int main(int argc, char** argv) {
  const int port = argc == 2 ? std::atoi(argv[1]) : 0;
  if (port < 1 || port > 65535) return std::fputs("usage: udp_echo PORT\n", stderr), 2;
  try {
    return gyre::run(serve(gyre::net::udp_socket::bind(
        {.at = gyre::net::address::any_v6(static_cast<std::uint16_t>(port)), .details = {.destination = true}})));
  } catch (const std::system_error& error) {
    return std::fprintf(stderr, "udp_echo: %s\n", error.what()), 1;
  }
}
