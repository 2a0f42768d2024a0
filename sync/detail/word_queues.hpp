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

namespace gyre::sync::detail {

class word_queues {
 public:
  explicit word_queues(executor& its_loop) noexcept : loop{its_loop} {}

  executor& loop;
  address_table<lock_queue, word_queues> locks;
  address_table<condition_queue, word_queues> conditions;
  bool kernel_waits_on_words = true;  // until it has said that it does not: see word_wait.hpp
};

}  // namespace gyre::sync::detail
