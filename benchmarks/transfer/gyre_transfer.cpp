// SPDX-License-Identifier: MIT
// What does a large transfer cost over one connection of gyre's, 64 KiB at a time?
#include "transfer.hpp"

#include <cstddef>
#include <optional>
#include <span>
#include <vector>

#include <gyre/net/tcp_listener.hpp>
#include <gyre/runtime/executor.hpp>

namespace {

gyre::task<> send_all_of(gyre::net::tcp_stream& peer, std::uint64_t bytes) {
  const std::vector<std::byte> piece(bench::piece_bytes);
  for (; bytes > 0; bytes -= piece.size()) co_await peer.write_all(piece);
}

gyre::task<> receive_all_of(gyre::net::tcp_stream& peer, std::uint64_t bytes) {
  std::vector<std::byte> piece(bench::piece_bytes);
  while (bytes > 0) {
    const auto count = co_await peer.read(piece);
    if (count == 0) bench::die("read", EPIPE);
    bytes -= count;
  }
}

gyre::task<> move(gyre::net::tcp_listener listener, bench::transfer_options options) {
  auto peer = co_await listener.accept();
  const bench::cost measured;
  co_await (options.sends ? send_all_of(peer, options.bytes) : receive_all_of(peer, options.bytes));
  measured.report(options.bytes);
}

}  // namespace

int main(int argc, char** argv) {
  const bench::transfer_options options = bench::parse_transfer_options(argc, argv);
  gyre::executor loop{{.park = options.park_on_eventfd ? gyre::parking::eventfd : gyre::parking::ring_wait,
                       .spin_before_park = std::chrono::microseconds{0}}};
  auto listener = gyre::net::tcp_listener::bind({.at = gyre::net::address::loopback(0)});
  std::printf("port %u\n", unsigned{listener.local_address().port()});
  std::fflush(stdout);
  loop.run(move(std::move(listener), options));
}
