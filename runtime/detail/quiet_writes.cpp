// SPDX-License-Identifier: MIT
// Writes without SIGPIPE, by a flag or with the signal blocked.
#include <gyre/runtime/detail/quiet_writes.hpp>
#include <gyre/runtime/unique_fd.hpp>

#include <fcntl.h>
#include <signal.h>
#include <sys/uio.h>
#include <unistd.h>

#include <array>
#include <ctime>

namespace gyre::detail {
namespace {

// RWF_NOSIGNAL of linux/fs.h. Linux 6.18.
constexpr int rwf_nosignal = 0x100;

// On a pipe of its own, which has room for the byte: no waiting.
quiet asked_of_kernel() noexcept {
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC | O_NONBLOCK) != 0) return quiet::by_thread;
  const unique_fd reading{ends[0]};
  const unique_fd writing{ends[1]};
  char byte = 0;
  const ::iovec one{&byte, 1};
  return ::pwritev2(writing.get(), &one, 1, -1, rwf_nosignal) == 1 ? quiet::by_flag : quiet::by_thread;
}

::sigset_t only_sigpipe() noexcept {
  ::sigset_t only;
  ::sigemptyset(&only);
  ::sigaddset(&only, SIGPIPE);
  return only;
}

// A handler, or the default, that is set later finds the signal blocked only if this was called again: so it is called
// for each write, until it has blocked it.
thread_local constinit bool is_blocked = false;
void hold_off_sigpipe() noexcept {
  if (is_blocked) return;
  struct ::sigaction now{};
  if (::sigaction(SIGPIPE, nullptr, &now) == 0 && now.sa_handler == SIG_IGN) return;
  const ::sigset_t only = only_sigpipe();
  is_blocked = ::pthread_sigmask(SIG_BLOCK, &only, nullptr) == 0;
}

}  // namespace

quiet quietest() noexcept {
  static const quiet found = asked_of_kernel();
  return found;
}

int quiet_flags() noexcept {
  if (quietest() == quiet::by_flag && !is_without_quiet_flag.load(std::memory_order_relaxed)) return rwf_nosignal;
  hold_off_sigpipe();
  return 0;
}

// The signal is sent to the thread that wrote. Nothing is pending where it is ignored; and what is pending where others
// have blocked it is theirs.
void take_sigpipe() noexcept {
  if (!is_blocked) return;
  constexpr ::timespec at_once{};
  const ::sigset_t only = only_sigpipe();
  ::sigtimedwait(&only, nullptr, &at_once);
}

}  // namespace gyre::detail
