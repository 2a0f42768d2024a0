// SPDX-License-Identifier: MIT
// splice(2) into a socket, kept from waiting and from signals.
//
// SPLICE_F_NONBLOCK is about the pipe alone: with it splice still waits for room in a socket that has not O_NONBLOCK
// (Linux 6.18). So that is set for the time of the call. Operations in flight on the socket are not touched by it: the
// kernel's io_uring asks a socket without waiting in any case. SIGPIPE: without_sigpipe.hpp.
#include <gyre/net/detail/splice_now.hpp>
#include <gyre/net/detail/without_sigpipe.hpp>

#include <fcntl.h>

#include <cerrno>
#include <system_error>

namespace gyre::net::detail {
namespace {

class without_waiting {
 public:
  explicit without_waiting(int socket) noexcept : socket_{socket}, flags_{::fcntl(socket, F_GETFL)} {
    if (!was_set()) ::fcntl(socket_, F_SETFL, flags_ | O_NONBLOCK);
  }
  without_waiting(const without_waiting&) = delete;
  without_waiting& operator=(const without_waiting&) = delete;
  ~without_waiting() {
    if (!was_set()) ::fcntl(socket_, F_SETFL, flags_);
  }

 private:
  [[nodiscard]] bool was_set() const noexcept { return (flags_ & O_NONBLOCK) != 0; }

  int socket_;
  int flags_;
};

}  // namespace

result<std::size_t> splice_now(fd_ref pipe, fd_ref socket, std::size_t count) noexcept {
  const without_waiting now{socket.get()};
  const without_sigpipe quiet;
  for (;;) {
    const auto moved = ::splice(pipe.get(), nullptr, socket.get(), nullptr, count, SPLICE_F_NONBLOCK);
    if (moved >= 0) return static_cast<std::size_t>(moved);
    const int failed = errno;
    if (failed == EPIPE) quiet.take_signal();
    if (failed != EINTR) return std::error_code{failed, std::system_category()};
  }
}

}  // namespace gyre::net::detail
