// SPDX-License-Identifier: MIT
// Sends lines to a server, and prints what it answers: whois, finger, redis, anything that speaks in lines.
//
//   ask whois.iana.org 43 example.org
//
// The host is looked up without blocking, and the first of its addresses that answers is taken. A server that is silent
// for ten seconds, or whose line does not end within 64 KiB, is given up.
#include <gyre/net/happy_eyeballs.hpp>
#include <gyre/runtime/buffered_reader.hpp>
#include <gyre/runtime/buffered_writer.hpp>
#include <gyre/runtime/deadline.hpp>
#include <gyre/runtime/run.hpp>

#include <charconv>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <span>
#include <string_view>

using namespace std::chrono_literals;

namespace {

gyre::task<> ask(const char* host, std::uint16_t port, std::span<char*> lines) {
  gyre::net::tcp_stream server = co_await gyre::with_timeout(10s, gyre::net::connect(host, port));

  gyre::buffered_writer writer{server};
  for (const std::string_view line : lines) {
    co_await gyre::with_timeout(10s, writer.write(line));
    co_await gyre::with_timeout(10s, writer.write("\r\n"));
  }
  co_await gyre::with_timeout(10s, writer.flush());
  server.shutdown_write();

  gyre::buffered_reader reader{server, 64 * 1024};
  while (const auto line = co_await gyre::with_timeout(10s, reader.read_line()))
    std::printf("%.*s\n", static_cast<int>(line->size()), line->data());
}

}  // namespace

int main(int argc, char** argv) {
  const std::string_view port_text = argc > 2 ? argv[2] : "";
  std::uint16_t port = 0;
  const auto [end, error] = std::from_chars(port_text.data(), port_text.data() + port_text.size(), port);
  if (port == 0 || error != std::errc{} || *end != '\0')
    return std::fputs("usage: ask HOST PORT [LINE...]\n", stderr), 2;
  return gyre::run(ask(argv[1], port, std::span{argv, static_cast<std::size_t>(argc)}.subspan(3)));
}
