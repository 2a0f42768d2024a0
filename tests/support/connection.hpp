// SPDX-License-Identifier: MIT
// Two ends of a TCP connection as tcp_streams on an executor of their own, and what tests do with them.
#pragma once

#include <gyre/net/address.hpp>
#include <gyre/net/tcp_listener.hpp>
#include <gyre/net/tcp_stream.hpp>
#include <gyre/runtime/error.hpp>
#include <gyre/runtime/executor.hpp>
#include <gyre/runtime/task.hpp>

#include "turning.hpp"

#include <doctest/doctest.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <system_error>
#include <utility>
#include <vector>

namespace gyre::test {

constexpr std::size_t big_bytes = std::size_t{8} << 20;

/// Bytes in which a piece that was lost, doubled or moved shows.
inline std::vector<std::byte> telling_bytes(std::size_t count) {
  std::vector<std::byte> made(count);
  std::uint32_t state = 1;
  for (auto& each : made) {
    state = state * 1'664'525 + 1'013'904'223;
    each = static_cast<std::byte>(state >> 24);
  }
  return made;
}

/// Two ends of a connection, on an executor of their own.
struct connection {
  explicit connection(const net::address& at = net::address::loopback(0)) {
    auto listener = net::tcp_listener::bind({.at = at});
    auto connecting = loop.start(net::tcp_stream::connect(listener.local_address()));
    theirs.emplace(loop.run(listener.accept()));
    turn_until_done(loop, connecting);
    ours.emplace(connecting.get());
  }

  // So that writes come in parts. A narrow receive buffer would do the same, at the pace of TCP's timers.
  void make_narrow() {
    constexpr int bytes = 1 << 16;
    for (const auto* each : {&ours, &theirs})
      REQUIRE(::setsockopt((*each)->fd().get(), SOL_SOCKET, SO_SNDBUF, &bytes, sizeof bytes) == 0);
  }

  executor loop;
  std::optional<net::tcp_stream> ours;
  std::optional<net::tcp_stream> theirs;
};

/// The peer goes without a goodbye: a reset instead of an end.
inline void reset(net::tcp_stream& stream) {
  const ::linger at_once{.l_onoff = 1, .l_linger = 0};
  REQUIRE(::setsockopt(stream.fd().get(), SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once) == 0);
  stream.release().reset();
}

struct failed_transfer {
  std::error_code why;
  std::size_t bytes = 0;
};

template <class Transfer>
task<failed_transfer> failure_of(Transfer transfer) {
  try {
    co_await std::move(transfer);
  } catch (const transfer_error& error) {
    co_return failed_transfer{error.code(), error.bytes()};
  }
  co_return failed_transfer{};
}

inline task<> write_in_full(net::tcp_stream& stream, std::span<const std::byte> bytes) {
  co_await stream.write_all(bytes);
}

inline task<> read_in_full(net::tcp_stream& stream, std::span<std::byte> buffer) {
  co_await stream.read_exactly(buffer);
}

/// Reads until the end, in pieces of changing size.
inline task<std::vector<std::byte>> read_to_end(net::tcp_stream& stream) {
  std::vector<std::byte> all;
  std::array<std::byte, 10'000> buffer;
  for (std::size_t piece = 1;; piece = piece % buffer.size() + 17) {
    const auto count = co_await stream.read(std::span{buffer}.first(std::min(piece, buffer.size())));
    if (count == 0) co_return all;
    all.insert(all.end(), buffer.begin(), buffer.begin() + static_cast<std::ptrdiff_t>(count));
  }
}

}  // namespace gyre::test
