// SPDX-License-Identifier: MIT
// Waiting on a word and waking, for who builds a lock of their own: the same from coroutines, plain threads and other
// processes.
//
//                       waits                                   wakes
//   a coroutine         co_await futex_wait(word, expected)     futex_wake(word, count)
//   a thread            futex_wait_blocking(word, expected)     futex_wake(word, count)
//
// All of them meet on one word, if they say the same futex_kind. The rule of all such locks: who goes to wait says what
// it has read in the word, and does not sleep where the word is another by then; who wakes changes the word before. Who
// was woken looks again, as a wake can be spurious.
//
// sync/mutex.hpp and sync/condition_variable.hpp are such locks; look there first.
#pragma once

#include <gyre/runtime/ops/futex.hpp>

#include <atomic>
#include <cstddef>
#include <cstdint>

namespace gyre::sync {

using ops::futex_expectation;
using ops::futex_kind;
using ops::futex_wait;
using ops::futex_wait_any;

/// All that wait.
inline constexpr std::uint32_t every_waiter = INT32_MAX;

/// Wakes those who wait on a word, who came first to wait first. At once: it is no operation, and does not block.
///
/// @param count   How many at most.
/// @return        How many were woken; 0 where the memory is gone.
/// @threads       Any thread, in a turn of an executor and outside.
/// @source        futex(2), FUTEX_WAKE.
std::size_t futex_wake(const std::atomic<std::uint32_t>& word, std::uint32_t count,
                       futex_kind kind = futex_kind::process_private) noexcept;

/// Blocks the thread until somebody wakes it, provided that the word holds `expected` when the kernel begins to wait.
///
/// @return   true: it was woken, perhaps spuriously. false: the word held something else.
/// @threads  Any thread, outside the turns of executors: a coroutine awaits futex_wait.
/// @source   futex(2), FUTEX_WAIT.
bool futex_wait_blocking(const std::atomic<std::uint32_t>& word, std::uint32_t expected,
                         futex_kind kind = futex_kind::process_private) noexcept;

}  // namespace gyre::sync
