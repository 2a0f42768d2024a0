// SPDX-License-Identifier: MIT
// A thread that closes one descriptor.
#include <gyre/fs/detail/slow_close.hpp>

#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <climits>
#include <cstddef>
#include <cstdint>

namespace gyre::fs::detail {
namespace {

constexpr std::size_t stack_bytes = std::size_t{64} << 10U;

void* close_it(void* descriptor) {
  ::close(static_cast<int>(reinterpret_cast<std::intptr_t>(descriptor)));
  return nullptr;
}

// Handlers of the program's do not run on it: it inherits what the thread that makes it blocks.
bool start_closing(int descriptor) noexcept {
  ::pthread_attr_t attributes;
  if (::pthread_attr_init(&attributes) != 0) return false;
  ::pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
  ::pthread_attr_setstacksize(&attributes, std::max<std::size_t>(stack_bytes, PTHREAD_STACK_MIN));
  ::sigset_t all;
  ::sigset_t before;
  ::sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, &before);
  ::pthread_t started{};
  const auto argument = reinterpret_cast<void*>(static_cast<std::intptr_t>(descriptor));
  const bool has_started = ::pthread_create(&started, &attributes, &close_it, argument) == 0;
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  ::pthread_attr_destroy(&attributes);
  return has_started;
}

}  // namespace

void close_elsewhere(unique_fd slow) noexcept {
  if (slow && start_closing(slow.get())) (void)slow.release();
}

}  // namespace gyre::fs::detail
