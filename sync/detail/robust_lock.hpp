// SPDX-License-Identifier: MIT
// The lock behind robust_mutex, and the list by which the kernel finds those that a thread held when it ended.
//
// A thread has one list, whose head the kernel knows (set_robust_list(2)). When the thread ends, however it ends, the
// kernel goes through it: each word that says the thread's id as owner gets `died` instead, and one who sleeps on it is
// woken. The C library has such a list for each thread, for its own robust mutexes; there can be only one. So the links
// here are where its mutexes have theirs, in its way, and both sorts stand in one list:
//
//   offset   0   the word, 32 bytes before what the list points to: the head says so, and that is looked at
//           24   previous: points to the `next` that points here
//           32   next: points to the following `next`, or to the head
//
// Which lock is about to enter or leave the list is noted in the head before (`pending`), so that an end in between is
// as if it had been in it. The links are the owner's: addresses of its process, that mean nothing to others.
//
// A lock whose owner died is inconsistent until the next owner says otherwise; when that one unlocks it as it is, it is
// given up on, and nobody holds it again.
#pragma once

#include <gyre/sync/detail/mutex_word.hpp>

#include <cstddef>
#include <cstdint>
#include <type_traits>

namespace gyre::sync::detail {

struct robust_lock {
  enum class condition : std::uint32_t { consistent, inconsistent, given_up_on };

  mutex_word word{.value = 0, .sort = lock_sort::robust};
  condition state = condition::consistent;  // the owner's
  std::uint32_t unused[3] = {};
  void* previous = nullptr;  // the owner's, as its C library has them
  void* next = nullptr;
};
static_assert(std::is_standard_layout_v<robust_lock> && offsetof(robust_lock, word) == 0);

/// Makes sure that this thread has a list that such a lock can stand in. Throws not_supported: another C library's.
void require_robust_list();

/// The thread, as the kernel calls it.
[[nodiscard]] std::uint32_t this_thread_id() noexcept;

// As those of mutex_word.hpp. The lock is a robust_lock's word.
[[nodiscard]] bool try_claim_robust(mutex_word& lock, std::uint32_t& seen, std::uint32_t desired,
                                    claimed& how) noexcept;
void give_up_robust_and_wake(mutex_word& lock) noexcept;

/// Whether it must not be handed on as it is.
[[nodiscard]] bool is_inconsistent(const mutex_word& lock) noexcept;

}  // namespace gyre::sync::detail
