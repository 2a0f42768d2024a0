// SPDX-License-Identifier: MIT
// Setting up a ring: which flags and sizes to ask for, what to ask for next, and what to tell the user.
//
// A kernel may know fewer flags than we would like, or grant less memory. The set-up walks down a ladder:
// next_attempt() decides each step and touches nothing, so that tests can walk every ladder; set_up_ring() takes the
// steps on the real kernel. Using the ring afterwards is kernel_ring's business; what else the kernel offers,
// ring_probe's.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <system_error>
#include <vector>

struct io_uring;

namespace gyre::detail {

/// What is needed is refused with an error where the machine has it not; what only makes faster is noted.

/// A thread of the kernel's that submits: needed.
struct sqpoll_request {
  unsigned idle_ms = 1000;
  std::optional<unsigned> cpu = {};
};

/// Who looks for completions of polled devices: needed, but that hybrid may be no more than busy.
enum class completions_by : std::uint8_t { signals, polls, hybrid_polls };

/// How network devices are polled in a wait: makes faster. io_uring_register_napi(3).
struct napi_request {
  unsigned busy_poll_usec = 0;  // 0: not at all
  bool prefer_busy_poll = false;
  bool static_tracking = false;
};

/// Whether the running kernel calls itself at least so new.
[[nodiscard]] bool kernel_is_at_least(int major, int minor) noexcept;

/// What the owner of a ring would like to have.
struct ring_request {
  unsigned sq_entries = 256;   // rounded up to a power of two; 1 to 32768
  unsigned cq_entries = 4096;  // the same, to 65536; at least 2 x sq_entries. Also sizes the kernel's cancel hash.

  // Kernel threads for what cannot be done without blocking, per thread that owns a ring. Unlimited, a burst of
  // blocking splices becomes a burst of threads: the kernel's own limits are 4 x CPUs and RLIMIT_NPROC. 0 leaves them
  // as they are.
  unsigned iowq_bounded_workers_max = 8;     // regular files and block devices
  unsigned iowq_unbounded_workers_max = 64;  // everything else: pipes, terminals, sockets

  bool completions_signal_eventfd = true;  // for an owner that sleeps on it; else each batch of them is cheaper

  std::optional<sqpoll_request> sqpoll = {};
  completions_by completions = completions_by::signals;
  unsigned min_wait_usec = 0;  // how long a wait for several completions goes on when there is one; 0: no such waits
  napi_request napi = {};
  bool big_entries = false;              // of 128 bytes, and completions of 32: needed
  std::vector<unsigned> iowq_cpus = {};  // where the workers run; empty: anywhere

  // The opcodes that it takes, beside those that the executor needs for itself; empty: all. Needed.
  std::vector<unsigned> only_opcodes = {};
};

/// What the owner of a ring got.
struct ring_report {
  unsigned flags = 0;     // IORING_SETUP_*, as granted
  unsigned features = 0;  // IORING_FEAT_*
  unsigned sq_entries = 0;
  unsigned cq_entries = 0;
  bool ring_registered = false;  // io_uring_enter() wants enter_ring_fd and IORING_ENTER_REGISTERED_RING
  bool workers_limited = false;  // the request's iowq_*_workers_max hold
  bool min_wait = false;         // the request's min_wait_usec can be given to io_uring_enter()

  // IORING_ENTER_NO_IOWAIT where the kernel knows it, else 0: OR it into every io_uring_enter() that may wait, else a
  // sleeping executor is counted as a CPU in I/O wait. liburing adds it by itself from 2.10 on, 2.9 never does.
  unsigned enter_flags = 0;

  std::string notes;  // sentences: what was dropped and why; empty when all is as asked
};

/// Why a ring cannot be had, and what a person can do about it.
struct setup_diagnosis {
  std::string cause;
  std::string cure;
};

/// No ring could be set up. what() names the cause and the cure, code() is the kernel's errno.
class setup_error : public std::system_error {
 public:
  setup_error(int error, setup_diagnosis diagnosis);

