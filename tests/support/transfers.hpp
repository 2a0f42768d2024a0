// SPDX-License-Identifier: MIT
// Bytes that tell what became of them, reads and writes of a whole by a tcp_stream, and how far one came that failed.
#pragma once

#include <gyre/net/tcp_stream.hpp>
#include <gyre/runtime/error.hpp>
#include <gyre/runtime/task.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <system_error>
#include <utility>
#include <vector>

namespace gyre::test {

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
inline task<std::vector<std::byte>> read_to_end(net::tcp_stream& stream, std::size_t piece_bytes_max = 10'000) {
  std::vector<std::byte> all;
  std::vector<std::byte> buffer(piece_bytes_max);
  for (std::size_t piece = 1;; piece = piece % buffer.size() + 17) {
    const auto count = co_await stream.read(std::span{buffer}.first(std::min(piece, buffer.size())));
    if (count == 0) co_return all;
    all.insert(all.end(), buffer.begin(), buffer.begin() + static_cast<std::ptrdiff_t>(count));
  }
}

}  // namespace gyre::test
