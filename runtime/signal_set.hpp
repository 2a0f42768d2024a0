// SPDX-License-Identifier: MIT
// Signals of the process as a stream of values: SIGHUP to read the configuration anew, SIGWINCH, SIGCHLD, SIGUSR1.
//
//   gyre::signal_set signals{SIGHUP, SIGUSR1};
//   while (const auto signal = co_await signals.next()) {
//     if (signal->number == SIGHUP) read_configuration();
//   }
//
// What a set does to the process, as a signal belongs to all of it:
//
//   the handler       gyre's own, for as long as there is a set that has the signal; then the action before is put
//                     back. It runs on whatever thread the kernel picks, and only writes down what came
//   signal masks      no thread's is touched. A signal that all threads block is told when one unblocks it; who calls
//                     sigwait(3) for it, or reads it from a signalfd, takes it from the sets
//   several sets      of the same signal, on any executors: each is told of each signal
//   run(), runtime    SIGINT, SIGTERM and SIGQUIT are theirs, unless a set has them: then the set's alone, whoever came
//                     first, until it is destroyed
//   sigaction(2)      by others, of a signal that a set has: takes it from the set, and stays
//   fork(2)           the child's copy of a set hears nothing; there a signal does what it did before gyre took it
//   exec(3)           gives every signal that a set has its default action
//
// Why no signalfd. It tells of signals that are blocked, and a signal is blocked for a process only where every thread
// blocks it, those of libraries too that were started before; one thread that does not is killed by SIGTERM. A child
// inherits what is blocked. And of several that read, one is told. The price of a handler is two descriptors a set, and
// that system calls of other threads may end with EINTR, where SA_RESTART does not help: poll(2), nanosleep(2), and
// more in signal(7).
//
// Standard signals (those below SIGRTMIN) come together: one that comes again before the first was taken by a thread is
// told once. So a SIGCHLD says that at least one child has changed. Real-time signals are told one by one, in the order
// in which they were sent.
#pragma once

#include <gyre/runtime/task.hpp>

#include <sys/types.h>

#include <csignal>
#include <initializer_list>
#include <memory>
#include <optional>
#include <span>

namespace gyre {

/// One signal that came: what siginfo_t says of it.
struct signal_info {
  int number = 0;       ///< SIGHUP, …
  int code = 0;         ///< What sent it: SI_USER (kill), SI_QUEUE (sigqueue), SI_TKILL (raise), SI_TIMER, SI_KERNEL;
                        ///< of SIGCHLD CLD_EXITED and so on. sigaction(2).
  ::pid_t process = 0;  ///< Who sent it, where a process did; of SIGCHLD, the child.
  ::uid_t user = 0;     ///< Whose that process is.
  int status = 0;       ///< Of SIGCHLD: what the child exited with, or the signal.
  bool is_summary = false;  ///< One or more came while the set was full: there is nothing but their number.
  ::sigval value{};         ///< What sigqueue(3), a timer or a message queue gave along.
};

/// A set of signals, and those of them that came.
class signal_set {
 public:
  /// Takes these signals, from here on.
  ///
  /// @param signals  Any but SIGKILL and SIGSTOP, which nobody can take; those that a fault raises, as SIGSEGV, after
  ///                 which a program cannot go on; and SIGPIPE, as writes tell broken_pipe in its place.
  /// @errors         std::system_error: invalid_argument, one of those, or no signal at all;
  ///                 too_many_files_open, too_many_files_open_in_system
  /// @threads        Any; also before there is an executor.
  /// @limits         Two descriptors. It holds some 2000 signals that nobody has read (64 KiB; less where the user has
  ///                 very many pipes). Of those that come then each sort is told once, as a summary: none is lost
  ///                 altogether.
  explicit signal_set(std::initializer_list<int> signals);
  explicit signal_set(std::span<const int> signals);

  signal_set(signal_set&&) noexcept;
  signal_set& operator=(signal_set&&) noexcept;

  /// Gives the signals back: at the end of the last set that has one, the action before it is in force again. Signals
  /// that were not read are forgotten.
  ~signal_set();

  /// The next signal, or the first that comes.
  ///
  /// @return        Always a signal: a set has no end.
  /// @errors        Those of ops::read.
  /// @cancellation  Safe: no signal is lost.
  /// @threads       One coroutine at a time, of any executor.
  /// @source        sigaction(2); pipe(7), read through the ring.
  [[nodiscard]] task<std::optional<signal_info>> next();

 private:
  class state;
  std::unique_ptr<state> state_;
};

}  // namespace gyre
