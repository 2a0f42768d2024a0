// SPDX-License-Identifier: MIT
// Machines that forbid: code under test runs on a thread whose io_uring calls a seccomp filter answers, or in a child
// process that has no privileges.
//
// A filter is a property of a thread and ends with it, so the rest of the test program goes on unhindered. A program
// started from such a thread inherits it.
#pragma once

#include <liburing.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdio>
#include <functional>
#include <future>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

namespace gyre::test {

// Linux 5.1, the same number on every architecture that is as young as this.
inline constexpr unsigned io_uring_setup_call = 425;
inline constexpr unsigned io_uring_enter_call = 426;
inline constexpr unsigned io_uring_register_call = 427;

/// Installs a filter on the calling thread that answers `calls` with `verdict`, and lets all else through.
/// Returns what seccomp(2) returned.
inline long install_filter(const std::vector<unsigned>& calls, unsigned verdict, unsigned flags = 0) {
  constexpr auto number = offsetof(seccomp_data, nr);
  std::vector<sock_filter> program{BPF_STMT(BPF_LD | BPF_W | BPF_ABS, number)};
  for (const unsigned call : calls) {
    program.push_back(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, call, 0, 1));
    program.push_back(BPF_STMT(BPF_RET | BPF_K, verdict));
  }
  program.push_back(BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW));

  const sock_fprog filter{static_cast<unsigned short>(program.size()), program.data()};
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return -1;
  return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &filter);
}

/// Calls `fn()` on a thread where `calls` fail with `error`, and returns its result.
template <typename Fn>
auto where_calls_fail(int error, const std::vector<unsigned>& calls, Fn fn) {
  return std::async(std::launch::async,
                    [&] {
                      if (install_filter(calls, SECCOMP_RET_ERRNO | static_cast<unsigned>(error)) != 0) {
                        throw std::runtime_error{"seccomp filters are not to be had here"};
                      }
                      return fn();
                    })
      .get();
}

/// Looks at what an io_uring_setup() asks for and names the errno to answer it with, or 0 for the kernel's own answer.
using setup_judge = std::function<int(const io_uring_params&)>;

/// Answers the set-up calls of the thread behind `listener` as `judge` says, until that thread has ended.
inline void supervise(int listener, const setup_judge& judge) {
  for (;;) {
    pollfd waiting{.fd = listener, .events = POLLIN, .revents = 0};
    if (poll(&waiting, 1, -1) < 0 && errno == EINTR) continue;
    if ((waiting.revents & POLLIN) == 0) return;

    seccomp_notif call{};
    if (ioctl(listener, SECCOMP_IOCTL_NOTIF_RECV, &call) != 0) continue;
    io_uring_params params{};
    iovec here{&params, sizeof params};
    void* const address = reinterpret_cast<void*>(call.data.args[1]);  // NOLINT(performance-no-int-to-ptr)
    iovec there{address, sizeof params};
    process_vm_readv(getpid(), &here, 1, &there, 1, 0);

    seccomp_notif_resp answer{};
    answer.id = call.id;
    answer.error = -judge(params);
    if (answer.error == 0) answer.flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE;
    ioctl(listener, SECCOMP_IOCTL_NOTIF_SEND, &answer);
  }
}

/// Calls `fn()` on a thread whose set-up calls `judge` answers, and returns its result. Not for machines where seccomp
/// has no listeners (before Linux 5.8, or in a sandbox that takes them for itself): throws there.
template <typename Fn>
auto on_a_kernel_that(const setup_judge& judge, Fn fn) {
  std::promise<long> listener;
  auto listening = listener.get_future();
  std::packaged_task<decltype(fn())()> work{[&] {
    const long fd = install_filter({io_uring_setup_call}, SECCOMP_RET_USER_NOTIF, SECCOMP_FILTER_FLAG_NEW_LISTENER);
    listener.set_value(fd);
    if (fd < 0) throw std::runtime_error{"seccomp listeners are not to be had here"};
    return fn();
  }};
  auto result = work.get_future();
  std::thread thread{std::ref(work)};
  if (const long fd = listening.get(); fd >= 0) {
    supervise(static_cast<int>(fd), judge);
    close(static_cast<int>(fd));
  }
  thread.join();
  return result.get();
}

/// A judge that knows the set-up flags in `known`, as an older kernel does.
inline setup_judge knows_only(unsigned known) {
  return [known](const io_uring_params& params) { return (params.flags & ~known) != 0 ? EINVAL : 0; };
}

/// Calls `fn()` in a child process and returns the string that it returned; "died" if the child did not end well.
template <typename Fn>
std::string in_a_child(Fn fn) {
  std::array<int, 2> ends{};
  if (pipe(ends.data()) != 0) throw std::runtime_error{"pipe"};
  std::fflush(nullptr);  // else the child may print the same once more
  const pid_t child = fork();
  if (child == 0) {
    const std::string told = fn();
    const bool written = write(ends[1], told.data(), told.size()) == static_cast<ssize_t>(told.size());
    _exit(written ? 0 : 1);
  }

  close(ends[1]);
  std::string told;
  std::array<char, 512> piece{};
  for (ssize_t count = 0; (count = read(ends[0], piece.data(), piece.size())) > 0;) {
    told.append(piece.data(), static_cast<std::size_t>(count));
  }
  close(ends[0]);
  int status = 0;
  waitpid(child, &status, 0);
  return status == 0 ? told : "died";
}

}  // namespace gyre::test
