// SPDX-License-Identifier: MIT
// What does an echo cost when it is written the obvious way on Asio, with its coroutines? Compiled twice: for epoll,
// and for io_uring (ASIO_HAS_IO_URING, ASIO_DISABLE_EPOLL).
//
// One thread, and so a hint that there is but one; it leaves out --deadline, and sleeps as Asio does.
#include "echo_server.hpp"

#include <asio/awaitable.hpp>
#include <asio/buffer.hpp>
#include <asio/co_spawn.hpp>
#include <asio/detached.hpp>
#include <asio/io_context.hpp>
#include <asio/ip/tcp.hpp>
#include <asio/redirect_error.hpp>
#include <asio/use_awaitable.hpp>
#include <asio/write.hpp>

#include <array>
#include <cstddef>
#include <utility>

namespace {

using asio::ip::tcp;

asio::awaitable<void> echo(tcp::socket client) {
  std::array<std::byte, bench::read_bytes_max> buffer;
  asio::error_code error;
  for (;;) {
    const auto size =
        co_await client.async_read_some(asio::buffer(buffer), asio::redirect_error(asio::use_awaitable, error));
    if (error) co_return;
    co_await asio::async_write(client, asio::buffer(buffer.data(), size),
                               asio::redirect_error(asio::use_awaitable, error));
    if (error) co_return;
  }
}

asio::awaitable<void> accept_all(tcp::acceptor listener, unsigned clients_count) {
  const auto executor = co_await asio::this_coro::executor;
  for (unsigned accepted = 0; clients_count == 0 || accepted < clients_count; ++accepted)
    asio::co_spawn(executor, echo(co_await listener.async_accept(asio::use_awaitable)), asio::detached);
}

}  // namespace

int main(int argc, char** argv) {
  const bench::server_options options = bench::parse_server_options(argc, argv);
  asio::io_context context{1};
  tcp::acceptor listener{context, {asio::ip::address_v4::loopback(), options.port}};
  bench::announce(listener.local_endpoint().port());
  asio::co_spawn(context, accept_all(std::move(listener), options.clients_count), asio::detached);
  context.run();
}
