// SPDX-License-Identifier: MIT
// The other end of a TCP connection, by plain socket calls that do not block: it does what a test wants at the moment
// that the test chooses, also what no program should do.
#pragma once

#include <gyre/net/address.hpp>
#include <gyre/runtime/executor.hpp>
#include <gyre/runtime/root_task.hpp>
#include <gyre/runtime/unique_fd.hpp>

#include "loopback.hpp"

#include <doctest/doctest.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

namespace gyre::test {

class plain_peer {
 public:
  explicit plain_peer(const net::address& server) : socket_{connect_to(server)} {}
  explicit plain_peer(unique_fd connected) : socket_{std::move(connected)} {}

  /// Sends as many of the bytes as there is room for, and tells how many that were.
  std::size_t send(std::span<const std::byte> bytes, int flags = 0) const {
    const auto sent = ::send(socket_.get(), bytes.data(), bytes.size(), flags | MSG_NOSIGNAL | MSG_DONTWAIT);
    return sent < 0 ? 0 : static_cast<std::size_t>(sent);
  }

  /// Takes what has come, at most so many bytes.
  void take(std::size_t bytes_max = SIZE_MAX) {
    std::array<std::byte, 1 << 16> piece;
    while (!at_end_ && error_ == 0 && bytes_max > 0) {
      const auto count = ::recv(socket_.get(), piece.data(), std::min(piece.size(), bytes_max), MSG_DONTWAIT);
      if (count < 0 && errno == EAGAIN) return;
      if (count < 0) error_ = errno;
      if (count == 0) at_end_ = true;
      if (count <= 0) return;
      received_.insert(received_.end(), piece.begin(), piece.begin() + count);
      bytes_max -= static_cast<std::size_t>(count);
    }
  }

  /// Lets the executor turn, and takes what comes, until that is so many bytes in all, or the end, or an error.
  void take_while_turning(executor& loop, std::size_t bytes_count = SIZE_MAX) {
    for (take(); !at_end_ && error_ == 0 && received_.size() < bytes_count; take()) loop.turn(/*may_park=*/false);
  }

  void shutdown_write() const { REQUIRE(::shutdown(socket_.get(), SHUT_WR) == 0); }

  /// Goes without a goodbye: the other end hears of a reset.
  void reset() {
    const ::linger at_once{.l_onoff = 1, .l_linger = 0};
    REQUIRE(::setsockopt(socket_.get(), SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once) == 0);
    socket_.reset();
  }

  [[nodiscard]] const std::vector<std::byte>& received() const noexcept { return received_; }
  [[nodiscard]] bool at_end() const noexcept { return at_end_; }
  [[nodiscard]] int error() const noexcept { return error_; }
  [[nodiscard]] const unique_fd& fd() const noexcept { return socket_; }

 private:
  unique_fd socket_;
  std::vector<std::byte> received_;
  bool at_end_ = false;
  int error_ = 0;
};

}  // namespace gyre::test
