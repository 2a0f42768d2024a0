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

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

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
  [[nodiscard]] io_uring_sqe* try_sqe() noexcept {
    if (sq_tail_ == sq_limit_) [[unlikely]] return nullptr;
    return reinterpret_cast<io_uring_sqe*>(sqes_ + (sq_tail_++ & sq_mask_) * sqe_bytes);
  }

  /// The place of the entry that try_sqe() gave last, below sq_entries().
  [[nodiscard]] unsigned last_sqe_index() const noexcept { return (sq_tail_ - 1) & sq_mask_; }

  /// The entry that try_sqe() gave last.
  [[nodiscard]] io_uring_sqe& last_sqe() const noexcept {
    return *reinterpret_cast<io_uring_sqe*>(sqes_ + last_sqe_index() * sqe_bytes);
  }

  /// Entries that try_sqe() will give before it says no.
  [[nodiscard]] unsigned free_sqes() const noexcept { return sq_limit_ - sq_tail_; }

  /// Entries that the next enter() has to submit.
  [[nodiscard]] unsigned unsubmitted() const noexcept { return sq_entries_ - free_sqes(); }

  /// Whether an enter() would bring completions that copy() does not see yet.
  [[nodiscard]] bool wants_enter() const noexcept {
    return (std::atomic_ref{*sq_flags_}.load(std::memory_order_relaxed) & (sq_task_work | sq_cq_overflow)) != 0;
  }

  /// Whether completions are lost to the eye: they wait in the kernel because the completion queue was full.
  [[nodiscard]] bool overflowed() const noexcept {
    return (std::atomic_ref{*sq_flags_}.load(std::memory_order_relaxed) & sq_cq_overflow) != 0;
  }

  /// Whether copy() would find something.
  [[nodiscard]] bool has_completions() const noexcept {
    return std::atomic_ref{*cq_tail_}.load(std::memory_order_acquire) != cq_head_;
  }

  /// Submits every entry, runs the kernel's task work, and waits for `wait_count` completions.
  ///
  /// @return   0, or a positive errno: EBUSY and EAGAIN mean reap and try again, EINTR that a signal cut the wait short.
  ///           What was not taken stays queued; see unsubmitted().
  [[nodiscard]] virtual int enter(unsigned wait_count) noexcept = 0;

  /// Copies completions, oldest first, and frees their places. Returns how many.
  [[nodiscard]] virtual std::size_t copy(std::span<completion> out) noexcept = 0;

  /// Whether completions signal the event descriptor.
  virtual void notify_completions(bool on) noexcept = 0;

  /// The descriptor that is readable when there is something to do: a completion while notify_completions(true), or wake().
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

  // Set by the derived class. sq_limit_ is the tail at which all entries are taken: head plus entries.
  std::byte* sqes_ = nullptr;
  unsigned sq_mask_ = 0;
  unsigned sq_tail_ = 0;
  unsigned sq_limit_ = 0;
  unsigned sq_entries_ = 0;
  unsigned cq_entries_ = 0;
  unsigned cq_head_ = 0;
  unsigned* sq_flags_ = nullptr;
  unsigned* cq_tail_ = nullptr;
};

}  // namespace gyre::detail
