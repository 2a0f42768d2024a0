// SPDX-License-Identifier: MIT
// The listening socket of the servers that are written without gyre.
#pragma once

#include "echo_server.hpp"
#include "support/die.hpp"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <cerrno>

namespace bench {

// Listens on 127.0.0.1, and on nothing else, and announces the port.
inline int listen_on_loopback(std::uint16_t port, int type_flags) {
  const int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | type_flags, 0);
  if (listener < 0) die("socket", errno);
  const int on = 1;
  if (setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) != 0) die("SO_REUSEADDR", errno);

  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t address_bytes = sizeof address;
  if (bind(listener, reinterpret_cast<sockaddr*>(&address), address_bytes) != 0) die("bind", errno);
  if (listen(listener, SOMAXCONN) != 0) die("listen", errno);
  if (getsockname(listener, reinterpret_cast<sockaddr*>(&address), &address_bytes) != 0) die("getsockname", errno);
  announce(ntohs(address.sin_port));
  return listener;
}

}  // namespace bench
