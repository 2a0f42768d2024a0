// SPDX-License-Identifier: MIT
// Prints the lines that several servers send, in the order in which they come, and ends with the last of them.
//
//   merge_lines 127.0.0.1:7001 127.0.0.1:7002        after: nc -l -p 7001, and another one, to type into
//
// Each connection is a stream of lines. One line of each waits at most while another is printed: a slow terminal slows
// the servers down, and nothing piles up.
#include <gyre/net/tcp_stream.hpp>
#include <gyre/runtime/run.hpp>
#include <gyre/runtime/stream.hpp>
#include <gyre/runtime/stream_ops.hpp>

#include <array>
#include <cstddef>
#include <cstdio>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace {

gyre::stream<std::string> lines_of(gyre::net::address server) {
  auto peer = co_await gyre::net::tcp_stream::connect(server);
  std::array<std::byte, 4096> buffer;
  std::string line;
  while (const auto n = co_await peer.read(buffer)) {
    for (const std::byte each : std::span{buffer}.first(n)) {
      if (each != std::byte{'\n'}) line += static_cast<char>(each);
      else co_yield std::exchange(line, {});
    }
  }
  if (!line.empty()) co_yield std::move(line);
}

gyre::task<> print_all(std::vector<gyre::net::address> servers) {
  std::vector<gyre::stream<std::string>> sources;
  sources.reserve(servers.size());
  for (const auto& each : servers) {
    auto with_name = [name = each.to_string()](std::string line) { return line.insert(0, name + ": "); };
    sources.push_back(gyre::map(lines_of(each), std::move(with_name)));
  }

  co_await gyre::with_merged(std::move(sources), [](gyre::merged<std::string>& lines) -> gyre::task<> {
    while (const auto line = co_await lines.next()) std::puts(line->c_str());
  });
}

}  // namespace

int main(int argc, char** argv) {
  std::vector<gyre::net::address> servers;
  for (int index = 1; index < argc; ++index) {
    const auto server = gyre::net::address::parse(argv[index]);
    if (!server) return std::fprintf(stderr, "merge_lines: %s is no address\n", argv[index]), 2;
    servers.push_back(*server);
  }
  if (servers.empty()) return std::fputs("usage: merge_lines ADDRESS:PORT...\n", stderr), 2;
  return gyre::run(print_all(std::move(servers)));
}
