// SPDX-License-Identifier: MIT
// The two ends of a line that tests/clients/lines.py makes bad: what is sent arrives byte by byte, and deadlines hold.
//
//   line_peer serve ADDRESS                     says where it listens, and serves until SIGINT
//   line_peer exchange ADDRESS BYTES            sends as many bytes each way at once, and looks at every one
//   line_peer deadline ADDRESS MILLISECONDS     asks for an answer in time; says "in time" or "timed out"
//   line_peer silence ADDRESS MILLISECONDS      asks for none, and waits for one as long; says the same
//
// The first byte of a connection says what its client wants: 'x', 'a' or 's'. A client ends with 0 when all was as it
// has to be.
#include <gyre/net/tcp_listener.hpp>
#include <gyre/net/tcp_stream.hpp>
#include <gyre/runtime/as_result.hpp>
#include <gyre/runtime/deadline.hpp>
#include <gyre/runtime/run.hpp>
#include <gyre/runtime/task_group.hpp>
#include <gyre/runtime/when_all.hpp>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

namespace {

using gyre::task;
using gyre::net::tcp_stream;

// What both ends take for granted of byte `index`: no two pieces of the line look the same.
std::byte expected_at(std::uint64_t index) {
  std::uint64_t mixed = (index + 1) * 0x9e37'79b9'7f4a'7c15;
  mixed ^= mixed >> 31U;
  return static_cast<std::byte>(mixed * 0xbf58'476d'1ce4'e5b9 >> 56U);
}

task<> send_bytes(tcp_stream& to, std::uint64_t count) {
  std::array<std::byte, 8192> piece{};
  for (std::uint64_t sent = 0; sent < count;) {
    const std::size_t size = std::min<std::uint64_t>(piece.size(), count - sent);
    for (std::size_t i = 0; i < size; ++i) piece[i] = expected_at(sent + i);
    co_await to.write_all(std::span{piece}.first(size));
    sent += size;
  }
  to.shutdown_write();
}

// Until the end; throws where a byte is wrong.
task<std::uint64_t> check_bytes(tcp_stream& from) {
  std::array<std::byte, 8192> piece{};
  std::uint64_t seen_count = 0;
  while (const std::size_t size = co_await from.read(piece)) {
    for (std::size_t i = 0; i < size; ++i)
      if (piece[i] != expected_at(seen_count + i))
        throw std::system_error{std::make_error_code(std::errc::illegal_byte_sequence), std::to_string(seen_count + i)};
    seen_count += size;
  }
  co_return seen_count;
}

task<> write_byte(tcp_stream& to, char byte) { co_await to.write_all(std::as_bytes(std::span{&byte, 1})); }

// ---------------------------------------------------------------------------------------------------------- the server

// As many bytes as eight say, the lowest first.
task<> exchange_with(tcp_stream& client) {
  std::array<std::byte, 8> count_bytes{};
  co_await client.read_exactly(count_bytes);
  std::uint64_t count = 0;
  std::memcpy(&count, count_bytes.data(), sizeof count);
  co_await gyre::when_all(send_bytes(client, count), check_bytes(client));
}

task<> serve_one(tcp_stream client) {
  std::array<std::byte, 1> wish{};
  if (co_await client.read(wish) == 0) co_return;
  if (wish[0] == std::byte{'x'}) co_return co_await exchange_with(client);
  if (wish[0] == std::byte{'a'}) co_await write_byte(client, '!');
  while (co_await client.read(wish) != 0) continue;  // says nothing, until the client has gone
}

task<> serve(gyre::net::tcp_listener listener) {
  std::printf("listening on %s\n", listener.local_address().to_string().c_str());
  std::fflush(stdout);
  co_await gyre::with_task_group({.on_error = gyre::log_and_continue}, [&](gyre::task_group& all) -> task<> {
    for (;;) all.start(serve_one(co_await listener.accept()));
  });
}

// --------------------------------------------------------------------------------------------------------- the clients

task<int> exchange(gyre::net::address at, std::uint64_t count) {
  auto server = co_await tcp_stream::connect(at);
  co_await write_byte(server, 'x');
  co_await server.write_all(std::as_bytes(std::span{&count, 1}));
  const auto [nothing, seen_count] = co_await gyre::when_all(send_bytes(server, count), check_bytes(server));
  std::printf("%ju of %ju bytes\n", std::uintmax_t{seen_count}, std::uintmax_t{count});
  co_return seen_count == count ? EXIT_SUCCESS : EXIT_FAILURE;
}

// Waits for one byte, which comes or does not.
task<int> ask(gyre::net::address at, char wish, std::chrono::milliseconds limit) {
  auto server = co_await tcp_stream::connect(at);
  co_await write_byte(server, wish);
  std::array<std::byte, 1> answer{};
  const auto began = std::chrono::steady_clock::now();
  const auto came = co_await gyre::as_result(gyre::with_timeout(limit, server.read(answer)));
  const bool is_late = !came && came.error() == std::errc::timed_out;
  std::puts(is_late ? "timed out" : "in time");
  const bool ended_early = is_late && std::chrono::steady_clock::now() - began < limit;
  co_return !ended_early && (is_late || (came && *came == 1)) ? EXIT_SUCCESS : EXIT_FAILURE;
}

int run(std::string_view role, const gyre::net::address& at, long long number) {
  const std::chrono::milliseconds limit{number};
  if (role == "serve") return gyre::run(serve(gyre::net::tcp_listener::bind({.at = at})));
  if (role == "exchange") return gyre::run(exchange(at, static_cast<std::uint64_t>(number)));
  if (role == "deadline") return gyre::run(ask(at, 'a', limit));
  if (role == "silence") return gyre::run(ask(at, 's', limit));
  return std::fputs("usage: line_peer serve|exchange|deadline|silence ADDRESS [NUMBER]\n", stderr), 2;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    if (argc < 3) return run({}, {}, 0);
    return run(argv[1], gyre::net::address::parse(argv[2]).value(), argc > 3 ? std::atoll(argv[3]) : 0);
  } catch (const std::system_error& error) {
    return std::fprintf(stderr, "line_peer: %s\n", error.what()), 1;
  }
}
