// SPDX-License-Identifier: MIT
// membarrier(2), and how one waits for a few instructions of another thread's.
#include <gyre/sync/detail/fence_everywhere.hpp>

#include <linux/membarrier.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <chrono>
#include <thread>

namespace gyre::sync::detail {
namespace {

bool membarrier(int command) noexcept { return ::syscall(SYS_membarrier, command, 0, 0) == 0; }

void pause() noexcept {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

}  // namespace

bool can_fence_everywhere() noexcept {
  static const bool is_registered = membarrier(MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED);  // a fork(2) inherits it
  return is_registered;
}

namespace {

// Before main(), when there is one thread as a rule: later the kernel would wait for every processor.
[[maybe_unused]] const bool asked_early = can_fence_everywhere();

}  // namespace

void fence_everywhere() noexcept {
  if (membarrier(MEMBARRIER_CMD_PRIVATE_EXPEDITED)) return;
  // Refused now, by a sandbox that came after main() began: no store stays on its way to memory for so long.
  std::this_thread::sleep_for(std::chrono::milliseconds{10});
}

void patience::wait() noexcept {
  constexpr unsigned spins_max = 100;
  constexpr unsigned yields_max = 1000;
  ++rounds_count_;
  if (rounds_count_ <= spins_max) pause();
  else if (rounds_count_ <= yields_max) std::this_thread::yield();
  else std::this_thread::sleep_for(std::chrono::microseconds{50});
}

}  // namespace gyre::sync::detail
