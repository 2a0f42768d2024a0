// SPDX-License-Identifier: MIT
// Holds SIGPIPE off a thread for a splice(2) into a socket, which takes no MSG_NOSIGNAL.
#pragma once

#include <signal.h>

#include <ctime>

namespace gyre::net::detail {

/// Whether nobody in this process is told by SIGPIPE anyway.
[[nodiscard]] inline bool sigpipe_is_ignored() noexcept {
  struct ::sigaction now{};
  return ::sigaction(SIGPIPE, nullptr, &now) == 0 && now.sa_handler == SIG_IGN;
}

/// While it lives the thread that made it gets no SIGPIPE.
class without_sigpipe {
 public:
  /// @param is_needed  Not where it is ignored: three system calls less.
  explicit without_sigpipe(bool is_needed = true) noexcept : is_needed_{is_needed} {
    if (!is_needed_) return;
    ::sigemptyset(&only_sigpipe_);
    ::sigaddset(&only_sigpipe_, SIGPIPE);
    ::pthread_sigmask(SIG_BLOCK, &only_sigpipe_, &before_);
    ::sigset_t pending;
    ::sigpending(&pending);
    was_pending_ = ::sigismember(&pending, SIGPIPE) == 1;
  }
  without_sigpipe(const without_sigpipe&) = delete;
  without_sigpipe& operator=(const without_sigpipe&) = delete;
  ~without_sigpipe() {
    if (is_needed_) ::pthread_sigmask(SIG_SETMASK, &before_, nullptr);
  }

  /// After a call that failed with EPIPE: takes the signal that came with it, which is sent to the thread that calls,
  /// and leaves one that somebody else has waiting.
  void take_signal() const noexcept {
    constexpr ::timespec at_once{};
    if (is_needed_ && !was_pending_) ::sigtimedwait(&only_sigpipe_, nullptr, &at_once);
  }

 private:
  const bool is_needed_;
  bool was_pending_ = false;
  ::sigset_t only_sigpipe_{};
  ::sigset_t before_{};
};

}  // namespace gyre::net::detail
