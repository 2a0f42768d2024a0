// SPDX-License-Identifier: MIT
// Two ends of a TCP connection on the loopback.
#pragma once

#include <gyre/runtime/unique_fd.hpp>

#include <doctest/doctest.h>
#include <linux/filter.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>

#include <cerrno>
#include <vector>

namespace gyre::test {

struct tcp_pair {
  tcp_pair() {
    const unique_fd listener{::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
    ::sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    ::socklen_t size = sizeof address;
    auto* const generic = reinterpret_cast<::sockaddr*>(&address);
    REQUIRE(::bind(listener.get(), generic, size) == 0);
    REQUIRE(::getsockname(listener.get(), generic, &size) == 0);
    REQUIRE(::listen(listener.get(), 1) == 0);
    here.reset(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    REQUIRE(::connect(here.get(), generic, size) == 0);
    there.reset(::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
    REQUIRE(static_cast<bool>(there));
  }

  /// So that nothing more can be sent from here. Nothing of it comes there either, and nothing is acknowledged: else
  /// there would be room again whenever TCP probes whether there is. Who may not have that waits until TCP is done.
  void fill() const {
    ::sock_filter drop_all = BPF_STMT(BPF_RET | BPF_K, 0);
    const ::sock_fprog filter{.len = 1, .filter = &drop_all};
    const bool drops = ::setsockopt(there.get(), SOL_SOCKET, SO_ATTACH_FILTER, &filter, sizeof filter) == 0;
    if (!drops) REQUIRE(errno == EPERM);
    do send_all_that_fits();
    while (!drops && has_room_soon());
  }

  unique_fd here;
  unique_fd there;

 private:
  void send_all_that_fits() const {
    const std::vector<char> bytes(1 << 16);
    while (::send(here.get(), bytes.data(), bytes.size(), MSG_DONTWAIT) > 0) {
    }
  }

  // TCP has moved some of it within 200 ms, in all of a hundred tries.
  [[nodiscard]] bool has_room_soon() const {
    ::pollfd room{.fd = here.get(), .events = POLLOUT, .revents = 0};
    return ::poll(&room, 1, /*timeout_ms=*/500) == 1;
  }
};

}  // namespace gyre::test
