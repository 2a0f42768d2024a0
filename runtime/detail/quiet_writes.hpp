// SPDX-License-Identifier: MIT
// How a write raises no SIGPIPE where nobody reads any more: it is broken_pipe, and that is all.
//
//   by_flag     Linux 6.18 on: RWF_NOSIGNAL, for this write alone
//   by_thread   before: the thread that writes has SIGPIPE blocked from its first write on, unless the process ignores
//               it, as gyre::run() does. The signal of a write that failed is taken off the thread again
//
// A worker thread of the kernel would do, as it takes no signals; but before Linux 6.3 a write that had to wait for
// room is tried again on the thread that asked for it.
#pragma once

#include <atomic>
#include <cerrno>
#include <cstdint>

namespace gyre::detail {

enum class quiet : std::uint8_t { by_flag, by_thread };

/// What this kernel has: asked once.
[[nodiscard]] quiet quietest() noexcept;

/// For tests: as on a kernel that has no flag.
inline constinit std::atomic<bool> is_without_quiet_flag = false;

/// In the prepare() of each write: RWF_* for it. Where there is none, has the thread hold off the signal.
[[nodiscard]] int quiet_flags() noexcept;

/// Takes the signal off the thread, where it is held off there.
void take_sigpipe() noexcept;

/// In the failure() of each write, with its answer.
inline void write_has_failed(std::int32_t res) noexcept {
  if (res == -EPIPE) take_sigpipe();
}

}  // namespace gyre::detail
