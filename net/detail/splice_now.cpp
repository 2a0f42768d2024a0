// SPDX-License-Identifier: MIT
// splice(2) into a socket, kept from waiting and from signals.
//
// SPLICE_F_NONBLOCK is about the pipe alone: with it splice still waits for room in a socket that has not O_NONBLOCK
// (Linux 6.18). So that is set for the time of the call. Operations in flight on the socket are not touched by it: the
// kernel's io_uring asks a socket without waiting in any case. There is no MSG_NOSIGNAL for a splice either, so that
// SIGPIPE is held back, and taken if this call has raised it: it is sent to the thread that calls.
#include <gyre/net/detail/splice_now.hpp>

#include <fcntl.h>
#include <signal.h>

#include <cerrno>
#include <ctime>
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

class without_sigpipe {
 public:
  without_sigpipe() noexcept {
    ::sigemptyset(&sigpipe_);
    ::sigaddset(&sigpipe_, SIGPIPE);
    ::pthread_sigmask(SIG_BLOCK, &sigpipe_, &before_);
    ::sigset_t pending;
    ::sigpending(&pending);
    was_pending_ = ::sigismember(&pending, SIGPIPE) == 1;
  }
  without_sigpipe(const without_sigpipe&) = delete;
  without_sigpipe& operator=(const without_sigpipe&) = delete;
  ~without_sigpipe() { ::pthread_sigmask(SIG_SETMASK, &before_, nullptr); }

  /// After a broken_pipe: takes the signal that came with it, and leaves one that somebody else has waiting.
  void take_it() const noexcept {
    constexpr ::timespec at_once{};
    if (!was_pending_) ::sigtimedwait(&sigpipe_, nullptr, &at_once);
  }

 private:
  ::sigset_t sigpipe_;
  ::sigset_t before_;
  bool was_pending_ = false;
};

}  // namespace

result<std::size_t> splice_now(fd_ref pipe, fd_ref socket, std::size_t count) noexcept {
  const without_waiting now{socket.get()};
  const without_sigpipe quiet;
  for (;;) {
    const auto moved = ::splice(pipe.get(), nullptr, socket.get(), nullptr, count, SPLICE_F_NONBLOCK);
    if (moved >= 0) return static_cast<std::size_t>(moved);
    const int failed = errno;
    if (failed == EPIPE) quiet.take_it();
    if (failed != EINTR) return std::error_code{failed, std::system_category()};
  }
}

}  // namespace gyre::net::detail
