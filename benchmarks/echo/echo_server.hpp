// SPDX-License-Identifier: MIT
// What the echo servers share: their options, and the line by which a script learns their port.
#pragma once

#include <getopt.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string_view>

namespace bench {

// Bytes a server reads at a time, the same for each: the memory that is cycled through shows in the result.
constexpr std::size_t read_bytes_max = 4096;

struct server_options {
  std::uint16_t port = 0;        // 0: the kernel picks a free one
  unsigned clients_count = 0;    // end when this many have come and gone; 0: serve until a signal
  bool deadline = false;         // 30 seconds on each read
  bool park_on_eventfd = false;  // else it sleeps in the ring
  bool accept_stream = false;    // one request for all connections, and not one for each
  unsigned spin_us = 0;          // gyre's: executor_options::spin_before_park
};

inline bool is_eventfd(const char* park) {
  const std::string_view name{park};
  if (name != "eventfd" && name != "ring") {
    std::fprintf(stderr, "--park %s: it is eventfd or ring\n", park);
    std::exit(2);
  }
  return name == "eventfd";
}

inline server_options parse_server_options(int argc, char** argv) {
  static constexpr option names[] = {{"port", required_argument, nullptr, 'p'},
                                     {"clients", required_argument, nullptr, 'c'},
                                     {"deadline", no_argument, nullptr, 'd'},
                                     {"park", required_argument, nullptr, 's'},
                                     {"spin", required_argument, nullptr, 'l'},
                                     {"accept-stream", no_argument, nullptr, 'a'},
                                     {}};
  server_options options;
  for (int name; (name = getopt_long(argc, argv, "", names, nullptr)) != -1;) {
    switch (name) {
      case 'p':
        options.port = static_cast<std::uint16_t>(std::strtoul(optarg, nullptr, 10));
        break;
      case 'c':
        options.clients_count = static_cast<unsigned>(std::strtoul(optarg, nullptr, 10));
        break;
      case 'd':
        options.deadline = true;
        break;
      case 's':
        options.park_on_eventfd = is_eventfd(optarg);
        break;
      case 'a':
        options.accept_stream = true;
        break;
      case 'l':
        options.spin_us = static_cast<unsigned>(std::strtoul(optarg, nullptr, 10));
        break;
      default:
        std::fprintf(stderr,
                     "usage: %s [--port N] [--clients N] [--deadline] [--accept-stream] [--park eventfd|ring] "
                     "[--spin US]\n",
                     argv[0]);
        std::exit(2);
    }
  }
  return options;
}

inline void announce(std::uint16_t port) {
  std::printf("port %u\n", unsigned{port});
  std::fflush(stdout);
}

}  // namespace bench
