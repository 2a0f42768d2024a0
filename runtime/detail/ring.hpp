// SPDX-License-Identifier: MIT
// The only door to the kernel: submission entries go in, completions come out.
//
// An executor knows this class and nothing of io_uring beyond it. Behind it stands the kernel (kernel_ring) or a
// test's script (scripted_ring), chosen at run time. What happens for each operation is inline here (a free entry,
// is there work); what happens once a turn is virtual.
//
// Order of a submission: try_sqe() hands out an entry, which the caller describes before anything else is called; the
// next enter() gives all of them to the kernel, in that order.
#pragma once

#include <gyre/runtime/detail/timer_heap.hpp>

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <utility>

struct io_uring_sqe;

namespace gyre::detail {

/// One CQE, copied out of the ring.
struct completion {
  std::uint64_t user_data;
  std::int32_t res;
  std::uint32_t flags;
};

class ring {
 public:
  ring(const ring&) = delete;
  ring& operator=(const ring&) = delete;
  virtual ~ring() = default;

  /// A free submission entry, its contents unspecified; null when all are taken until the next enter().
  [[nodiscard]] io_uring_sqe* try_sqe() noexcept { return has_sqe_at_hand() || begin_run() ? &sqe_at_hand() : nullptr; }

  /// The same in two steps, for those in a hurry: may say no although entries are free. Then try_sqe() knows.
  [[nodiscard]] bool has_sqe_at_hand() const noexcept { return next_sqe_ != run_end_; }
  [[nodiscard]] io_uring_sqe& sqe_at_hand() noexcept {
    return *reinterpret_cast<io_uring_sqe*>(std::exchange(next_sqe_, next_sqe_ + sqe_bytes));
  }

  /// The place of the entry that try_sqe() gave last, below sq_entries().
  [[nodiscard]] unsigned last_sqe_index() const noexcept { return (sq_tail() - 1) & sq_mask_; }

  /// The entry that try_sqe() gave last.
  [[nodiscard]] io_uring_sqe& last_sqe() const noexcept {
    return *reinterpret_cast<io_uring_sqe*>(sqes_ + last_sqe_index() * sqe_bytes);
  }

  /// Entries that try_sqe() will give before it says no.
  [[nodiscard]] unsigned free_sqes() const noexcept { return sq_limit_ - sq_tail(); }

  /// How many entries were ever given.
  [[nodiscard]] unsigned sq_tail() const noexcept {
    return run_tail_ + static_cast<unsigned>(static_cast<std::size_t>(next_sqe_ - run_begin_) / sqe_bytes);
  }

  /// Entries that the next enter() has to submit.
  [[nodiscard]] unsigned unsubmitted() const noexcept { return sq_entries_ - free_sqes(); }

  /// Whether an enter() would bring completions that completions() does not show yet.
  [[nodiscard]] bool wants_enter() const noexcept {
    return (std::atomic_ref{*sq_flags_}.load(std::memory_order_relaxed) & (sq_task_work | sq_cq_overflow)) != 0;
  }

  /// Whether completions are lost to the eye: they wait in the kernel because the completion queue was full.
  [[nodiscard]] bool overflowed() const noexcept {
    return (std::atomic_ref{*sq_flags_}.load(std::memory_order_relaxed) & sq_cq_overflow) != 0;
  }

  /// Whether completions() would show something.
  [[nodiscard]] bool has_completions() const noexcept {
    return std::atomic_ref{*cq_tail_}.load(std::memory_order_acquire) != cq_head_;
  }

  /// Submits every entry, runs the kernel's task work, and waits for `wait_count` completions.
  ///
  /// @return   0, or a positive errno: EBUSY and EAGAIN mean reap and try again, EINTR that a signal cut the wait
  ///           short. What was not taken stays queued; see unsubmitted().
  [[nodiscard]] virtual int enter(unsigned wait_count) noexcept = 0;

  /// The oldest completions, as many as lie side by side in memory; empty when there are none. Valid until consume().
  [[nodiscard]] virtual std::span<const completion> completions() noexcept = 0;

  /// Frees the places of the `count` oldest.
  virtual void consume(std::size_t count) noexcept = 0;

  /// Whether completions signal the event descriptor.
  virtual void notify_completions(bool on) noexcept = 0;

  /// The descriptor that is readable when there is something to do: a completion while notify_completions(true), or
  /// wake().
  [[nodiscard]] virtual int event_fd() const noexcept = 0;

  /// Sleeps until the event descriptor is signalled, and takes the signal. May return without one.
  virtual void sleep() noexcept = 0;

  /// Signals the event descriptor. From any thread, and from a signal handler.
  virtual void wake() noexcept = 0;

  /// The clock that timers and deadlines go by: CLOCK_MONOTONIC for the kernel.
  [[nodiscard]] virtual clock_ns now() const noexcept = 0;

  /// What was not granted at set-up, in sentences; empty when all was.
  [[nodiscard]] virtual std::string notes() const { return {}; }

  [[nodiscard]] unsigned sq_entries() const noexcept { return sq_entries_; }
  [[nodiscard]] unsigned cq_entries() const noexcept { return cq_entries_; }

 protected:
  ring() noexcept = default;

  // io_uring.h, IORING_SQ_TASKRUN and IORING_SQ_CQ_OVERFLOW; kernel_ring asserts that they agree.
  static constexpr unsigned sq_cq_overflow = 1u << 1;
  static constexpr unsigned sq_task_work = 1u << 2;
  static constexpr std::size_t sqe_bytes = 64;

  /// All entries below `limit`, the kernel's head plus the number of entries, are free to be taken. After each enter().
  void set_sq_limit(unsigned limit) noexcept {
    sq_limit_ = limit;
    begin_run();
  }
  // Set by the derived class, before set_sq_limit().
  std::byte* sqes_ = nullptr;
  unsigned sq_mask_ = 0;
  unsigned sq_entries_ = 0;
  unsigned cq_entries_ = 0;
  unsigned cq_head_ = 0;
  unsigned* sq_flags_ = nullptr;
  unsigned* cq_tail_ = nullptr;

 private:
  // Entries are given from runs that lie side by side, so that taking one is a comparison and an addition. Returns
  // whether there are any.
  bool begin_run() noexcept {
    run_tail_ = next_sqe_ == nullptr ? 0 : sq_tail();
    const unsigned index = run_tail_ & sq_mask_;
    const unsigned count = std::min(sq_limit_ - run_tail_, sq_entries_ - index);
    run_begin_ = next_sqe_ = sqes_ + index * sqe_bytes;
    run_end_ = run_begin_ + count * sqe_bytes;
    return count > 0;
  }

  std::byte* next_sqe_ = nullptr;
  std::byte* run_end_ = nullptr;
  std::byte* run_begin_ = nullptr;
  unsigned run_tail_ = 0;
  unsigned sq_limit_ = 0;
};

}  // namespace gyre::detail
