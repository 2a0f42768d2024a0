// SPDX-License-Identifier: MIT
// The other end of a transfer, by blocking calls: it receives all that comes, or sends until nobody takes more.
#include "transfer.hpp"

#include <unistd.h>

#include <vector>

int main(int argc, char** argv) {
  if (argc != 4) {
    std::fprintf(stderr, "usage: %s PORT send|receive BYTES\n", argv[0]);
    return 2;
  }
  const bench::transfer_options options = bench::parse_transfer_options(argc - 1, argv + 1);
  const int peer = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<std::uint16_t>(std::strtoul(argv[1], nullptr, 10)));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (peer < 0 || connect(peer, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0)
    bench::die("connect", errno);
  std::vector<char> buffer(4 * bench::piece_bytes, 'b');
  for (std::uint64_t moved = 0; moved < options.bytes;) {
    const std::size_t wanted = std::min<std::uint64_t>(buffer.size(), options.bytes - moved);
    const ssize_t count =
        options.sends ? send(peer, buffer.data(), wanted, MSG_NOSIGNAL) : recv(peer, buffer.data(), wanted, 0);
    if (count <= 0) bench::die(options.sends ? "send" : "recv", count == 0 ? EPIPE : errno);
    moved += static_cast<std::uint64_t>(count);
  }
  char end = 0;
  shutdown(peer, SHUT_WR);
  return recv(peer, &end, 1, 0) == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
