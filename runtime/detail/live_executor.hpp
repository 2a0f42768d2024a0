// SPDX-License-Identifier: MIT
// The list of the executors of a process: what a debugger begins with, in a core file or between two turns.
#pragma once

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
  static live_executor* newest;  // read by gyre-gdb.py, as all of it

  executor* executor_;
  live_executor* older_;
  live_executor* newer_ = nullptr;
};

}  // namespace gyre::detail
