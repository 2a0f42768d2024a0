// SPDX-License-Identifier: MIT
// Child processes: started with what they get and nothing else, spoken to through pipes, and never left behind.
//
//   fs::process_options sort{.arguments = {"sort", "-n"}};
//   sort.input = fs::child_stream::piped();
//   const auto status = co_await fs::with_process(sort, [](fs::process& child) -> task<> { … });
//
// For a command whose output is wanted, and for pipelines: run_command.hpp.
//
// Who owns a child. A `process` does, and a child ends with it:
//
//   the program                            the child
//   awaits wait(), or terminate()          has ended; its status is told
//   leaves with_process(): body returned   its pipes are closed, and its end is awaited
//     body threw, or a stop came           is terminated: SIGTERM, a grace period, SIGKILL; and awaited
//   destroys a process that has not ended  is killed by SIGKILL, and reaped on a thread that ends with that
//   forks: a copy in the child of a fork   is not concerned: it stays the parent's
//   calls try_detach()                     goes on by itself, and is reaped so when it ends
//   ends                                   is not told. What is to go with the program is in a scope: run() stops it
//
// So no zombie is left in any of these, and a number is never used for a signal after it may be somebody else's: the
// child is named by a descriptor (pidfd), and its group only while the child has not been reaped.
//
// A child gets the descriptors 0, 1 and 2 and those that are named, whatever else is open here; the default action of
// every signal, and none blocked. Its stopping does not concern its own children, unless it has a group of its own.
#pragma once

#include <gyre/fs/detail/afterwards.hpp>
#include <gyre/fs/pipe.hpp>
#include <gyre/runtime/deadline.hpp>
#include <gyre/runtime/fd_ref.hpp>
#include <gyre/runtime/ops/process.hpp>
#include <gyre/runtime/result.hpp>
#include <gyre/runtime/task.hpp>
#include <gyre/runtime/unique_fd.hpp>

#include <sys/resource.h>
#include <sys/types.h>

#include <chrono>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <system_error>
#include <type_traits>
#include <utility>
#include <vector>

namespace gyre::fs {

/// What one of a child's standard streams is.
class child_stream {
 public:
  enum class kind : std::uint8_t { unsaid, inherited, null, piped, descriptor, merged };

  /// Not said: inherited() for spawn(), piped for run_command().
  child_stream() noexcept = default;

  /// The same as this process has; none where that is closed.
  [[nodiscard]] static child_stream inherited() noexcept { return {kind::inherited, -1}; }

  /// /dev/null: nothing comes from it, and all goes into it.
  [[nodiscard]] static child_stream null() noexcept { return {kind::null, -1}; }

  /// A pipe, whose other end the process has: process::input, output, errors.
  [[nodiscard]] static child_stream piped() noexcept { return {kind::piped, -1}; }

  /// A file, a socket, the end of a pipe. The child gets a descriptor of its own; `open` stays its owner's, who keeps
  /// it open until spawn() has returned. Plain ones only. A file that is O_NONBLOCK is so for the child as well.
  [[nodiscard]] static child_stream from(fd_ref open) noexcept { return {kind::descriptor, open.get()}; }

  /// For errors: where the output goes, in the order in which they are written.
  [[nodiscard]] static child_stream merged() noexcept { return {kind::merged, -1}; }

  [[nodiscard]] kind what() const noexcept { return what_; }
  [[nodiscard]] int descriptor() const noexcept { return descriptor_; }

 private:
  child_stream(kind what, int descriptor) noexcept : what_{what}, descriptor_{descriptor} {}
  kind what_ = kind::unsaid;
  int descriptor_ = -1;
};

/// A descriptor that a child gets beside its standard streams.
struct child_descriptor {
  int number = 3;   ///< What it is in the child: 3 or more.
  fd_ref from{-1};  ///< As for child_stream::from().
};

/// A limit that a child begins with: setrlimit(2).
struct child_limit {
  int resource = RLIMIT_NOFILE;
  ::rlim_t soft = RLIM_INFINITY;
  ::rlim_t hard = RLIM_INFINITY;
};

/// Which process group a child is in. Ctrl-C at a terminal goes to all of its foreground group; and a group of one's
/// own that reads from the terminal is stopped by it (SIGTTIN).
enum class child_group : std::uint8_t {
  inherited,
  own,     ///< Its own. Then terminate() and a destructor are about all that is in it: setpgid(2).
  session  ///< The same in a session of its own, without a terminal: setsid(2).
};

struct process_options {
  /// What the program sees as its arguments, its own name included. At least that.
  std::vector<std::string> arguments;