  const char* what() const noexcept override { return told_->text.c_str(); }
  const setup_diagnosis& diagnosis() const noexcept { return told_->diagnosis; }

 private:
  struct story {
    setup_diagnosis diagnosis;
    std::string text;
  };
  std::shared_ptr<const story> told_;  // shared, as an exception's copy must not throw
};

/// Sets up `ring` as `request` asks, or as near to it as this machine allows.
///
/// @param ring     Raw memory for the ring; overwritten. The caller ends it with io_uring_queue_exit(). After a throw
///                 there is nothing to end.
/// @return         What was granted; `notes` says where that is less than was asked for.
/// @errors         setup_error with
///                 operation_not_permitted   seccomp, or kernel.io_uring_disabled
///                 function_not_supported    the kernel is too old, has no io_uring, or seccomp says so
///                 not_enough_memory         not even the smallest ring fits into the memlock limit
///                 too_many_files_open       RLIMIT_NOFILE; too_many_files_open_in_system: fs.file-max
/// @threads        The calling thread becomes the ring's only submitter (IORING_SETUP_SINGLE_ISSUER), and the worker
///                 limits apply to it.
/// @source         io_uring_setup(2), io_uring_register_ring_fd(3), io_uring_register_iowq_max_workers(3).
ring_report set_up_ring(::io_uring& ring, const ring_request& request);

/// Adds a network device to those that the ring polls by napi_request::static_tracking, or takes it out. Returns 0 or
/// -errno.
int track_napi_id(::io_uring& ring, unsigned id, bool on) noexcept;

// The decisions, without the system calls.

/// What one io_uring_setup() asks for.
struct ring_parameters {
  unsigned sq_entries = 0;
  unsigned cq_entries = 0;
  unsigned flags = 0;

  friend bool operator==(const ring_parameters&, const ring_parameters&) = default;
};

/// The first attempt: every flag that the request can have, and sizes that the kernel will take literally.
ring_parameters first_attempt(const ring_request& request) noexcept;

/// The attempt that follows when the kernel answered `error` (an errno) to `tried`; empty means give up. Each step has
/// fewer flags or fewer entries than the one before, so the ladder ends.
std::optional<ring_parameters> next_attempt(int error, const ring_parameters& tried) noexcept;

/// Facts about the machine that tell one cause of an errno from another.
struct machine_facts {
  std::string kernel_release;                  // uname -r
  std::optional<int> io_uring_disabled;        // sysctl kernel.io_uring_disabled; absent before Linux 6.6
  std::optional<long> io_uring_group;          // sysctl kernel.io_uring_group
  bool seccomp_filtered = false;               // a filter is installed in this thread
  bool may_lock_any_memory = false;            // CAP_IPC_LOCK: RLIMIT_MEMLOCK does not apply
  std::optional<unsigned long> memlock_bytes;  // RLIMIT_MEMLOCK; empty when unlimited
  std::optional<unsigned long> nofile_count;   // RLIMIT_NOFILE; empty when unlimited
};

machine_facts read_machine_facts();

/// Why the last attempt failed with `error`, and what to do about it.
setup_diagnosis diagnose(int error, const ring_parameters& tried, const machine_facts& machine);

/// Why the eventfd that an executor sleeps on could not be made, or registered with the ring, and what to do about it.
setup_diagnosis diagnose_eventfd(int error, const machine_facts& machine);

/// Why a table of `count` direct descriptors could not be registered, and what to do about it.
setup_diagnosis diagnose_direct_table(int error, unsigned count, const machine_facts& machine);

/// Why a table of `count` registered buffers could not be registered, and what to do about it.
setup_diagnosis diagnose_buffer_table(int error, unsigned count, const machine_facts& machine);

/// Sentences about where `granted` falls short of `request`.
std::string shortfall_notes(const ring_request& request, const ring_parameters& granted, const machine_facts& machine);

/// What a kernel of these IORING_FEAT_* says to ring_request::min_wait_usec; empty when it has it.
std::string min_wait_note(unsigned features);

}  // namespace gyre::detail
