// SPDX-License-Identifier: MIT
// The floor of a large transfer: the same sends and receives on liburing, one at a time. It sleeps in the ring.
#include "transfer.hpp"

#include "support/raw_ring.hpp"

#include <vector>

namespace {

// One request, and its answer.
std::size_t moved_by(bench::raw_ring& ring) {
  io_uring_cqe* completion = nullptr;
  ring.submit_and_wait(1);
  while (io_uring_peek_cqe(ring.get(), &completion) != 0) ring.submit_and_wait(1);
  const int count = completion->res;
  io_uring_cqe_seen(ring.get(), completion);
  if (count <= 0) bench::die("the transfer", count == 0 ? EPIPE : -count);
  return static_cast<std::size_t>(count);
}

void send_all_of(bench::raw_ring& ring, int peer, std::uint64_t bytes) {
  const std::vector<char> piece(bench::piece_bytes);
  for (; bytes > 0; bytes -= piece.size()) {
    for (std::size_t sent = 0; sent < piece.size(); sent += moved_by(ring))
      io_uring_prep_send(ring.next_sqe(), peer, piece.data() + sent, piece.size() - sent, MSG_WAITALL | MSG_NOSIGNAL);
  }
}

void receive_all_of(bench::raw_ring& ring, int peer, std::uint64_t bytes) {
  std::vector<char> piece(bench::piece_bytes);
  while (bytes > 0) {
    io_uring_prep_recv(ring.next_sqe(), peer, piece.data(), piece.size(), 0);
    bytes -= moved_by(ring);
  }
}

}  // namespace

int main(int argc, char** argv) {
  const bench::transfer_options options = bench::parse_transfer_options(argc, argv);
  bench::raw_ring ring;
  const int listener = bench::listen_and_say();
  const int peer = accept4(listener, nullptr, nullptr, SOCK_CLOEXEC);
  if (peer < 0) bench::die("accept4", errno);
  const bench::cost measured;
  if (options.sends) send_all_of(ring, peer, options.bytes);
  else receive_all_of(ring, peer, options.bytes);
  measured.report(options.bytes);
}
