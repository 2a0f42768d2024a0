// SPDX-License-Identifier: MIT
// futex(2), for threads; an executor has a door of its own to it.
#include <gyre/runtime/assert.hpp>
#include <gyre/runtime/executor.hpp>
#include <gyre/sync/futex.hpp>

#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

namespace gyre::sync {
namespace {

int op_for(int operation, futex_kind kind) noexcept {
  return kind == futex_kind::process_private ? operation | FUTEX_PRIVATE_FLAG : operation;
}

long futex(const std::atomic<std::uint32_t>& word, int operation, std::uint32_t value) noexcept {
  return ::syscall(SYS_futex, &word, operation, value, nullptr, nullptr, 0);
}

}  // namespace

std::size_t futex_wake(const std::atomic<std::uint32_t>& word, std::uint32_t count, futex_kind kind) noexcept {
  if (executor::has_current())
    return executor::current().ring().futex_wake(word, count, kind == futex_kind::process_private);
  if (count == 0) return 0;  // futex(2) wakes one
  const long woken_count = futex(word, op_for(FUTEX_WAKE, kind), std::min(count, every_waiter));
  return woken_count < 0 ? 0 : static_cast<std::size_t>(woken_count);
}

bool futex_wait_blocking(const std::atomic<std::uint32_t>& word, std::uint32_t expected, futex_kind kind) noexcept {
  GYRE_ASSERT(!executor::has_current(), "a turn of an executor never blocks: co_await it instead");
  return futex(word, op_for(FUTEX_WAIT, kind), expected) == 0 || errno != EAGAIN;
}

}  // namespace gyre::sync
