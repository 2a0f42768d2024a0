// SPDX-License-Identifier: MIT
// The list of the executors of a process: what a debugger begins with, in a core file or between two turns; and what a
// fork(2) goes through.
//
// An executor stays with the process that made it. In the child of a fork the rings of the parent would submit, read
// completions and take wakes in the parent's name; a handler parts all of them from the parent before fork() returns
// there, and refuse_child() stops who uses one. Nobody is stopped who only leaves them behind: to exec, to _exit, to
// make executors of its own, even to destroy these. A child made past pthread_atfork(3), by clone(2), is not seen.
#pragma once

#include <gyre/runtime/assert.hpp>
#include <gyre/runtime/detail/ring.hpp>

namespace gyre {
class executor;
}

namespace gyre::detail {

/// An executor's entry, in the list from its constructor to its destructor. One lock each, and none between.
class live_executor {
 public:
  /// @threads  Any.
  explicit live_executor(executor& listed) noexcept;
  ~live_executor();
  live_executor(const live_executor&) = delete;
  live_executor& operator=(const live_executor&) = delete;

 private:
  static void lock_list() noexcept;
  static void unlock_list() noexcept;
  static void part_from_parent() noexcept;
  static live_executor* newest;  // read by gyre-gdb.py, as all of it

  executor* executor_;
  live_executor* older_;
  live_executor* newer_ = nullptr;
};

/// Stops the child of a fork that uses an executor of its parent's.
inline void refuse_child(const ring& used) noexcept {
  GYRE_ASSERT(
      !used.is_parents(),
      "the child of a fork uses an executor of its parent's: make one in the child, or fork before there is any");
}

}  // namespace gyre::detail
