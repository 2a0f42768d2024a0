// SPDX-License-Identifier: MIT
// How often a thread makes some system calls: a seccomp listener is told of each, and lets it go on.
#pragma once

#include <linux/seccomp.h>
#include <poll.h>
#include <sys/ioctl.h>

#include <cerrno>
#include <future>
#include <map>
#include <thread>
#include <utility>
#include <vector>

#include "forbidden.hpp"

namespace gyre::test {

/// Calls by their number; and whether this machine lets them be counted.
struct counted_calls {
  bool were_counted = false;
  std::map<int, std::size_t> by_number;

  [[nodiscard]] std::size_t of(int number) const {
    const auto found = by_number.find(number);
    return found != by_number.end() ? found->second : 0;
  }
};

/// Lets calls go on as they come, until the thread behind `listener` has ended.
inline std::map<int, std::size_t> count_until_it_ends(int listener) {
  std::map<int, std::size_t> counts;
  for (;;) {
    ::pollfd waiting{.fd = listener, .events = POLLIN, .revents = 0};
    if (::poll(&waiting, 1, -1) < 0 && errno == EINTR) continue;
    if ((waiting.revents & POLLIN) == 0) return counts;
    ::seccomp_notif call{};
    if (::ioctl(listener, SECCOMP_IOCTL_NOTIF_RECV, &call) != 0) continue;
    ++counts[call.data.nr];
    ::seccomp_notif_resp answer{};
    answer.id = call.id;
    answer.flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE;
    ::ioctl(listener, SECCOMP_IOCTL_NOTIF_SEND, &answer);
  }
}

/// Calls `fn()` on a thread of its own and counts its `calls`. Where they cannot be counted, `fn` is not called.
template <class Fn>
counted_calls count_calls(const std::vector<unsigned>& calls, Fn fn) {
  std::promise<long> listener;
  auto listening = listener.get_future();
  std::thread thread{[&] {
    const long fd = install_filter(calls, SECCOMP_RET_USER_NOTIF, SECCOMP_FILTER_FLAG_NEW_LISTENER);
    listener.set_value(fd);
    if (fd >= 0) fn();
  }};
  counted_calls counted;
  if (const auto fd = static_cast<int>(listening.get()); fd >= 0) {
    counted = {true, count_until_it_ends(fd)};
    ::close(fd);
  }
  thread.join();
  return counted;
}

}  // namespace gyre::test
