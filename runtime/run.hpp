// SPDX-License-Identifier: MIT
// The door from main(): runs a task, stops it on Ctrl-C, and makes an exit status of how it ended.
#pragma once

#include <gyre/runtime/executor.hpp>
#include <gyre/runtime/task.hpp>

#include <chrono>

namespace gyre {

struct run_options {
  executor_options executor = {};

  /// How long tasks may take to end after SIGINT or SIGTERM. Then those that have not are logged, and the program ends.
  std::chrono::nanoseconds grace_period = std::chrono::seconds{30};
};

namespace detail {

/// A root task that gives EXIT_SUCCESS.
[[nodiscard]] task<int> with_status(task<> root);
[[nodiscard]] inline task<int> with_status(task<int> root) noexcept { return root; }

}  // namespace detail

/// Runs `root` on an executor of its own and returns the exit status for main().
///
/// SIGINT and SIGTERM cancel the root scope: what waits ends stopped, destructors close what is open, and run()
/// returns. A second signal, or the end of the grace period, logs which tasks have not ended and what they wait for,
/// and ends the program at once with EXIT_FAILURE; so does a third, without a word, when the executor is busy and looks
/// at nothing. SIGQUIT has the tree of all tasks logged, dump_tasks(), and the program goes on. SIGPIPE is ignored
/// meanwhile. A signal that a signal_set has is the set's, and not run()'s, for as long as there is one.
///
/// @param root     task<> gives EXIT_SUCCESS; task<int> gives its value.
/// @return         EXIT_SUCCESS also when a signal stopped it; EXIT_FAILURE, and a line in the log, when an exception
///                 left the task or the machine gave no ring.
/// @threads        One run() at a time in a process: signals have one taker. Signal handlers are put back at its end.
/// @limits         For a program with signals or a loop of its own: executor::run().
int run(task<> root, const run_options& options = {});
int run(task<int> root, const run_options& options = {});

}  // namespace gyre
