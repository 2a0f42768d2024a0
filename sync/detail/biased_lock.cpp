// SPDX-License-Identifier: MIT
// The slow way into a biased lock: for everybody but its owner.
#include <gyre/sync/detail/biased_lock.hpp>

#include <linux/membarrier.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <chrono>
#include <thread>

namespace gyre::sync::detail {

thread_local constinit char biased_lock::mark_ = 0;

namespace {

bool membarrier(int command) noexcept { return ::syscall(SYS_membarrier, command, 0, 0) == 0; }

// Before main(), when there is one thread as a rule: later the kernel would wait for every processor.
const bool has_membarrier = membarrier(MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED);

// What runs inside takes some 10 ns; who waits longer waits for a thread that lost its processor.
class patience {
 public:
  void wait() noexcept {
    ++rounds_count_;
    if (rounds_count_ <= spins_max) pause();
    else if (rounds_count_ <= yields_max) std::this_thread::yield();
    else std::this_thread::sleep_for(std::chrono::microseconds{50});
  }

 private:
  static constexpr unsigned spins_max = 100;
  static constexpr unsigned yields_max = 1000;

  static void pause() noexcept {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    asm volatile("yield");
#endif
  }

  unsigned rounds_count_ = 0;
};

}  // namespace

void biased_lock::enter_shared(const void* me) noexcept {
  lock();
  if (owner_.load(std::memory_order_relaxed) != nullptr) return end_bias();
  if (uses_count_ == never) [[likely]]
    return;
  if (latest_ != me) {
    latest_ = me;
    uses_count_ = 0;
  } else if (++uses_count_ == uses_before_bias) {
    if (has_membarrier) owner_.store(me, std::memory_order_relaxed);
    else uses_count_ = never;
  }
}

void biased_lock::lock() noexcept {
  patience waiting;
  while (locked_.exchange(true, std::memory_order_acquire)) {
    do waiting.wait();
    while (locked_.load(std::memory_order_relaxed));
  }
}

void biased_lock::end_bias() noexcept {
  owner_.store(nullptr, std::memory_order_relaxed);
  const bool is_fenced = membarrier(MEMBARRIER_CMD_PRIVATE_EXPEDITED);
  // Refused now, by a sandbox that came after main() began: no store stays on its way to memory for so long.
  if (!is_fenced) std::this_thread::sleep_for(std::chrono::milliseconds{10});
  patience waiting;
  while (inside_.load(std::memory_order_acquire)) waiting.wait();
  uses_count_ = never;
}

}  // namespace gyre::sync::detail
