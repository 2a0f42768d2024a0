// SPDX-License-Identifier: MIT
// What does an echo cost when it is written the obvious way on gyre?
//
// The program is the README's: nothing in it is there for speed. With --deadline each read has 30 seconds, as there;
// with --accept-stream connections come by incoming().
#include "echo_server.hpp"

#include <array>
#include <chrono>
#include <span>

#include <gyre/net/tcp_listener.hpp>
#include <gyre/runtime/deadline.hpp>
#include <gyre/runtime/run.hpp>
#include <gyre/runtime/task_group.hpp>

using namespace std::chrono_literals;

namespace {

gyre::task<> echo(gyre::net::tcp_stream client) {
  std::array<std::byte, bench::read_bytes_max> buffer;
  while (const auto size = co_await client.read(buffer)) co_await client.write_all(std::span{buffer}.first(size));
}

gyre::task<> echo_with_deadline(gyre::net::tcp_stream client) {
  std::array<std::byte, bench::read_bytes_max> buffer;
  while (const auto size = co_await gyre::with_timeout(30s, client.read(buffer)))
    co_await client.write_all(std::span{buffer}.first(size));
}

gyre::task<> serve_stream(gyre::net::tcp_listener& listener, unsigned clients_count, gyre::task_group& clients) {
  auto incoming = listener.incoming();
  for (unsigned accepted = 0; clients_count == 0 || accepted < clients_count; ++accepted)
    clients.start(echo((co_await incoming.next()).value()));
}

gyre::task<> serve(gyre::net::tcp_listener listener, bench::server_options options) {
  auto accept_all = [&](gyre::task_group& clients) -> gyre::task<> {
    if (options.accept_stream) co_return co_await serve_stream(listener, options.clients_count, clients);
    for (unsigned accepted = 0; options.clients_count == 0 || accepted < options.clients_count; ++accepted) {
      auto client = co_await listener.accept();
      clients.start(options.deadline ? echo_with_deadline(std::move(client)) : echo(std::move(client)));
    }
  };
  co_await gyre::with_task_group({.on_error = gyre::log_and_continue}, accept_all);
}

}  // namespace

int main(int argc, char** argv) {
  const bench::server_options options = bench::parse_server_options(argc, argv);
  auto listener = gyre::net::tcp_listener::bind({.at = gyre::net::address::loopback(options.port)});
  bench::announce(listener.local_address().port());
  const auto park = options.park_on_eventfd ? gyre::parking::eventfd : gyre::parking::ring_wait;
  return gyre::run(serve(std::move(listener), options),
                   {.executor = {.park = park, .spin_before_park = std::chrono::microseconds{options.spin_us}}});
}
