// SPDX-License-Identifier: MIT
// A child process, from a plan to its first instruction: everything between clone(2) and execve(2).
//
// Between the two the child runs in the memory of a program with other threads, which go on: CLONE_VM, so that no page
// table is copied; CLONE_VFORK, so that the thread that made it waits. It may allocate nothing, lock nothing, call
// nothing that does: one of those other threads may hold the lock. So whatever needs memory is in the plan before, and
// the child makes system calls only, with all signals blocked, so that no handler of the program's runs in it.
//
// posix_spawn(3) does the same. It has no limits, no niceness, no mask of modes, and does not say which step failed.
//
//   step         why at this place
//   signals      default actions first: a signal that is let through later finds no handler of the program's
//   session, group
//   umask, niceness, directory
//   descriptors  all but 0, 1, 2 are marked to be closed; then those that are wanted are put in their places, by way of
//                numbers above all places, so that none is overwritten before it was used
//   limits       after that: RLIMIT_NOFILE could keep the way above from being there
//   program      signals are let through; each path is tried in turn. What fails is told through the shared memory
#pragma once

#include <gyre/fs/process.hpp>
#include <gyre/runtime/unique_fd.hpp>

#include <sys/types.h>

#include <string>
#include <vector>

namespace gyre::fs::detail {

/// What is to be done in the child, with all that it needs for that. References descriptors, and owns none.
class child_plan {
 public:
  /// A descriptor of this process, and where the child is to have it. From -1: /dev/null.
  struct placement {
    int from;
    int to;
    bool may_be_closed;  // inherited: then the child has none there, either
  };

  /// @errors  std::system_error: invalid_argument
  child_plan(const process_options& options, std::vector<placement> placements);
  child_plan(const child_plan&) = delete;
  child_plan& operator=(const child_plan&) = delete;

  /// Makes the child, and waits until it runs its program, or could not.
  ///
  /// @param pid     Where its number goes.
  /// @return        Its pidfd.
  /// @errors        spawn_error
  /// @threads       Blocks: for threads of an offload pool.
  [[nodiscard]] unique_fd start(::pid_t& pid);

  [[nodiscard]] const std::string& name() const noexcept { return options_.arguments.front(); }

 private:
  static int run(void* plan) noexcept;
  [[nodiscard]] int exec() noexcept;
  [[nodiscard]] spawn_step prepare() noexcept;
  [[nodiscard]] bool place_descriptors() noexcept;
  [[nodiscard]] bool set_limits() noexcept;
  void reset_signals() noexcept;
  void open_null();

  const process_options options_;
  std::vector<std::string> paths_;
  std::vector<std::string> variables_;
  std::vector<char*> argv_;
  std::vector<char*> envp_;
  std::vector<placement> placements_;
  unique_fd null_;
  int first_above_ = 3;  // above all places

  // Written by the child.
  std::vector<int> on_the_way_;
  spawn_step failed_ = spawn_step::none;
  int error_ = 0;
};

}  // namespace gyre::fs::detail
