// SPDX-License-Identifier: MIT
// Standard input to a connection, and what comes back to standard output, as nc does.
//
//   nc example.org 80           connects
//   nc -l 8080                  takes one connection, on this machine's own address; port 0 is one that is free
//
// The end of the input, ^D on a terminal, is passed on, and the other side may still answer. When that ends, so does
// nc, in the middle of a line that is being typed if need be: what was not read is the shell's. Ctrl-C ends it, too.
#include <gyre/fs/standard_streams.hpp>
#include <gyre/net/happy_eyeballs.hpp>
#include <gyre/net/tcp_listener.hpp>
#include <gyre/runtime/run.hpp>
#include <gyre/runtime/task_group.hpp>

#include <array>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <system_error>

namespace {

gyre::task<> send_input(gyre::net::tcp_stream& to) {
  const gyre::fs::standard_input in;
  std::array<std::byte, 65536> buffer{};
  while (const auto count = co_await in.read(buffer)) co_await to.write_all(std::span{buffer}.first(count));
  to.shutdown_write();
}

gyre::task<> print_answer(gyre::net::tcp_stream& from) {
  const gyre::fs::standard_output out;
  std::array<std::byte, 65536> buffer{};
  while (const auto count = co_await from.read(buffer)) co_await out.write_all(std::span{buffer}.first(count));
}

gyre::task<> talk(gyre::net::tcp_stream peer) {
  co_await gyre::with_task_group([&peer](gyre::task_group& group) -> gyre::task<> {
    group.start(send_input(peer));
    co_await print_answer(peer);
    group.cancel("the other side has ended");
  });
}

gyre::task<gyre::net::tcp_stream> take_one(std::uint16_t port) {
  auto listener = gyre::net::tcp_listener::bind({.at = gyre::net::address::loopback(port)});
  std::fprintf(stderr, "listening on %s\n", listener.local_address().to_string().c_str());
  co_return co_await listener.accept();
}

gyre::task<int> connect_and_talk(std::string host, std::uint16_t port) {
  try {
    auto connecting = host == "-l" ? take_one(port) : gyre::net::connect(host, port);
    auto peer = co_await std::move(connecting);
    co_await talk(std::move(peer));
    co_return EXIT_SUCCESS;
  } catch (const std::system_error& error) {
    std::fprintf(stderr, "nc: %s\n", error.what());
    co_return EXIT_FAILURE;
  }
}

std::optional<std::uint16_t> port_of(std::string_view text) {
  std::uint16_t port = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), port);
  if (error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return port;
}

}  // namespace

int main(int argc, char** argv) {
  const auto port = argc == 3 ? port_of(argv[2]) : std::nullopt;
  if (!port) return std::fputs("usage: nc HOST PORT\n       nc -l PORT\n", stderr), 2;
  return gyre::run(connect_and_talk(argv[1], *port));
}
