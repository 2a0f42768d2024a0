// SPDX-License-Identifier: MIT
// A lock for a few instructions that costs its one thread nothing: what one thread alone uses, it enters with plain
// stores, until a second thread comes.
//
// Nearly every channel lives on one executor, where an atomic read-modify-write (10 ns, twice for each item) would be
// most of what it costs. So the lock has two ways in:
//
//   shared   everybody: takes `locked_`, by an exchange
//   biased   the thread in `owner_`, and no other: stores `inside_`, and then looks whether it still is the owner
//
//   shared -> biased   in the shared section: one thread has come `uses_before_bias` times in a row
//   biased -> shared   another thread, in the shared section: owner_ = nobody; a full fence on every thread of the
//                      process (membarrier(2)); wait until `inside_` is false. For good: it happens once in a lock.
//
// The owner's store and look must not change places, and need no fence for it: the other thread's membarrier() comes
// between its own store and look, and is a full fence wherever the owner is then. So either the owner's look sees that
// it is no longer the owner, and it takes the other way; or the other thread's look sees `inside_`, and waits.
//
//   owner                              the other thread, which holds locked_
//     inside_ = true                     owner_ = nobody
//     (compiler only)                    membarrier()
//     owner_ == me? else step back       inside_? wait
//
// Where the kernel has no membarrier() the lock stays shared. Threads are told apart by the address of a thread-local,
// which a later thread may have in its turn: it is then the owner, and the one before cannot be inside.
//
// No user code runs inside but the moves and copies of what is handed over. Whoever finds it taken spins, gives way to
// other threads, and at last sleeps for moments: it never waits for more than what runs inside.
#pragma once

#include <atomic>
#include <cstdint>

namespace gyre::sync::detail {

class biased_lock {
 public:
  biased_lock() noexcept = default;
  biased_lock(const biased_lock&) = delete;
  biased_lock& operator=(const biased_lock&) = delete;

  /// Which way it was entered; leave() has to know.
  enum class way : std::uint8_t { biased, shared };

  [[nodiscard]] way enter() noexcept {
    const void* const me = this_thread();
    if (owner_.load(std::memory_order_relaxed) == me) [[likely]] {
      inside_.store(true, std::memory_order_relaxed);
      std::atomic_signal_fence(std::memory_order_seq_cst);
      if (owner_.load(std::memory_order_relaxed) == me) [[likely]]
        return way::biased;
      inside_.store(false, std::memory_order_release);
    }
    enter_shared(me);
    return way::shared;
  }

  void leave(way entered) noexcept {
    if (entered == way::biased) [[likely]]
      inside_.store(false, std::memory_order_release);
    else locked_.store(false, std::memory_order_release);
  }

  /// Whether one thread enters by plain stores now: for tests, on a thread that nobody races with.
  [[nodiscard]] bool is_biased() const noexcept { return owner_.load(std::memory_order_relaxed) != nullptr; }

  /// After how many uses by one thread in a row the lock is biased to it.
  static constexpr std::uint32_t uses_before_bias = 64;

 private:
  static const void* this_thread() noexcept { return &mark_; }
  void enter_shared(const void* me) noexcept;
  void lock() noexcept;
  void end_bias() noexcept;

  static constexpr std::uint32_t never = UINT32_MAX;
  [[gnu::tls_model("initial-exec")]] static thread_local constinit char mark_;

  std::atomic<const void*> owner_ = nullptr;
  std::atomic<bool> inside_ = false;  // the owner is in, by its way
  std::atomic<bool> locked_ = false;  // somebody is in, by the other way

  // Touched in the shared section only.
  std::uint32_t uses_count_ = 0;  // by `latest_` in a row; `never` once the bias was taken away
  const void* latest_ = nullptr;
};

/// Holds a lock to the end of a block.
class [[nodiscard]] holding {
 public:
  explicit holding(biased_lock& held) noexcept : held_{held}, entered_{held.enter()} {}
  holding(const holding&) = delete;
  holding& operator=(const holding&) = delete;
  ~holding() { held_.leave(entered_); }

 private:
  biased_lock& held_;
  const biased_lock::way entered_;
};

}  // namespace gyre::sync::detail
