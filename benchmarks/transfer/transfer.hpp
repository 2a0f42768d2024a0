// SPDX-License-Identifier: MIT
// What the programs of the transfer benchmark share: their options, the pieces that they move, and how they tell what
// it has cost them. Each takes one connection, moves so many bytes over it one way, and ends.
#pragma once

#include "support/die.hpp"

#include <netinet/in.h>
#include <sys/socket.h>
#include <time.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string_view>

namespace bench {

// A write, and the buffer of a read.
constexpr std::size_t piece_bytes = std::size_t{64} << 10U;

struct transfer_options {
  bool sends = false;  // else it receives
  std::uint64_t bytes = 0;
  bool park_on_eventfd = false;
};

// PROGRAM send|receive BYTES [eventfd]
inline transfer_options parse_transfer_options(int argc, char** argv) {
  const std::string_view direction = argc > 1 ? argv[1] : "";
  transfer_options options;
  options.sends = direction == "send";
  if (argc > 2) options.bytes = std::strtoull(argv[2], nullptr, 10);
  options.park_on_eventfd = argc > 3 && std::string_view{argv[3]} == "eventfd";
  const bool is_whole = options.bytes > 0 && options.bytes % piece_bytes == 0;
  if ((!options.sends && direction != "receive") || !is_whole) {
    std::fprintf(stderr, "usage: %s send|receive BYTES [eventfd]; BYTES are a multiple of %zu\n", argv[0], piece_bytes);
    std::exit(2);
  }
  return options;
}

// Listens on 127.0.0.1 and says at which port.
inline int listen_and_say(int type_flags = 0) {
  const int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | type_flags, 0);
  if (listener < 0) die("socket", errno);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t address_bytes = sizeof address;
  auto* const generic = reinterpret_cast<sockaddr*>(&address);
  if (bind(listener, generic, address_bytes) != 0) die("bind", errno);
  if (listen(listener, 1) != 0) die("listen", errno);
  if (getsockname(listener, generic, &address_bytes) != 0) die("getsockname", errno);
  std::printf("port %u\n", unsigned{ntohs(address.sin_port)});
  std::fflush(stdout);
  return listener;
}

// From the connection on: processor time of this program, and time.
class cost {
 public:
  void report(std::uint64_t bytes) const {
    const double seconds = std::chrono::duration<double>(clock::now() - begin_).count();
    const double gigabytes = static_cast<double>(bytes) / 1e9;
    std::printf(R"({"cpu_ms_per_gigabyte": %.3f, "gigabytes_per_second": %.3f})"
                "\n",
                (cpu_ms() - cpu_ms_) / gigabytes, gigabytes / seconds);
  }

 private:
  using clock = std::chrono::steady_clock;
  static double cpu_ms() {
    timespec time{};
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
    return static_cast<double>(time.tv_sec) * 1e3 + static_cast<double>(time.tv_nsec) / 1e6;
  }

  clock::time_point begin_ = clock::now();
  double cpu_ms_ = cpu_ms();
};

}  // namespace bench
