// SPDX-License-Identifier: MIT
// Making pipes, and keeping them.
#include <gyre/net/detail/pipe_cache.hpp>

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <utility>

namespace gyre::net::detail {

// pipe2(2) never blocks; the ring's own request is younger than what gyre runs on (Linux 6.16).
splice_pipe make_splice_pipe(int bytes) noexcept {
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC | O_NONBLOCK) != 0) return {};
  splice_pipe made{unique_fd{ends[0]}, unique_fd{ends[1]}, 0};
  ::fcntl(ends[1], F_SETPIPE_SZ, bytes);  // refused: it stays as it is
  const int capacity = ::fcntl(ends[1], F_GETPIPE_SZ);
  if (capacity <= 0) return {};
  made.capacity = static_cast<std::size_t>(capacity);
  return made;
}

splice_pipe pipe_cache::take() noexcept {
  if (kept_.empty()) return make_splice_pipe(pipe_bytes);
  splice_pipe taken = std::move(kept_.back());
  kept_.pop_back();
  return taken;
}

void pipe_cache::give_back(splice_pipe empty) noexcept {
  if (kept_.size() < kept_max) kept_.push_back(std::move(empty));
}

}  // namespace gyre::net::detail
