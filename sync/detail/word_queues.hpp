// SPDX-License-Identifier: MIT
// What an executor knows of the words that its coroutines wait for: executor::local<word_queues>().
//
// Made by the first coroutine that finds a lock taken or waits for a condition. A queue is found by its word's address,
// and there is one for as long as somebody waits, or the kernel has a wait of it.
#pragma once

#include <gyre/runtime/executor.hpp>
#include <gyre/sync/detail/address_table.hpp>
#include <gyre/sync/detail/condition_queue.hpp>
#include <gyre/sync/detail/lock_queue.hpp>

#include <cstdint>

namespace gyre::sync::detail {

class word_queues {
 public:
  explicit word_queues(executor& its_loop) noexcept : loop{its_loop} {}

  executor& loop;
  address_table<lock_queue, word_queues> locks;
  address_table<condition_queue, word_queues> conditions;

  /// Describes a wait on a word; where the kernel has none, a look at it a little later.
  void describe_wait(io_uring_sqe& sqe, const std::atomic<std::uint32_t>& word, std::uint32_t expected,
                     ops::futex_kind kind) const noexcept;

  /// Describes a look at it a little later in any case.
  void describe_pause(io_uring_sqe& sqe) const noexcept;

  /// What came of either. Returns whether it took a wake.
  [[nodiscard]] bool was_woken(std::int32_t res) noexcept;

 private:
  bool kernel_waits_on_words_ = true;
};

}  // namespace gyre::sync::detail
