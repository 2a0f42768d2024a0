// SPDX-License-Identifier: MIT
// A thread that closes one descriptor.
#include <gyre/fs/detail/slow_close.hpp>
#include <gyre/runtime/pinning.hpp>

#include <pthread.h>
#include <signal.h>

#include <algorithm>
#include <climits>
#include <cstddef>
#include <memory>
#include <new>
#include <utility>

namespace gyre::fs::detail {
namespace {

constexpr std::size_t stack_bytes = std::size_t{64} << 10U;

// What its thread owns.
struct closing {
  explicit closing(unique_fd&& slow) noexcept : descriptor{std::move(slow)} {}
  unique_fd descriptor;
  cpus_before_pinning cpus;
};

void* close_it(void* argument) {
  const std::unique_ptr<closing> mine{static_cast<closing*>(argument)};
  mine->cpus.restore();
  return nullptr;
}

// Handlers of the program's do not run on it: it inherits what the thread that makes it blocks.
bool start_closing(closing& slow) noexcept {
  ::pthread_attr_t attributes;
  if (::pthread_attr_init(&attributes) != 0) return false;
  ::pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
  ::pthread_attr_setstacksize(&attributes, std::max<std::size_t>(stack_bytes, PTHREAD_STACK_MIN));
  ::sigset_t all;
  ::sigset_t before;
  ::sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, &before);
  ::pthread_t started{};
  const bool has_started = ::pthread_create(&started, &attributes, &close_it, &slow) == 0;
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  ::pthread_attr_destroy(&attributes);
  return has_started;
}

}  // namespace

void close_elsewhere(unique_fd slow) noexcept {
  if (!slow) return;
  std::unique_ptr<closing> owned{new (std::nothrow) closing{std::move(slow)}};
  if (owned != nullptr && start_closing(*owned)) static_cast<void>(owned.release());
}

}  // namespace gyre::fs::detail
