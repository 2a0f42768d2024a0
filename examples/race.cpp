// SPDX-License-Identifier: MIT
// Fetches "/" from whichever of several HTTP servers answers first.
//
//   race 127.0.0.1:8001 127.0.0.1:8002        after: python3 -m http.server 8001, and another one
//
// A server that is down, or refuses, is passed by as long as another one may answer. The losers are stopped in the
// middle of whatever they do, their sockets are closed, and all that before fetch_first() returns.
#include <gyre/net/tcp_stream.hpp>
#include <gyre/runtime/deadline.hpp>
#include <gyre/runtime/run.hpp>
#include <gyre/runtime/when_any.hpp>

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdio>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

using namespace std::chrono_literals;

namespace {

gyre::task<std::string> fetch(gyre::net::address server) {
  static constexpr std::string_view request = "GET / HTTP/1.0\r\n\r\n";
  auto peer = co_await gyre::net::tcp_stream::connect(server);
  co_await peer.write_all(std::as_bytes(std::span{request}));

  std::string response;
  std::array<std::byte, 4096> buffer;
  while (const auto n = co_await peer.read(buffer)) response.append(reinterpret_cast<const char*>(buffer.data()), n);
  const bool is_ok = response.starts_with("HTTP/1.") && std::string_view{response}.substr(8, 4) == " 200";
  if (!is_ok) throw std::runtime_error{server.to_string() + " refuses: " + response.substr(0, response.find('\r'))};
  co_return response;
}

gyre::task<> fetch_first(std::vector<gyre::net::address> servers) {
  std::vector<gyre::task<std::string>> attempts;
  attempts.reserve(servers.size());
  for (const auto& each : servers) attempts.push_back(fetch(each));
  const auto first = co_await gyre::with_timeout(10s, gyre::first_success(std::move(attempts)));
  std::fprintf(stderr, "%s was first\n", servers[first.index].to_string().c_str());
  std::fwrite(first.value.data(), 1, first.value.size(), stdout);
}

}  // namespace

int main(int argc, char** argv) {
  std::vector<gyre::net::address> servers;
  for (int index = 1; index < argc; ++index) {
    const auto server = gyre::net::address::parse(argv[index], /*default_port=*/80);
    if (!server) return std::fprintf(stderr, "race: %s is no address\n", argv[index]), 2;
    servers.push_back(*server);
  }
  if (servers.empty()) return std::fputs("usage: race ADDRESS:PORT...\n", stderr), 2;
  return gyre::run(fetch_first(std::move(servers)));
}
