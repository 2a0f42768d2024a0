// SPDX-License-Identifier: MIT
// Gets what a URL names over HTTP/1.1, and writes it to standard output or into a file.
//
//   fetch http://example.org/ --output page.html --deadline 60
//
// Redirects are followed; bodies may have a length, come in chunks, or end with the connection. A server that is silent
// for thirty seconds is given up. Nothing is kept in memory but one buffer, so that a body may be of any size. There is
// no https: that is said, and not tried.
#include "response_parser.hpp"
#include "url.hpp"

#include <gyre/fs/file.hpp>
#include <gyre/net/happy_eyeballs.hpp>
#include <gyre/runtime/deadline.hpp>
#include <gyre/runtime/ops/file.hpp>
#include <gyre/runtime/run.hpp>

#include <unistd.h>
#include <CLI/CLI.hpp>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

using namespace std::chrono_literals;

namespace {

constexpr auto patience = 30s;
constexpr std::size_t buffer_bytes = 2 * fetch::response_parser::header_bytes_max;

struct command_line {
  std::string url;
  std::string output;
  unsigned deadline_seconds = 0;
  unsigned redirects_max = 10;
};

// Where the body goes. A file is opened when there is a body for it: what fails before leaves it alone.
class destination {
 public:
  explicit destination(std::string path) : path_{std::move(path)} {}

  gyre::task<> open() {
    if (path_.empty()) co_return;
    const gyre::fs::open_options writing{
        .access = gyre::fs::file_access::write, .create = gyre::fs::file_creation::if_missing, .truncate = true};
    file_ = co_await gyre::fs::file::open(path_, writing);
  }

  gyre::task<> write(std::span<const std::byte> bytes) {
    const gyre::fd_ref to = file_ ? file_->fd() : gyre::fd_ref{STDOUT_FILENO};
    while (!bytes.empty()) bytes = bytes.subspan(co_await gyre::ops::write{to, bytes});
  }

  gyre::task<> close() {
    if (file_) co_await file_->close();
  }

 private:
  std::string path_;
  std::optional<gyre::fs::file> file_;
};

std::string request_for(const fetch::url& wanted) {
  return "GET " + wanted.target + " HTTP/1.1\r\nHost: " + wanted.authority() +
         "\r\nUser-Agent: gyre-fetch\r\nAccept: */*\r\nConnection: close\r\n\r\n";
}

// The response to one request: reads it to its end, and has the body of a good one written.
class exchange {
 public:
  exchange(gyre::net::tcp_stream& server, destination& to) : server_{server}, to_{to}, buffer_(buffer_bytes) {}

  gyre::task<fetch::response_parser> response() {
    fetch::response_parser parser;
    for (bool is_open = false;;) {
      if (held_ > 0) take(parser);
      const bool is_wanted = parser.has_header() && parser.is_success();
      if (is_wanted && !std::exchange(is_open, true)) co_await to_.open();
      if (is_wanted)
        for (const auto piece : parser.body()) co_await to_.write(piece);
      forget_taken();
      if (parser.has_header() && (parser.is_redirect() || parser.has_ended())) {
        if (!parser.is_interim()) break;
        parser = fetch::response_parser{};
      } else if (!co_await read_more()) {
        parser.end();
        break;
      }
    }
    co_return parser;
  }

 private:
  void take(fetch::response_parser& parser) { taken_ = parser.put(std::span{buffer_}.first(held_)); }

  void forget_taken() {
    const auto begin = buffer_.begin();
    std::copy(begin + static_cast<std::ptrdiff_t>(taken_), begin + static_cast<std::ptrdiff_t>(held_), begin);
    held_ -= std::exchange(taken_, 0);
  }

  gyre::task<bool> read_more() {
    const auto room = std::span{buffer_}.subspan(held_);
    if (room.empty()) throw std::runtime_error{"no response of HTTP's: a line does not end"};
    const std::size_t count = co_await gyre::with_timeout(patience, server_.read(room));
    held_ += count;
    co_return count > 0;
  }

  gyre::net::tcp_stream& server_;
  destination& to_;
  std::vector<std::byte> buffer_;
  std::size_t held_ = 0;   // have come, and are not forgotten
  std::size_t taken_ = 0;  // of these the parser has taken
};

// Where to go on, if it was a redirect.
gyre::task<std::optional<fetch::url>> get(const fetch::url& wanted, destination& to) {
  auto server = co_await gyre::with_timeout(patience, gyre::net::connect(wanted.host, wanted.port));
  co_await gyre::with_timeout(patience, server.write_all(request_for(wanted)));
  exchange with_server{server, to};
  const auto response = co_await with_server.response();
  if (response.is_redirect()) {
    if (response.location().empty()) throw std::runtime_error{response.status_text() + ", and no location"};
    co_return fetch::follow(wanted, response.location());
  }
  if (!response.is_success()) throw std::runtime_error{response.status_text()};
  co_return std::nullopt;
}

gyre::task<> get_following(fetch::url wanted, unsigned redirects_max, destination& to) {
  for (unsigned redirects = 0; redirects <= redirects_max; ++redirects) {
    auto next = co_await get(wanted, to);
    if (!next) co_return;
    wanted = std::move(*next);
  }
  throw std::runtime_error{"more than " + std::to_string(redirects_max) + " redirects"};
}

gyre::task<int> fetch_to_destination(const command_line& chosen) {
  try {
    destination to{chosen.output};
    auto getting = get_following(fetch::parse_url(chosen.url), chosen.redirects_max, to);
    if (chosen.deadline_seconds == 0) co_await std::move(getting);
    else co_await gyre::with_timeout(std::chrono::seconds{chosen.deadline_seconds}, std::move(getting));
    co_await to.close();
    co_return EXIT_SUCCESS;
  } catch (const std::exception& failed) {
    std::fprintf(stderr, "fetch: %s\n", failed.what());
    co_return EXIT_FAILURE;
  }
}

}  // namespace

int main(int argc, char** argv) {
  command_line chosen;
  CLI::App app{"Gets what a URL names over HTTP/1.1."};
  app.add_option("URL", chosen.url, "Begins with http://; https is not spoken here")->required();
  app.add_option("--output", chosen.output, "The file to write; without it, standard output");
  app.add_option("--deadline", chosen.deadline_seconds, "Seconds for all of it; 0: none")->capture_default_str();
  app.add_option("--redirects", chosen.redirects_max, "How many are followed")->capture_default_str();
  CLI11_PARSE(app, argc, argv);
  return gyre::run(fetch_to_destination(chosen));
}