  /// The program's file; empty: arguments[0]. A name without a slash is looked for in PATH, that of this process.
  std::string program = {};

  /// Without it a name is a path, from the child's working directory on.
  bool search_path = true;

  child_stream input = {};
  child_stream output = {};
  child_stream errors = {};
  std::vector<child_descriptor> descriptors = {};

  /// The environment is this process's, unless it is cleared; without these; with those.
  bool clear_environment = false;
  std::vector<std::string> unset_variables = {};
  std::vector<std::pair<std::string, std::string>> variables = {};

  /// Empty: this process's.
  std::string working_directory = {};

  child_group group = child_group::inherited;

  std::vector<child_limit> limits = {};
  std::optional<int> niceness = {};    ///< -20 to 19: setpriority(2).
  std::optional<::mode_t> umask = {};  ///< Of new files.

  /// Signals that the child ignores, as nohup(1) has it. All others have their default action.
  std::vector<int> ignored_signals = {};
};

/// What a spawn() has come to.
enum class spawn_step : std::uint8_t {
  none,
  descriptors,  ///< A pipe could not be made, or a descriptor is not open.
  clone,        ///< There is no process to be had.
  session,
  group,
  umask,
  niceness,
  working_directory,
  limits,
  program  ///< There is none of that name, it may not be run, or is none.
};

/// Why there is no child. what() names the program and the step: "spawn sort: its working directory /nowhere: No such
/// file or directory".
class spawn_error : public std::system_error {
 public:
  spawn_error(spawn_step step, std::error_code why, const std::string& what)
      : std::system_error{why, what}, step_{step} {}
  [[nodiscard]] spawn_step step() const noexcept { return step_; }

 private:
  spawn_step step_;
};

/// How a child has ended, and what it has used.
struct exit_status {
  ops::process_event event = ops::process_event::none;  ///< exited, killed, or dumped.
  int value = 0;                                        ///< What it exited with, or the signal.
  ::rusage used{};                                      ///< With those of its children that it has waited for.

  [[nodiscard]] bool exited() const noexcept { return event == ops::process_event::exited; }

  /// Exited with 0.
  [[nodiscard]] bool success() const noexcept { return exited() && value == 0; }

  /// What it exited with; -1 when a signal killed it.
  [[nodiscard]] int code() const noexcept { return exited() ? value : -1; }

  /// Which signal killed it; 0 when it exited.
  [[nodiscard]] int signal() const noexcept { return exited() ? 0 : value; }
  [[nodiscard]] bool core_dumped() const noexcept { return event == ops::process_event::dumped; }

  /// "exited with 1", "killed by SIGTERM", "killed by SIGSEGV, core dumped".
  [[nodiscard]] std::string text() const;
};

/// How long terminate() waits between SIGTERM and SIGKILL, unless told otherwise.
inline constexpr std::chrono::nanoseconds default_grace = std::chrono::seconds{5};

/// A child process that is owned: see the top of this file.
class process {
 public:
  process(process&& other) noexcept;
  process& operator=(process&& other) noexcept;

  /// Kills it, if it has not been waited for, all of its group if it has one; somebody else reaps it. Does not wait.
  ~process();

  /// This end of each stream that is piped. To close one: reset(), or co_await close(). A child that reads its input to
  /// the end waits for that; one whose output nobody reads any more gets SIGPIPE.
  std::optional<pipe_writer> input;
  std::optional<pipe_reader> output;
  std::optional<pipe_reader> errors;

  /// For display. To signal it: try_signal().
  [[nodiscard]] ::pid_t id() const noexcept { return id_; }

  /// Its pidfd; readable when it has ended.
  [[nodiscard]] fd_ref handle() const noexcept { return handle_; }

  /// Waits until it has ended, and reaps it. Again: the same. Who it has left behind, and who may still hold its pipes,
  /// is not waited for.
  ///
  /// @errors        no_child_process: the program ignores SIGCHLD, or somebody else has waited for it
  /// @cancellation  Safe: the status is there for the next wait.
  /// @threads       Any number of coroutines of one executor.
  /// @source        waitid(2), P_PIDFD, by the ring; before Linux 6.7 a poll of its handle.
  [[nodiscard]] task<exit_status> wait();

