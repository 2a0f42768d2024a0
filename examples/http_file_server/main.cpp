// SPDX-License-Identifier: MIT
// Serves a folder over HTTP/1.1: what a coroutine server looks like on gyre when it is meant to be kept.
//
//   http_file_server DIR --port 8080        then: curl http://127.0.0.1:8080/
//
// Read server.cpp (who is let in), connection.cpp (one client), site.cpp (one answer), in this order.
// docs/http_file_server.md says what clients can rely on.
#include "server.hpp"

#include <gyre/fs/uring_sink.hpp>
#include <gyre/net/address.hpp>
#include <gyre/net/tcp_listener.hpp>
#include <gyre/runtime/as_result.hpp>
#include <gyre/runtime/executor.hpp>
#include <gyre/runtime/log.hpp>
#include <gyre/runtime/run.hpp>

#include <fcntl.h>
#include <spdlog/sinks/stdout_color_sinks.h>
#include <spdlog/spdlog.h>
#include <sys/resource.h>
#include <CLI/CLI.hpp>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <filesystem>
#include <iterator>
#include <memory>
#include <string>
#include <system_error>
#include <utility>

namespace {

struct command_line {
  std::string folder;
  std::string address = "127.0.0.1";
  std::uint16_t port = 8080;
  unsigned idle_seconds = 30;
  unsigned header_seconds = 30;
  unsigned grace_seconds = 5;
  std::string log_level = "info";
  std::string access_log;
};

void describe(CLI::App& app, command_line& chosen) {
  app.add_option("DIR", chosen.folder, "The folder to serve")->required()->check(CLI::ExistingDirectory);
  app.add_option("--port", chosen.port, "Where to listen; 0: on a port that is free")->capture_default_str();
  app.add_option("--address", chosen.address, "An IPv4 or IPv6 address of this machine")->capture_default_str();
  const CLI::Range seconds{1, 24 * 60 * 60};
  app.add_option("--idle-timeout", chosen.idle_seconds, "Seconds from one request to the next")
      ->capture_default_str()
      ->check(seconds);
  app.add_option("--header-timeout", chosen.header_seconds, "Seconds from a request's first byte to its last")
      ->capture_default_str()
      ->check(seconds);
  app.add_option("--grace-period", chosen.grace_seconds, "Seconds for responses under way after SIGINT or SIGTERM")
      ->capture_default_str()
      ->check(seconds);
  app.add_option("--log-level", chosen.log_level, "debug logs every request")
      ->capture_default_str()
      ->check(CLI::IsMember({"debug", "info", "warn", "error", "off"}));
  app.add_option("--access-log", chosen.access_log, "A file for a line of each answer, in the common log format");
}

// Standard output is for what the tests and the demo read.
void set_up_logs(const std::string& level) {
  spdlog::set_default_logger(spdlog::stderr_color_mt("http"));
  spdlog::set_level(spdlog::level::from_str(level));
  gyre::log::logger()->set_level(spdlog::level::from_str(level));
}

// A connection takes a descriptor, and one more while it is sent a file. The rest is for the program itself, and for
// files that answer nothing but "not found".
std::size_t raise_connections_max() {
  constexpr ::rlim_t spare = 64;
  constexpr ::rlim_t enough = 65'536;
  ::rlimit descriptors{};
  if (::getrlimit(RLIMIT_NOFILE, &descriptors) != 0) return 256;
  descriptors.rlim_cur = std::min(descriptors.rlim_max, enough);
  (void)::setrlimit(RLIMIT_NOFILE, &descriptors);
  (void)::getrlimit(RLIMIT_NOFILE, &descriptors);
  return (std::max<std::size_t>(descriptors.rlim_cur, 2 * spare) - spare) / 2;
}

gyre::unique_fd open_folder(const std::string& path) {
  gyre::unique_fd opened{::open(path.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC)};
  if (!opened) throw std::system_error{errno, std::system_category(), path};
  return opened;
}

std::ptrdiff_t open_descriptors_count() {
  const std::filesystem::directory_iterator all{"/proc/self/fd"};
  return std::distance(begin(all), end(all));
}

// What is printed at the end, for people and for the demo.
struct report {
  http::counters server;
  gyre::executor_statistics executor;
};

void print(const report& made, std::ptrdiff_t descriptors_left) {
  const auto& [server, executor] = made;
  fmt::print("statistics: {{\"connections\": {}, \"requests\": {}, \"files\": {}, \"sent_bytes\": {}, ",
             server.connections, server.requests, server.files, server.sent_bytes);
  fmt::print("\"turns\": {}, \"enters\": {}, \"sqes\": {}, \"cqes\": {}, \"cancels\": {}, \"parks\": {}, ",
             executor.turns, executor.enters, executor.sqes, executor.cqes, executor.cancels, executor.parks);
  fmt::print("\"wakes\": {}, \"overflows\": {}, \"descriptors_left\": {}}}\n", executor.wakes_written,
             executor.overflows, descriptors_left);
  std::fflush(stdout);
}

gyre::task<> serve(http::server& server, gyre::net::tcp_listener listener, report& made) {
  // Said in here, when signals are taken already: whoever reads it may stop the server at once.
  fmt::print("listening on {}\n", listener.local_address().to_string());
  std::fflush(stdout);
  // Hearing of the stop as an error, instead of unwinding, leaves a place to count from when every connection has
  // ended.
  (void)co_await gyre::as_result(gyre::stopped_as_error(server.serve(std::move(listener))));
  made.server = server.counted;
  made.executor = gyre::executor::current().statistics();
}

// The lines are in the file when the last connection has ended.
gyre::task<> serve_and_log(http::server& server, gyre::net::tcp_listener listener, report& made, std::string path) {
  if (path.empty()) {
    co_await serve(server, std::move(listener), made);
    co_return;
  }
  using gyre::fs::uring_sink;
  co_await gyre::fs::with_uring_sink(path, {}, [&](std::shared_ptr<uring_sink> sink) -> gyre::task<> {
    server.accesses.open(std::move(sink));
    co_await serve(server, std::move(listener), made);
    server.accesses.close();
  });
}

int run(const command_line& chosen) {
  const auto descriptors_before = open_descriptors_count();
  const auto at = gyre::net::address::parse(chosen.address).value().with_port(chosen.port);
  const http::settings settings{.idle_timeout = std::chrono::seconds{chosen.idle_seconds},
                                .header_timeout = std::chrono::seconds{chosen.header_seconds},
                                .grace_period = std::chrono::seconds{chosen.grace_seconds},
                                .connections_max = raise_connections_max()};
  report made;
  int exit_status = EXIT_FAILURE;
  {
    http::server server{open_folder(chosen.folder), settings};
    auto listener = gyre::net::tcp_listener::bind({.at = at});
    // The server's own grace period ends first.
    gyre::run_options options;
    options.grace_period = settings.grace_period + std::chrono::seconds{5};
    exit_status = gyre::run(serve_and_log(server, std::move(listener), made, chosen.access_log), options);
  }
  print(made, open_descriptors_count() - descriptors_before);
  return exit_status;
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app{"Serves a folder over HTTP/1.1.", "http_file_server"};
  command_line chosen;
  describe(app, chosen);
  CLI11_PARSE(app, argc, argv);
  set_up_logs(chosen.log_level);
  try {
    return run(chosen);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "http_file_server: %s\n", error.what());
    return EXIT_FAILURE;
  }
}
