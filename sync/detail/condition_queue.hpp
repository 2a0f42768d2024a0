// SPDX-License-Identifier: MIT
// Those of one executor who wait for one condition variable: a queue in user space, behind one wait in the kernel.
//
// The condition's word counts notifies: its low half each notify_one() and notify_all(), its high half each
// notify_all(). Both are one word, so that who reads it sees both as they were at one time. The kernel waits on the low
// half.
//
//   phase     in the kernel
//   idle      nothing; nobody waits here
//   asleep    a wait on the word as it was when all notifies up to there had been dealt with (`seen_`)
//   leaving   the same, and it is asked to end, as nobody waits here any more
//
// Who comes notes the word (`since`). When the wait ends, for whatever reason, the word tells what happened since the
// last look: was there a notify_all(), everybody goes whose `since` is not the word as it is; else as many as there
// were notifies. Some of these will have woken others, elsewhere: so one too many may go, who looks at the predicate
// again. Too few never go: a notify that came while no wait was in the kernel is counted all the same.
//
// A wake that finds nobody to whom it can belong, because he was cancelled or notified here when it was under way, is
// passed on: to all who sleep in the kernel, since which of them it belongs to is known to them alone.
//
// Another condition variable may be made where one was whose queue is still leaving. It counts from the word as its own
// first waiter finds it.
#pragma once

#include <gyre/runtime/ops/futex.hpp>
#include <gyre/runtime/suspension.hpp>
#include <gyre/sync/detail/word_wait.hpp>

#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>

struct io_uring_sqe;

namespace gyre::sync::detail {

class condition_wait_base;

struct condition_words {
  static constexpr std::uint64_t one_notify = 1;
  static constexpr std::uint64_t one_notify_of_all = 0x1'0000'0001;

  std::atomic<std::uint64_t> notifies = 0;
  std::atomic<std::uint32_t> waiters_count = 0;  // coroutines, threads, processes: a notify without any costs a load
  ops::futex_kind kind = ops::futex_kind::process_private;

  [[nodiscard]] static std::uint32_t count(std::uint64_t notifies) noexcept {
    return static_cast<std::uint32_t>(notifies);
  }
  [[nodiscard]] static std::uint32_t count_of_all(std::uint64_t notifies) noexcept {
    return static_cast<std::uint32_t>(notifies >> 32);
  }

  /// The low half, as the kernel sees it.
  [[nodiscard]] const std::atomic<std::uint32_t>& word() const noexcept {
    const auto* const halves = reinterpret_cast<const std::atomic<std::uint32_t>*>(&notifies);
    return halves[std::endian::native == std::endian::little ? 0 : 1];
  }
};

/// How often in a row notify_one() prefers a coroutine of its own executor while others wait, too.
inline constexpr std::uint32_t own_notifies_max = 64;

class condition_queue final : public word_wait {
 public:
  explicit condition_queue(word_queues& home) noexcept;
  condition_queue(const condition_queue&) = delete;
  condition_queue& operator=(const condition_queue&) = delete;
  ~condition_queue();

  /// Finds no use after all.
  void rest() noexcept;

  void enter(condition_wait_base& entering, condition_words& words) noexcept;
  [[nodiscard]] bool leave(condition_wait_base& leaving, condition_words& words) noexcept;
  [[nodiscard]] bool has_waiters() const noexcept { return waiters_count_ > 0; }

  /// After the word was counted up: has one go, or wakes one elsewhere; has all go.
  void notify_one(condition_words& words) noexcept;
  void notify_all(condition_words& words) noexcept;

  const void* address = nullptr;
  condition_queue* next_in_bucket = nullptr;

 private:
  enum class phase : std::uint8_t { idle, asleep, leaving };

  void look(condition_words& words, bool woken) noexcept;
  [[nodiscard]] bool let_first_go(condition_words& words, std::uint64_t now) noexcept;
  void sleep(condition_words& words) noexcept;
  static void describe(kernel_request& self, io_uring_sqe& sqe) noexcept;
  static void ended(kernel_request& self, std::int32_t res, std::uint32_t flags) noexcept;

  suspension_list waiting_;
  std::size_t waiters_count_ = 0;
  std::uint64_t seen_ = 0;
  std::uint32_t own_notifies_count_ = 0;
  bool somebody_went_ = false;  // cancelled, or notified here, since the wait in the kernel began
  ops::futex_kind kind_ = ops::futex_kind::process_private;
  phase phase_ = phase::idle;
};

}  // namespace gyre::sync::detail
