// SPDX-License-Identifier: MIT
// Commands whose output is wanted: one, or several in a row whose pipes are joined. All that process.hpp says of
// children holds of these.
//
//   fs::process_options sort{.arguments = {"sort", "-n"}};
//   fs::command_options limits{.input = numbers};
//   const auto sorted = co_await fs::run_command(sort, limits);
//   if (sorted.status.success()) use(sorted.output);
//
// Input, output and errors are served side by side, so that none waits for another. Memory is bounded: by what goes in,
// and by two limits on what comes out.
//
// It is over when the command has ended and its outputs are closed, by all who have them. A command that leaves
// somebody behind, as a shell does with `sleep 1000 &`, leaves its outputs open for as long: give `linger` to wait no
// longer than that after its end, or a timeout.
#pragma once

#include <gyre/fs/process.hpp>
#include <gyre/runtime/task.hpp>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace gyre::fs {

/// What becomes of output beyond its limit.
enum class over_limit : std::uint8_t {
  fail,     ///< The command is terminated; file_too_large.
  truncate  ///< It is read and forgotten, and the command goes on.
};

struct command_options {
  /// What the command reads from its standard input, and then its end. A command that does not read all of it is no
  /// failure.
  std::string input = {};

  /// How much is kept of what it writes to its standard output, and to its standard error.
  std::size_t output_bytes_max = std::size_t{16} << 20U;
  std::size_t errors_bytes_max = std::size_t{1} << 20U;
  over_limit on_over_limit = over_limit::fail;

  /// From the start of the command to the end of its outputs.
  std::optional<std::chrono::nanoseconds> timeout = {};

  /// How long outputs may stay open when the command has ended.
  std::optional<std::chrono::nanoseconds> linger = {};

  /// From SIGTERM to SIGKILL, where it has to be terminated.
  std::chrono::nanoseconds grace = default_grace;
};

struct command_result {
  exit_status status;
  std::string output;
  std::string errors;
  bool output_truncated = false;  ///< There was more than the limit.
  bool errors_truncated = false;
  bool left_open = false;  ///< Somebody else had its outputs open for longer than `linger`.
};

/// Runs a program to its end, and keeps what it says.
///
/// @param command   Of its streams those that are not said are pipes; input from nothing, when there is no input. A
///                  stream that is said is as it is said, and nothing is kept of it; merged errors come with the
///                  output.
/// @param options   Input, limits, timeout.
/// @return          Also of a command that fails: its status says so.
/// @errors          Those of spawn(); file_too_large; timed_out: the command was terminated, with its group if it has
///                  one; invalid_argument: input for a command whose input is said, or a stream that is said to be
///                  piped
/// @cancellation    The command is terminated, and awaited in a shield.
/// @limits          While it runs, a buffer of 64 KiB for each output beside what is kept.
[[nodiscard]] task<command_result> run_command(process_options command, command_options options = {});

struct pipeline_result {
  std::vector<exit_status> statuses;  ///< In the order of the commands.
  std::string output;                 ///< Of the last.
  std::string errors;                 ///< Of all, as they came.
  bool output_truncated = false;
  bool errors_truncated = false;
  bool left_open = false;

  /// Each has exited with 0.
  [[nodiscard]] bool success() const noexcept { return std::ranges::all_of(statuses, &exit_status::success); }
};

/// Runs programs side by side, each reading what the one before writes: through pipes between them, which the bytes do
/// not leave.
///
/// A command that ends before it has read all ends the one before by SIGPIPE, as in a shell: `yes | head` has one that
/// was killed.
///
/// @param commands  At least one. Input of the first, output of the last, and errors of all as for run_command(); what
///                  is between is not said.
/// @errors          As run_command(); when a program cannot be started, those before it are terminated.
/// @cancellation    As run_command(): all are terminated, side by side.
[[nodiscard]] task<pipeline_result> pipeline(std::vector<process_options> commands, command_options options = {});

}  // namespace gyre::fs