  /// How it has ended, when a wait() or a terminate() has told.
  [[nodiscard]] const std::optional<exit_status>& ended() const noexcept { return end_; }

  /// Sends it a signal. Nobody else gets it, whatever has become of the child.
  ///
  /// @errors  no_such_process           it has ended, and been waited for
  ///          invalid_argument          there is no such signal
  ///          operation_not_permitted   it has changed its user
  /// @source  pidfd_send_signal(2). Never waits.
  [[nodiscard]] result<void> try_signal(int number) const noexcept;

  /// The same to its group: all that it has started, and that have not left the group.
  ///
  /// @errors  invalid_argument   it has no group of its own, or there is no such signal
  ///          no_such_process    it has been waited for: its group may be somebody else's by now
  [[nodiscard]] result<void> try_signal_group(int number) const noexcept;

  /// Asks it to end, SIGTERM, and SIGCONT if it is stopped; after `grace` kills it; and waits for it. All of its group
  /// get the same, if it has one; who is still in that when the child has ended is killed. Nothing, if it has been
  /// waited for.
  ///
  /// @param grace   Zero or less: SIGKILL at once.
  /// @errors        As wait().
  /// @cancellation  Stopped in between, the child has been asked, and goes on; call it again, or destroy the process.
  [[nodiscard]] task<exit_status> terminate(std::chrono::nanoseconds grace = default_grace);

  /// Lets it go on by itself. It is reaped when it ends, on a thread of gyre's.
  ///
  /// @errors  Those of making that thread: then it is still owned.
  [[nodiscard]] result<void> try_detach() noexcept;

 private:
  friend task<process> spawn(process_options options);
  process(::pid_t id, unique_fd handle, bool has_group) noexcept;

  [[nodiscard]] bool is_ours() const noexcept;
  [[nodiscard]] task<> until_ended();
  [[nodiscard]] bool reap();
  void signal_all(int number) const noexcept;
  void let_go() noexcept;

  ::pid_t id_ = -1;
  ::pid_t parent_ = -1;  // who started it: not the child of a fork
  bool has_group_ = false;
  bool is_lost_ = false;  // somebody else has reaped it
  unique_fd handle_;
  std::optional<exit_status> end_;
};

/// Starts a program.
///
/// @return        The child, when it runs its program: what keeps it from that is an error here.
/// @errors        spawn_error: no_such_file_or_directory, permission_denied, executable_format_error (a script without
///                a first line), argument_list_too_long, … of step program; those of the other steps;
///                std::system_error: invalid_argument, options that contradict each other, or a zero byte in a name
/// @cancellation  In line for a thread: nothing was started. After that the child is delivered, and ends with its
///                owner.
/// @threads       Loading a program may have to read it from a disk, and the thread that starts a child waits for that:
///                so it is a thread of offload_pool::common().
/// @limits        The environment is read in the call: no other thread may change it then, as ever.
/// @source        clone(2), CLONE_VM, CLONE_VFORK, CLONE_PIDFD; execve(2), close_range(2). Linux 5.11.
[[nodiscard]] task<process> spawn(process_options options);

namespace detail {

/// The body, and then the end of the child, whose pipes are closed.
[[nodiscard]] task<exit_status> serve(process& child, task<> body);

/// Ends a child that may not want to, within about `grace`. Not stopped, and no failure.
[[nodiscard]] task<> end_of(process& child, std::chrono::nanoseconds grace);

}  // namespace detail

/// Starts a program, runs `body(process)` beside it, and waits until it has ended.
///
/// When the body returns, its ends of pipes are closed and the end of the child is awaited. When the body throws, or
/// the scope is cancelled, meanwhile or while the end is awaited, the child is terminated, and awaited in a shield: for
/// `grace` and some seconds at most. Then the exception, or the stop, goes on.
///
/// @param body    Returns task<>. Lives until the child has ended, captures and all.
/// @param grace   From SIGTERM to SIGKILL. run() has a grace period of its own, 30 s: less than that.
/// @errors        Those of spawn() and wait(); what the body throws.
template <class Fn>
  requires std::invocable<Fn&, process&> && std::same_as<std::invoke_result_t<Fn&, process&>, task<>>
[[nodiscard]] task<exit_status> with_process(process_options options, Fn body,
                                             std::chrono::nanoseconds grace = default_grace) {
  process child = co_await spawn(std::move(options));
  co_return co_await detail::or_undo(detail::serve(child, body(child)), detail::end_of(child, grace));
}

}  // namespace gyre::fs
