// SPDX-License-Identifier: MIT
// Two echo servers on one thread, each with the other's sockets: gyre tasks serve Asio's, Asio coroutines serve gyre's.
//
//   asio_interop        then, elsewhere: nc 127.0.0.1 PORT, with either of the ports that it says
//
// So a program can move from one to the other a function at a time. How it is done is in asio_interop.hpp. Ctrl-C ends
// both.
#include "asio_interop.hpp"

#include <gyre/net/tcp_listener.hpp>
#include <gyre/runtime/deadline.hpp>
#include <gyre/runtime/task_group.hpp>

#include <asio/awaitable.hpp>
#include <asio/buffer.hpp>
#include <asio/co_spawn.hpp>
#include <asio/ip/tcp.hpp>
#include <asio/signal_set.hpp>
#include <asio/use_awaitable.hpp>
#include <asio/write.hpp>

#include <array>
#include <chrono>
#include <csignal>
#include <cstddef>
#include <cstdio>
#include <exception>
#include <memory>
#include <span>
#include <system_error>
#include <utility>

namespace {

using asio::ip::tcp;
using namespace std::chrono_literals;

// -------------------------------------------------------------------------------- gyre tasks that serve Asio's sockets

// A deadline of gyre's on an operation of Asio's: it is cancelled there, and its buffer stays until that is done.
gyre::task<> echo(tcp::socket client) {
  std::array<char, 4096> buffer;
  try {
    for (;;) {
      const std::size_t count =
          co_await gyre::with_timeout(30s, client.async_read_some(asio::buffer(buffer), use_gyre));
      co_await asio::async_write(client, asio::buffer(buffer, count), use_gyre);
    }
  } catch (const std::system_error& error) {
    if (error.code() != asio::error::eof && error.code() != std::errc::connection_reset) throw;
  }
}

gyre::task<> serve(tcp::acceptor& acceptor) {
  co_await gyre::with_task_group({.on_error = gyre::log_and_continue}, [&](gyre::task_group& clients) -> gyre::task<> {
    for (;;) {
      tcp::socket client = co_await acceptor.async_accept(use_gyre);
      clients.start(echo(std::move(client)));
    }
  });
}

// --------------------------------------------------------------------------- Asio coroutines that serve gyre's sockets

gyre::task<std::size_t> read_some(gyre::net::tcp_stream& from, std::span<std::byte> into) {
  co_return co_await gyre::with_timeout(30s, from.read(into));
}

gyre::task<> write_all(gyre::net::tcp_stream& to, std::span<const std::byte> bytes) { co_await to.write_all(bytes); }

// What a task gives to Asio can be made of nothing, as with asio::co_spawn(); a stream cannot.
gyre::task<std::unique_ptr<gyre::net::tcp_stream>> accept(gyre::net::tcp_listener& listener) {
  co_return std::make_unique<gyre::net::tcp_stream>(co_await listener.accept());
}

struct sessions {
  gyre_in_asio& inside;
  int count = 0;
};

asio::awaitable<void> echo(gyre::net::tcp_stream client, sessions& all) {
  std::array<std::byte, 4096> buffer;
  for (;;) {
    const std::size_t count = co_await async_gyre(all.inside, read_some(client, buffer), asio::use_awaitable);
    if (count == 0) co_return;
    co_await async_gyre(all.inside, write_all(client, std::span{buffer}.first(count)), asio::use_awaitable);
  }
}

// Told of each session's end, whichever it was: a stop is an exception there.
auto one_less(sessions& all) {
  return [&all](const std::exception_ptr&) { --all.count; };
}

asio::awaitable<void> serve(gyre::net::tcp_listener listener, sessions& all) {
  for (;;) {
    auto client = co_await async_gyre(all.inside, accept(listener), asio::use_awaitable);
    ++all.count;
    asio::co_spawn(all.inside.get_executor(), echo(std::move(*client), all), one_less(all));
  }
}

void serve_both() {
  gyre::executor loop;
  asio::io_context io{1};
  gyre_in_asio inside{io, loop};
  asio::signal_set interrupt{io, SIGINT, SIGTERM};
  tcp::acceptor acceptor{io, {asio::ip::address_v4::loopback(), 0}};
  auto listener = gyre::net::tcp_listener::bind({.at = gyre::net::address::loopback(0)});
  std::printf("listening on 127.0.0.1:%u\ngyre listens on 127.0.0.1:%u\n", unsigned{acceptor.local_endpoint().port()},
              unsigned{listener.local_address().port()});
  std::fflush(stdout);

  auto served = loop.start(serve(acceptor));
  sessions all{inside, 1};
  asio::co_spawn(io, serve(std::move(listener), all), one_less(all));
  interrupt.async_wait([&](const std::error_code& error, int) {
    if (error) return;
    loop.root_scope().cancel("interrupted");  // all of gyre's, what Asio's coroutines await of it as well
    inside.wake();
  });
  while (!served.done() || all.count > 0) io.run_one();
}

}  // namespace

int main() {
  try {
    serve_both();
  } catch (const std::system_error& error) {
    return std::fprintf(stderr, "asio_interop: %s\n", error.what()), 1;
  }
}
