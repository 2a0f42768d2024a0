// SPDX-License-Identifier: MIT
// Writing into pipes without SIGPIPE, by a flag or with the signal blocked.
#include <gyre/fs/detail/quiet_write.hpp>
#include <gyre/runtime/ops/file.hpp>
#include <gyre/runtime/unique_fd.hpp>

#include <fcntl.h>
#include <liburing.h>
#include <signal.h>
#include <sys/uio.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <ctime>

namespace gyre::fs::detail {
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
void hold_off_sigpipe() noexcept {
  static thread_local bool is_blocked = false;
  if (is_blocked) return;
  struct ::sigaction now{};
  if (::sigaction(SIGPIPE, nullptr, &now) == 0 && now.sa_handler == SIG_IGN) return;
  const ::sigset_t only = only_sigpipe();
  is_blocked = ::pthread_sigmask(SIG_BLOCK, &only, nullptr) == 0;
}

// The signal is sent to the thread that wrote. Nothing is pending where it is ignored.
void take_sigpipe() noexcept {
  constexpr ::timespec at_once{};
  const ::sigset_t only = only_sigpipe();
  ::sigtimedwait(&only, nullptr, &at_once);
}

}  // namespace

quiet quietest() noexcept {
  static const quiet found = asked_of_kernel();
  return found;
}

void quiet_write::prepare(operation& self, io_uring_sqe& sqe) noexcept {  // io_uring_prep_write(3)
  auto& op = static_cast<quiet_write&>(self);
  io_uring_prep_write(&sqe, op.pipe_.in(sqe), op.bytes_.data(), op.bytes_.plain_size(), ops::current_position);
  op.bytes_.mark(sqe, IORING_OP_WRITE_FIXED);
  if (op.how_ == quiet::by_flag) sqe.rw_flags = rwf_nosignal;
  else hold_off_sigpipe();
}
constinit const operation_kind quiet_write::opcode{"write", &quiet_write::prepare, runs_in::worker,
                                                   &describe_fd<&quiet_write::pipe_>};

std::error_code quiet_write::failure() const noexcept {
  if (how_ == quiet::by_thread && res() == -EPIPE) take_sigpipe();
  return error();
}

void quiet_write::fail() const {
  (void)failure();
  throw_error();
}

}  // namespace gyre::fs::detail
