// SPDX-License-Identifier: MIT
// The same large transfer on Asio, with its coroutines. Compiled twice: for epoll, and for io_uring.
#include "transfer.hpp"

#include <asio/awaitable.hpp>
#include <asio/buffer.hpp>
#include <asio/co_spawn.hpp>
#include <asio/detached.hpp>
#include <asio/io_context.hpp>
#include <asio/ip/tcp.hpp>
#include <asio/use_awaitable.hpp>
#include <asio/write.hpp>

#include <utility>
#include <vector>

namespace {

using asio::ip::tcp;

asio::awaitable<void> move(tcp::acceptor listener, bench::transfer_options options) {
  std::vector<char> piece(bench::piece_bytes);
  auto peer = co_await listener.async_accept(asio::use_awaitable);
  const bench::cost measured;
  for (std::uint64_t left = options.bytes; left > 0;) {
    if (options.sends) left -= co_await asio::async_write(peer, asio::buffer(piece), asio::use_awaitable);
    else left -= co_await peer.async_read_some(asio::buffer(piece), asio::use_awaitable);
  }
  measured.report(options.bytes);
}

}  // namespace

int main(int argc, char** argv) {
  const bench::transfer_options options = bench::parse_transfer_options(argc, argv);
  asio::io_context context{1};
  tcp::acceptor listener{context, {asio::ip::address_v4::loopback(), 0}};
  std::printf("port %u\n", unsigned{listener.local_endpoint().port()});
  std::fflush(stdout);
  asio::co_spawn(context, move(std::move(listener), options), [](const std::exception_ptr& failure) {
    if (failure) std::rethrow_exception(failure);
  });
  context.run();
}
