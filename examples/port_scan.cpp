// SPDX-License-Identifier: MIT
// Tells which TCP ports of a host accept connections.
//
//   port_scan 127.0.0.1 1-65535
//   port_scan db.example 22,80,8000-8100 --wait 300
//
// A thousand connects at once, each with a deadline of its own; a port that says nothing in time is silent, which is an
// outcome and no error. Where the process may open fewer descriptors it is fewer at once. What accepts is reset and not
// closed, so that no state of it stays behind. Scan hosts of which you are in charge.
#include <gyre/net/resolver.hpp>
#include <gyre/net/tcp_stream.hpp>
#include <gyre/runtime/as_result.hpp>
#include <gyre/runtime/deadline.hpp>
#include <gyre/runtime/run.hpp>
#include <gyre/runtime/task_group.hpp>

#include <sys/resource.h>
#include <CLI/CLI.hpp>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

namespace {

struct command_line {
  std::string host;
  std::string range;
  unsigned wait_ms = 1000;
  std::size_t at_once = 1000;
};

struct findings {
  std::size_t open_count = 0;
  std::size_t refused_count = 0;
  std::size_t silent_count = 0;
  std::size_t failed_count = 0;
  std::error_code last_failure;
};

// A number from 1 to 65535; 0 for anything else.
std::uint16_t port_of(std::string_view text) {
  std::uint16_t port = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), port);
  return error == std::errc{} && end == text.data() + text.size() ? port : std::uint16_t{0};
}

// "80" or "8000-8100", appended. Returns whether it is one.
bool append_ports(std::string_view item, std::vector<std::uint16_t>& ports) {
  const auto dash = item.find('-');
  const unsigned first = port_of(item.substr(0, dash));
  const unsigned last = dash == std::string_view::npos ? first : port_of(item.substr(dash + 1));
  if (first == 0 || last < first) return false;
  for (unsigned port = first; port <= last; ++port) ports.push_back(static_cast<std::uint16_t>(port));
  return true;
}

// In ascending order, each once; none where the text says none.
std::vector<std::uint16_t> ports_of(std::string_view range) {
  std::vector<std::uint16_t> ports;
  for (bool is_last = false; !is_last;) {
    const auto comma = range.find(',');
    if (!append_ports(range.substr(0, comma), ports)) return {};
    is_last = comma == std::string_view::npos;
    if (!is_last) range.remove_prefix(comma + 1);
  }
  std::sort(ports.begin(), ports.end());
  ports.erase(std::unique(ports.begin(), ports.end()), ports.end());
  return ports;
}

// How many connects there is room for. What is spared is for the program itself.
std::size_t descriptors_to_spare() {
  constexpr ::rlim_t spared = 32;
  ::rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return 256;
  limit.rlim_cur = limit.rlim_max;
  (void)::setrlimit(RLIMIT_NOFILE, &limit);
  (void)::getrlimit(RLIMIT_NOFILE, &limit);
  return std::max<::rlim_t>(limit.rlim_cur, spared + 1) - spared;
}

gyre::task<> try_one(gyre::net::address at, std::chrono::milliseconds wait, findings& found) {
  auto connected = co_await gyre::as_result(gyre::with_timeout(wait, gyre::net::tcp_stream::connect(at)));
  if (connected) {
    ++found.open_count;
    std::printf("%u open\n", at.port());
    co_await connected->reset();
  } else if (connected.error() == std::errc::connection_refused) {
    ++found.refused_count;
  } else if (connected.error() == std::errc::timed_out) {
    ++found.silent_count;
  } else {
    ++found.failed_count;
    found.last_failure = connected.error();
  }
}

gyre::task<> try_all(gyre::net::address host, const std::vector<std::uint16_t>& ports, const command_line& chosen,
                     findings& found) {
  const auto at_once = std::min(chosen.at_once, descriptors_to_spare());
  co_await gyre::with_task_group({.max_tasks = at_once}, [&](gyre::task_group& attempts) -> gyre::task<> {
    for (const std::uint16_t port : ports) {
      co_await attempts.room();
      attempts.start(try_one(host.with_port(port), std::chrono::milliseconds{chosen.wait_ms}, found));
    }
  });
}

gyre::task<int> scan(const command_line& chosen, const std::vector<std::uint16_t>& ports) {
  const auto hosts = co_await gyre::as_result(gyre::net::resolver::common().resolve(chosen.host, ports.front()));
  if (!hosts) {
    std::fprintf(stderr, "port_scan: %s: %s\n", chosen.host.c_str(), hosts.error().message().c_str());
    co_return EXIT_FAILURE;
  }
  findings found;
  co_await try_all(hosts->front(), ports, chosen, found);
  std::fprintf(stderr, "%zu ports: %zu open, %zu refused, %zu silent, %zu failed\n", ports.size(), found.open_count,
               found.refused_count, found.silent_count, found.failed_count);
  if (found.failed_count == 0) co_return EXIT_SUCCESS;
  std::fprintf(stderr, "port_scan: the last failure was: %s\n", found.last_failure.message().c_str());
  co_return EXIT_FAILURE;
}

}  // namespace

int main(int argc, char** argv) {
  command_line chosen;
  CLI::App app{"Tells which TCP ports of a host accept connections."};
  app.add_option("HOST", chosen.host, "A name or an address")->required();
  app.add_option("RANGE", chosen.range, "Ports: 80, 1-1024, or several of these with commas between")->required();
  app.add_option("--wait", chosen.wait_ms, "Milliseconds that a port has to answer")
      ->capture_default_str()
      ->check(CLI::Range{1U, 60'000U});
  app.add_option("--at-once", chosen.at_once, "How many are tried at a time, as descriptors allow")
      ->capture_default_str()
      ->check(CLI::Range{std::size_t{1}, std::size_t{60'000}});
  CLI11_PARSE(app, argc, argv);

  const auto ports = ports_of(chosen.range);
  if (ports.empty()) {
    std::fprintf(stderr, "port_scan: no range of ports: %s\n", chosen.range.c_str());
    return 2;
  }
  return gyre::run(scan(chosen, ports));
}
