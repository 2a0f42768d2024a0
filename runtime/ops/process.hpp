// SPDX-License-Identifier: MIT
// Waiting for child processes. How one is started is not here.
#pragma once

#include <gyre/runtime/operation.hpp>

#include <sys/types.h>
#include <sys/wait.h>

#include <csignal>

namespace gyre::ops {

/// What has happened to a process: CLD_* of waitid(2).
enum class process_event : int {
  none = 0,  ///< Nothing yet, where nothing was waited for.
  exited = CLD_EXITED,
  killed = CLD_KILLED,
  dumped = CLD_DUMPED,  ///< Killed, and its memory was written to a file.
  trapped = CLD_TRAPPED,
  stopped = CLD_STOPPED,
  continued = CLD_CONTINUED
};

struct process_change {
  ::pid_t process = 0;
  ::uid_t user = 0;  ///< Whose it is.
  process_event event = process_event::none;
  int status = 0;  ///< What it exited with; for all other events, the signal.
};

/// Waits until a child of this process has ended, or otherwise changed. What was told of a child that has ended is told
/// once: whoever else waits for it, waitpid(2) as well as another waitid, gets no_child_process.
///
/// @param which    P_PID, P_PIDFD, P_PGID or P_ALL: what `id` is. A pidfd is a plain descriptor, and stays open.
/// @param id       The process, its pidfd, or the process group, of which 0 is this process's own; of no use for P_ALL.
/// @param options  WEXITED, WSTOPPED, WCONTINUED, or'ed: what is waited for. WNOHANG, as a pidfd that does not block,
///                 waits for nothing: an event of none. WNOWAIT leaves the change to be told again.
/// @return         Which process, and what has happened to it.
/// @errors         no_child_process          there is no such child, or it was told before
///                 invalid_argument          no options
///                 bad_file_descriptor       a pidfd that is none
///                 operation_not_supported   before Linux 6.7
/// @cancellation   Safe: a change is told, or left for the next who asks.
/// @limits         Cancelling looks for the wait among all of this executor, newest first.
/// @source         io_uring_prep_waitid(3); waitid(2). Linux 6.7.
class [[nodiscard]] waitid final : public operation_of<waitid, process_change> {
 public:
  waitid(::idtype_t which, ::id_t id, int options = WEXITED) noexcept
      : operation_of{opcode}, which_{which}, id_{id}, options_{options} {}

 private:
  friend operation_of;
  static const operation_kind opcode;
  static void prepare(operation& self, io_uring_sqe& sqe) noexcept;
  [[nodiscard]] process_change value() const noexcept;

  ::idtype_t which_;
  ::id_t id_;
  int options_;
  ::siginfo_t told_{};  // filled by the kernel; until then it may be moved with the operation
};

}  // namespace gyre::ops
