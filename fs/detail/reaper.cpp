// SPDX-License-Identifier: MIT
// The thread that reaps: pidfds in an epoll set, to which anybody may add while it sleeps in that.
#include <gyre/fs/detail/reaper.hpp>

#include <pthread.h>
#include <sys/epoll.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <csignal>
#include <cstddef>
#include <ctime>
#include <mutex>
#include <utility>

namespace gyre::fs::detail {
namespace {

constexpr std::size_t stack_bytes = std::size_t{64} << 10U;

// The children of the process: how many the thread has to wait for, and the set that it looks at. Static, as the thread
// may run until the process ends.
constinit std::mutex guard;
int children_count = 0;  // guarded by it; the thread is there as long as this is not 0
int set = -1;            // the same; open as long as the thread is there

// A child that a debugger holds has ended, and is not there for its parent yet.
bool has_reaped(int child) noexcept {
  ::siginfo_t about{};
  const int answer = ::waitid(P_PIDFD, static_cast<::id_t>(child), &about, WEXITED | WNOHANG);
  return answer != 0 || about.si_pid != 0;
}

void look_again_at(int child) noexcept {
  constexpr ::timespec a_while{.tv_sec = 0, .tv_nsec = 10'000'000};
  ::nanosleep(&a_while, nullptr);
  ::epoll_event one{.events = EPOLLIN | EPOLLONESHOT, .data = {.fd = child}};
  ::epoll_ctl(set, EPOLL_CTL_MOD, child, &one);
}

// Returns whether it was the last: then whoever comes next starts another thread.
bool was_last() noexcept {
  const std::scoped_lock lock{guard};
  if (--children_count > 0) return false;
  ::close(std::exchange(set, -1));
  return true;
}

void* reap(void* /*unused*/) {
  for (;;) {
    ::epoll_event ended{};
    if (::epoll_wait(set, &ended, 1, -1) != 1) continue;
    if (!has_reaped(ended.data.fd)) {
      look_again_at(ended.data.fd);
      continue;
    }
    ::close(ended.data.fd);
    if (was_last()) return nullptr;
  }
}

// Handlers of the program's do not run on it: it inherits what the thread that makes it blocks.
int start_thread() noexcept {
  ::pthread_attr_t attributes;
  if (const int refusal = ::pthread_attr_init(&attributes); refusal != 0) return refusal;
  ::pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
  ::pthread_attr_setstacksize(&attributes, std::max<std::size_t>(stack_bytes, PTHREAD_STACK_MIN));
  ::sigset_t all;
  ::sigset_t before;
  ::sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, &before);
  ::pthread_t started{};
  const int refusal = ::pthread_create(&started, &attributes, &reap, nullptr);
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  ::pthread_attr_destroy(&attributes);
  return refusal;
}

// The children of a parent are not those of its child, and the thread stays behind.
void watch_forks() noexcept {
  static const int watched = ::pthread_atfork([] { guard.lock(); }, [] { guard.unlock(); },
                                              [] {
                                                if (set >= 0) ::close(std::exchange(set, -1));
                                                children_count = 0;
                                                guard.unlock();
                                              });
  static_cast<void>(watched);
}

int add(int child) noexcept {
  ::epoll_event one{.events = EPOLLIN | EPOLLONESHOT, .data = {.fd = child}};
  return ::epoll_ctl(set, EPOLL_CTL_ADD, child, &one) == 0 ? 0 : errno;
}

}  // namespace

int reap_elsewhere(unique_fd& child) noexcept {
  watch_forks();
  const std::scoped_lock lock{guard};
  const bool is_first = children_count == 0;
  if (is_first) set = ::epoll_create1(EPOLL_CLOEXEC);
  int refusal = set < 0 ? errno : add(child.get());
  if (refusal == 0 && is_first) refusal = start_thread();
  if (refusal == 0) {
    ++children_count;
    (void)child.release();
  } else if (is_first && set >= 0) {
    ::close(std::exchange(set, -1));
  }
  return refusal;
}

}  // namespace gyre::fs::detail
