// SPDX-License-Identifier: MIT
// Descriptors that change executors, for tests of send_to(): two executors of one thread, and what uses a descriptor on
// whichever of them it is. Of any type that owns one.
#pragma once

#include <gyre/runtime/executor.hpp>
#include <gyre/runtime/ops/socket.hpp>
#include <gyre/runtime/send_to.hpp>
#include <gyre/runtime/task.hpp>
#include <gyre/runtime/unique_fd.hpp>

#include <doctest/doctest.h>
#include <sys/socket.h>

#include <array>
#include <cstddef>
#include <utility>

namespace gyre::test {

/// Two executors of one thread, which the test turns.
struct two_executors {
  explicit two_executors(const executor_options& of_here = {}, const executor_options& of_there = {})
      : here{of_here}, there{of_there} {}

  void turn_each() {
    here.turn(/*may_park=*/false);
    there.turn(/*may_park=*/false);
  }

  template <class Condition>
  void turn_until(Condition is_so) {
    while (!is_so()) turn_each();
  }

  executor here;
  executor there;
};

inline void write_byte(const unique_fd& to) { CHECK(::send(to.get(), "x", 1, MSG_NOSIGNAL) == 1); }

inline bool peer_has_closed(const unique_fd& peer) {
  char byte = 0;
  return ::recv(peer.get(), &byte, 1, MSG_DONTWAIT) == 0;
}

/// What receive_byte() has seen, and its socket.
template <class Descriptor>
struct received {
  std::size_t bytes_count = 0;
  executor* on = nullptr;
  Descriptor socket;
};

/// Receives a byte on whatever executor it is called, and gives the socket back.
template <class Descriptor>
task<received<Descriptor>> receive_byte(Descriptor socket) {
  std::array<std::byte, 4> buffer;
  const auto count = co_await ops::recv{socket, buffer};
  co_return received<Descriptor>{count, &executor::current(), std::move(socket)};
}

template <class Descriptor>
task<> send_and_note(executor& there, Descriptor socket, received<Descriptor>& noted) {
  noted = co_await send_to(there, std::move(socket), &receive_byte<Descriptor>);
}

}  // namespace gyre::test
