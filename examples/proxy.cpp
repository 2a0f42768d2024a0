// SPDX-License-Identifier: MIT
// A TCP proxy: whoever connects to LISTEN talks to TARGET.
//
//   proxy 8080 example.org:80              then, elsewhere: curl -H 'Host: example.org' http://127.0.0.1:8080/
//   proxy [::1]:6380 localhost:6379 --idle 60 --verbose
//
// LISTEN is a port of this machine alone, or an address with a port; port 0 is one that is free. TARGET is a name or an
// address, with a port: of several addresses the first that answers is taken (net/happy_eyeballs.hpp). Bytes go from
// socket to socket in the kernel (net/relay.hpp). The end of one direction is passed on, and the other goes on. Where
// one side breaks, the other is reset, so that it takes what it has for no more than a part.
//
// --connect SECONDS   how long TARGET has to answer; 10
// --idle SECONDS      how long a connection may say nothing; for ever
// --verbose           a line for each connection
//
// Ctrl-C closes the port and every connection, each with its line.
#include <gyre/net/happy_eyeballs.hpp>
#include <gyre/net/relay.hpp>
#include <gyre/net/tcp_listener.hpp>
#include <gyre/runtime/deadline.hpp>
#include <gyre/runtime/log.hpp>
#include <gyre/runtime/run.hpp>
#include <gyre/runtime/task_group.hpp>

#include <spdlog/spdlog.h>

#include <charconv>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

namespace {

namespace net = gyre::net;

struct settings {
  std::string listen_at;
  std::string target_host;
  std::uint16_t target_port = 0;
  std::chrono::seconds connect_max{10};
  std::chrono::nanoseconds idle_max = std::chrono::nanoseconds::max();
  bool verbose = false;
};

// A client that has gone already has no address any more.
std::string name_of(const net::tcp_stream& client) {
  try {
    return client.peer_address().to_string();
  } catch (const std::system_error&) {
    return "a client that is gone";
  }
}

// One line for a connection, however it ends: also where a stop takes its coroutine away.
class connection_line {
 public:
  explicit connection_line(const net::tcp_stream& client) : client_{name_of(client)} {}
  connection_line(const connection_line&) = delete;
  connection_line& operator=(const connection_line&) = delete;
  ~connection_line() {
    gyre::log::logger()->debug("{}: {} bytes there, {} back; {}", client_, counts.forth.written_bytes,
                               counts.back.written_bytes, ending);
  }

  net::relay_counts counts;
  std::string ending = "stopped";

 private:
  std::string client_;
};

// Returns whether both sides have heard all that there is to hear: an end, and no part that looks like the whole.
gyre::task<bool> relay_to(net::tcp_stream& target, net::tcp_stream& client, const settings& chosen,
                          connection_line& line) {
  try {
    const auto done = co_await net::relay(client, target, {.idle_max = chosen.idle_max, .counts = &line.counts});
    line.ending = done.how == net::relay_ending::idle ? "idle" : "both have ended";
    co_return true;
  } catch (const net::relay_error& error) {
    line.ending = error.what();
  }
  co_return false;
}

gyre::task<> serve_one(net::tcp_stream client, const settings& chosen) {
  connection_line line{client};
  try {
    auto target = co_await gyre::with_timeout(chosen.connect_max, net::connect(chosen.target_host, chosen.target_port));
    const bool ended_well = co_await relay_to(target, client, chosen, line);
    if (ended_well) co_return;
    co_await target.reset();
    co_await client.reset();
  } catch (const std::exception& error) {
    line.ending = error.what();
  }
}

gyre::task<> serve(net::tcp_listener listener, const settings& chosen) {
  std::printf("listening on %s\n", listener.local_address().to_string().c_str());
  std::fflush(stdout);
  auto incoming = listener.incoming();
  co_await gyre::with_task_group({.on_error = gyre::log_and_continue}, [&](gyre::task_group& all) -> gyre::task<> {
    while (auto client = co_await incoming.next()) all.start(serve_one(std::move(*client), chosen));
  });
}

template <class Number>
bool read_number(std::string_view text, Number& into) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), into);
  return error == std::errc{} && end == text.data() + text.size();
}

// "name:80", "127.0.0.1:80", "[::1]:80".
bool read_target(std::string_view text, settings& into) {
  const auto colon = text.rfind(':');
  if (colon == std::string_view::npos || !read_number(text.substr(colon + 1), into.target_port)) return false;
  std::string_view host = text.substr(0, colon);
  if (host.starts_with('[') && host.ends_with(']')) host = host.substr(1, host.size() - 2);
  into.target_host = host;
  return !host.empty() && into.target_port != 0;
}

bool read_option(std::string_view name, std::string_view value, settings& into) {
  std::uint32_t seconds = 0;
  if (!read_number(value, seconds) || seconds == 0) return false;
  if (name == "--connect") into.connect_max = std::chrono::seconds{seconds};
  else if (name == "--idle") into.idle_max = std::chrono::seconds{seconds};
  else return false;
  return true;
}

std::optional<settings> read_command_line(int argc, char** argv) {
  settings chosen;
  if (argc < 3 || !read_target(argv[2], chosen)) return std::nullopt;
  chosen.listen_at = argv[1];
  for (int i = 3; i < argc; ++i) {
    if (std::string_view{argv[i]} == "--verbose") chosen.verbose = true;
    else if (i + 1 == argc || !read_option(argv[i], argv[i + 1], chosen)) return std::nullopt;
    else ++i;
  }
  return chosen;
}

net::address address_of(const std::string& text) {
  std::uint16_t port = 0;
  return read_number(text, port) ? net::address::loopback(port) : net::address::parse(text).value();
}

}  // namespace

int main(int argc, char** argv) {
  const auto chosen = read_command_line(argc, argv);
  if (!chosen) {
    std::fputs("usage: proxy [ADDRESS:]PORT HOST:PORT [--connect SECONDS] [--idle SECONDS] [--verbose]\n", stderr);
    return 2;
  }
  if (chosen->verbose) gyre::log::logger()->set_level(spdlog::level::debug);
  try {
    return gyre::run(serve(net::tcp_listener::bind({.at = address_of(chosen->listen_at)}), *chosen));
  } catch (const std::system_error& error) {
    return std::fprintf(stderr, "proxy: %s\n", error.what()), 1;
  }
}
