// SPDX-License-Identifier: MIT
// The ladder of ring set-up: the decisions first, then the system calls, then the words for what went wrong.
#include <gyre/runtime/detail/ring_setup.hpp>
#include <gyre/runtime/detail/zero_copy_ring.hpp>

#include <liburing.h>
#include <sched.h>
#include <sys/resource.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <limits>
#include <span>
#include <thread>
#include <utility>

namespace gyre::detail {
namespace {

// A ring that was closed gives its memory back some time later, by a worker of the kernel (io_ring_exit_work): after 5
// to 10 ms, 170 ms on a busy machine. Until then it counts against the limit.
constexpr std::chrono::milliseconds memory_wait_max{250};
constexpr std::chrono::milliseconds memory_wait_step{5};

// Newer than liburing 2.9's header. Source: include/uapi/linux/io_uring.h, Linux 6.15.
constexpr unsigned feature_no_iowait = 1U << 17;  // IORING_FEAT_NO_IOWAIT
constexpr unsigned enter_no_iowait = 1U << 7;     // IORING_ENTER_NO_IOWAIT

// The same of Linux 6.13, which gave meaning to bytes that were zero: struct io_uring_napi.
struct napi_registration {
  std::uint32_t busy_poll_to;
  std::uint8_t prefer_busy_poll;
  std::uint8_t opcode;  // IO_URING_NAPI_REGISTER_OP 0, _STATIC_ADD_ID 1, _STATIC_DEL_ID 2
  std::uint8_t pad[2];
  std::uint32_t op_param;  // IO_URING_NAPI_TRACKING_DYNAMIC 0, _STATIC 1
  std::uint32_t resv;
};
static_assert(sizeof(napi_registration) == sizeof(io_uring_napi));

// io_uring/io_uring.c: IORING_MAX_ENTRIES, IORING_MAX_CQ_ENTRIES.
constexpr unsigned sq_entries_limit = 32768;
constexpr unsigned cq_entries_limit = 2 * sq_entries_limit;

// io_uring/filetable.h: IORING_MAX_FIXED_FILES.
constexpr unsigned direct_slots_limit = 1U << 20;

// io_uring/rsrc.c: IORING_MAX_REG_BUFFERS.
constexpr unsigned buffer_slots_limit = 1U << 14;

// The kernel counts a ring's memory in whole pages. This one takes two, the least there is: halving further gains
// nothing.
constexpr unsigned sq_entries_floor = 64;
constexpr unsigned cq_entries_floor = 128;

constexpr unsigned always = IORING_SETUP_CQSIZE | IORING_SETUP_CLAMP;  // Linux 5.6
constexpr unsigned cooperative = IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG;
constexpr unsigned deferred = IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_TASKRUN_FLAG;

// The rungs, each with the kernel that first grants it. A kernel that does not know a flag answers EINVAL. Below the
// last one there is no multishot accept, of which nothing tells but the flags of the same release.
constexpr std::array ladder{
    always | IORING_SETUP_SUBMIT_ALL | IORING_SETUP_SINGLE_ISSUER | deferred,     // 6.1
    always | IORING_SETUP_SUBMIT_ALL | IORING_SETUP_SINGLE_ISSUER | cooperative,  // 6.0
    always | IORING_SETUP_SUBMIT_ALL | cooperative,                               // 5.19
};

// Where a thread of the kernel's submits, it finishes completions too: nobody is interrupted, and nothing is deferred.
constexpr std::array sqpoll_ladder{
    always | IORING_SETUP_SUBMIT_ALL | IORING_SETUP_SINGLE_ISSUER,  // 6.0
    always | IORING_SETUP_SUBMIT_ALL,                               // 5.19
};

// What each rung is asked for beside its flags.
constexpr unsigned hybrid_iopoll = 1U << 17;  // IORING_SETUP_HYBRID_IOPOLL, Linux 6.13
constexpr unsigned big_entries = IORING_SETUP_SQE128 | IORING_SETUP_CQE32;
constexpr unsigned modes =
    IORING_SETUP_SQPOLL | IORING_SETUP_SQ_AFF | IORING_SETUP_IOPOLL | hybrid_iopoll | big_entries;

unsigned modes_of(const ring_request& request) noexcept {
  unsigned flags = 0;
  if (request.sqpoll) flags |= IORING_SETUP_SQPOLL;
  if (request.sqpoll && request.sqpoll->cpu) flags |= IORING_SETUP_SQ_AFF;
  if (request.completions != completions_by::signals) flags |= IORING_SETUP_IOPOLL;
  if (request.completions == completions_by::hybrid_polls) flags |= hybrid_iopoll;
  if (request.big_entries) flags |= big_entries;
  return flags;
}

// What the executor cannot do without: completions that are never dropped, requests that need not stay put after
// submission, sockets without a worker, a time limit on io_uring_enter(), cancels without a completion. Linux 5.17 has
// them: only what stands in for a kernel can grant the flags above and lack one.
constexpr unsigned features_needed =
    IORING_FEAT_NODROP | IORING_FEAT_SUBMIT_STABLE | IORING_FEAT_FAST_POLL | IORING_FEAT_EXT_ARG | IORING_FEAT_CQE_SKIP;

std::optional<unsigned> next_rung(unsigned flags) noexcept {
  if ((flags & hybrid_iopoll) != 0) return flags & ~hybrid_iopoll;
  const std::span<const unsigned> rungs =
      (flags & IORING_SETUP_SQPOLL) != 0 ? std::span<const unsigned>{sqpoll_ladder} : std::span<const unsigned>{ladder};
  const auto rung = std::find(rungs.begin(), rungs.end(), flags & ~modes);
  if (rung == rungs.end() || rung + 1 == rungs.end()) return std::nullopt;
  return *(rung + 1) | (flags & modes);
}

std::string quantity(unsigned long bytes) {
  return bytes % 1024 == 0 ? std::to_string(bytes / 1024) + " KiB" : std::to_string(bytes) + " bytes";
}

std::string entries(unsigned sq, unsigned cq) {
  return std::to_string(sq) + " submission and " + std::to_string(cq) + " completion entries";
}

}  // namespace

ring_parameters first_attempt(const ring_request& request) noexcept {
  // Rounded here as the kernel would (bit_ceil is undefined above the limits), so that halving stays exact.
  const unsigned sq = std::bit_ceil(std::clamp(request.sq_entries, 1U, sq_entries_limit));
  const unsigned cq = std::bit_ceil(std::clamp(request.cq_entries, 2 * sq, cq_entries_limit));
  const unsigned rung = request.sqpoll ? sqpoll_ladder.front() : ladder.front();
  return {.sq_entries = sq, .cq_entries = cq, .flags = rung | modes_of(request)};
}

std::optional<ring_parameters> next_attempt(int error, const ring_parameters& tried) noexcept {
  auto next = tried;
  if (error == EINVAL) {
    const auto flags = next_rung(tried.flags);
    if (!flags) return std::nullopt;
    next.flags = *flags;
  } else if (error == ENOMEM) {
    next.sq_entries = std::max(tried.sq_entries / 2, std::min(tried.sq_entries, sq_entries_floor));
    next.cq_entries = std::max(tried.cq_entries / 2, std::min(tried.cq_entries, cq_entries_floor));
    next.cq_entries = std::max(next.cq_entries, 2 * next.sq_entries);
  }
  if (next == tried) return std::nullopt;  // another errno, or nothing left to take away
  return next;
}

namespace {

// Linux 5.1 brought io_uring. Only the two leading numbers of "6.1.0-18-amd64" count.
bool older_than(const std::string& release, int major, int minor) {
  int has_major = 0;
  int has_minor = 0;
  if (std::sscanf(release.c_str(), "%d.%d", &has_major, &has_minor) != 2) return false;
  return has_major != major ? has_major < major : has_minor < minor;
}

const char* const cure_by_kernel = "Run a newer kernel: Linux 6.1 or later has all that gyre's executor needs";

const char* const cure_by_seccomp =
    "Allow io_uring_setup, io_uring_enter and io_uring_register in the filter: in a container give a seccomp profile "
    "that "
    "has them (docker run --security-opt seccomp=profile.json), in a systemd unit SystemCallFilter=@io-event "
    "io_uring_setup io_uring_enter io_uring_register";

setup_diagnosis not_permitted(const machine_facts& machine) {
  const int disabled = machine.io_uring_disabled.value_or(0);
  if (disabled >= 2) {
    return {"io_uring is switched off for every process (kernel.io_uring_disabled = " + std::to_string(disabled) + ")",
            "As root: sysctl kernel.io_uring_disabled=0, and a line kernel.io_uring_disabled = 0 in /etc/sysctl.d/ to "
            "keep it"};
  }
  if (disabled == 1) {
    const auto group = machine.io_uring_group.value_or(-1);
    const auto who = group < 0 ? std::string{"no group is exempt (kernel.io_uring_group = -1)"}
                               : "only the group " + std::to_string(group) + " is exempt (kernel.io_uring_group)";
    return {"io_uring is switched off for processes without CAP_SYS_ADMIN (kernel.io_uring_disabled = 1), and " + who,
            "As root: sysctl kernel.io_uring_disabled=0, or set kernel.io_uring_group to a group that this user is in"};
  }
  if (machine.seccomp_filtered) return {"A seccomp filter of this process forbids io_uring", cure_by_seccomp};
  return {
      "A security module (SELinux, AppArmor, ...) forbids io_uring: there is no seccomp filter here, and "
      "kernel.io_uring_disabled is not set",
      "Allow io_uring in the policy of the module that /sys/kernel/security/lsm names; its log (dmesg, ausearch -m "
      "avc) "
      "says which rule it was"};
}

setup_diagnosis not_implemented(const machine_facts& machine) {
  if (older_than(machine.kernel_release, 5, 1)) {
    return {"This kernel, Linux " + machine.kernel_release + ", has no io_uring", cure_by_kernel};
  }
  if (machine.seccomp_filtered) {
    return {"A seccomp filter of this process hides io_uring (it answers ENOSYS)", cure_by_seccomp};
  }
  return {"This kernel, Linux " + machine.kernel_release +
              ", was built without io_uring, or a sandbox (gVisor, for one) stands in for it",
          "Run a kernel with CONFIG_IO_URING=y, outside the sandbox"};
}

const char* const cure_by_memory = "Give the machine, or this process's control group (memory.max), more memory";

setup_diagnosis no_memory(const ring_parameters& tried, const machine_facts& machine) {
  const auto ring = "not even a ring of " + entries(tried.sq_entries, tried.cq_entries) + " fits";
  if (machine.may_lock_any_memory || !machine.memlock_bytes) {
    return {"The kernel has no memory for the ring, and no memlock limit applies: " + ring, cure_by_memory};
  }
  return {
      "The memory of rings counts as locked, and the limit (RLIMIT_MEMLOCK) is " + quantity(*machine.memlock_bytes) +
          " for all processes of this user together: " + ring,
      "Raise the limit: ulimit -l unlimited, a memlock line in /etc/security/limits.conf, LimitMEMLOCK= in a systemd "
      "unit, docker run --ulimit memlock=-1; or use fewer rings"};
}

setup_diagnosis no_descriptor(int error, const machine_facts& machine) {
  if (error == ENFILE) {
    return {"The system has no open file left (fs.file-max)",
            "As root: raise it, sysctl fs.file-max=..., or close files"};
  }
  const auto limit = machine.nofile_count ? std::to_string(*machine.nofile_count) : std::string{"unlimited"};
  return {
      "A ring is an open file, and so is the eventfd beside it, and this process may have no more of them "
      "(RLIMIT_NOFILE "
      "is " +
          limit + ")",
      "Raise the limit: ulimit -n 65536, a nofile line in /etc/security/limits.conf, LimitNOFILE= in a systemd unit"};
}

}  // namespace

setup_diagnosis diagnose(int error, const ring_parameters& tried, const machine_facts& machine) {
  switch (error) {
    case EPERM:
    case EACCES:
      return not_permitted(machine);
    case ENOSYS:
      return not_implemented(machine);
    case ENOMEM:
      return no_memory(tried, machine);
    case EMFILE:
    case ENFILE:
      return no_descriptor(error, machine);
    case EINVAL:
    case EOPNOTSUPP:
      if ((tried.flags & IORING_SETUP_SQ_AFF) != 0)
        return {
            "The CPU that the submission thread is to run on (executor_options::sqpoll, cpu) is none that this process "
            "may use",
            "Name one of those that taskset -p, or cpuset.cpus.effective of its control group, shows; or none"};
      if ((tried.flags & IORING_SETUP_SQPOLL) != 0)
        return {"This kernel, Linux " + machine.kernel_release +
                    ", or what stands in for it, has no submission thread (executor_options::sqpoll, "
                    "IORING_SETUP_SQPOLL)",
                "Leave out executor_options::sqpoll: nothing but speed depends on it"};
      if ((tried.flags & IORING_SETUP_IOPOLL) != 0)
        return {"This kernel, Linux " + machine.kernel_release +
                    ", or what stands in for it, does not poll devices (executor_options::iopoll, IORING_SETUP_IOPOLL)",
                "Leave out executor_options::iopoll: files are then read and written by interrupts"};
      if ((tried.flags & IORING_SETUP_SQE128) != 0)
        return {"This kernel, Linux " + machine.kernel_release +
                    ", or what stands in for it, has no entries of 128 bytes (executor_options::big_entries, "
                    "IORING_SETUP_SQE128, IORING_SETUP_CQE32)",
                "Leave out executor_options::big_entries: all but ops::raw_command goes without"};
      return {"This kernel, Linux " + machine.kernel_release +
                  ", is too old: its io_uring is less than that of Linux 5.19, which every executor needs",
              cure_by_kernel};
    default:
      return {"io_uring_setup failed in a way that gyre does not know", "See io_uring_setup(2), ERRORS"};
  }
}

setup_diagnosis diagnose_eventfd(int error, const machine_facts& machine) {
  const bool refused = error == EPERM || error == EACCES || error == ENOSYS;
  if (refused && machine.seccomp_filtered) {
    return {"A seccomp filter of this process forbids the eventfd that an executor sleeps on, or its registration",
            "Allow eventfd2, io_uring_register, epoll_create1 and epoll_ctl in the filter, beside "
            "io_uring_setup and io_uring_enter"};
  }
  switch (error) {
    case EMFILE:
    case ENFILE:
      return no_descriptor(error, machine);
    case ENOMEM:
      return {"The kernel has no memory for the eventfd that an executor sleeps on", cure_by_memory};
    default:
      return {
          "The eventfd that an executor sleeps on cannot be made, or not be registered with its ring",
          "See eventfd(2), epoll(7) and io_uring_register(2), ERRORS; a security module or a sandbox may forbid it"};
  }
}

setup_diagnosis diagnose_direct_table(int error, unsigned count, const machine_facts& machine) {
  const std::string asked =
      "A table of " + std::to_string(count) + " direct descriptors (executor_options::direct_descriptors)";
  switch (error) {
    case EMFILE:
      if (count > direct_slots_limit)
        return {asked + " is more than a ring may have, " + std::to_string(direct_slots_limit), "Ask for fewer"};
      return {
          asked + " counts as that many open files, and this process may have no more than " +
              (machine.nofile_count ? std::to_string(*machine.nofile_count) : std::string{"the system"}) +
              " (RLIMIT_NOFILE)",
          "Ask for fewer, or raise the limit: ulimit -n, a nofile line in /etc/security/limits.conf, LimitNOFILE= in "
          "a systemd unit"};
    case ENOMEM:
      return {asked + " finds no memory in the kernel", cure_by_memory};
    default:
      return {asked + " is refused by this kernel, Linux " + machine.kernel_release +
                  ", or by what stands in for it: io_uring_register(2), IORING_REGISTER_FILES2",
              "Leave out executor_options::direct_descriptors, and use plain descriptors"};
  }
}

setup_diagnosis diagnose_buffer_table(int error, unsigned count, const machine_facts& machine) {
  const std::string asked =
      "A table of " + std::to_string(count) + " registered buffers (executor_options::registered_buffers)";
  if (error == ENOMEM) return {asked + " finds no memory in the kernel", cure_by_memory};
  if (error == EINVAL && count > buffer_slots_limit)
    return {asked + " is more than a ring may have, " + std::to_string(buffer_slots_limit),
            "Ask for fewer: parts of one registered buffer are used like buffers of their own"};
  return {asked + " is refused by this kernel, Linux " + machine.kernel_release +
              ", or by what stands in for it: io_uring_register(2), IORING_REGISTER_BUFFERS2, Linux 5.19 where it is "
              "sparse",
          "Leave out executor_options::registered_buffers, and use plain memory"};
}

std::string shortfall_notes(const ring_request& request, const ring_parameters& granted, const machine_facts& machine) {
  std::string notes;
  const auto note = [&](const std::string& sentence) { notes += (notes.empty() ? "" : " ") + sentence + '.'; };

  if (!(granted.flags & (IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_SQPOLL))) {
    note(
        "No IORING_SETUP_DEFER_TASKRUN: the kernel interrupts the executor to finish its operations, which costs time. "
        "Linux "
        "6.1 has it, this is " +
        machine.kernel_release);
  }
  if (!(granted.flags & IORING_SETUP_SINGLE_ISSUER)) note("No IORING_SETUP_SINGLE_ISSUER: Linux 6.0 has it");

  if (request.completions == completions_by::hybrid_polls && !(granted.flags & hybrid_iopoll)) {
    note("Devices are polled without a pause: IORING_SETUP_HYBRID_IOPOLL is in Linux 6.13, this is " +
         machine.kernel_release);
  }

  const auto asked = first_attempt(request);
  if (granted.sq_entries < asked.sq_entries || granted.cq_entries < asked.cq_entries) {
    const auto limit = machine.memlock_bytes
                           ? "is " + quantity(*machine.memlock_bytes) + " for all processes of this user"
                           : std::string{"is unlimited, so memory itself is short"};
    note("The ring has " + entries(granted.sq_entries, granted.cq_entries) + " instead of " +
         entries(asked.sq_entries, asked.cq_entries) + ": memory was refused (RLIMIT_MEMLOCK " + limit +
         "; ulimit -l)");
  }
  if (request.sq_entries > sq_entries_limit || request.cq_entries > cq_entries_limit) {
    note("A ring has at most " + entries(sq_entries_limit, cq_entries_limit));
  }
  if (request.cq_entries < 2 * asked.sq_entries) {
    note("Completion entries were raised to twice the submission entries");
  }
  return notes;
}

bool kernel_is_at_least(int major, int minor) noexcept {
  utsname name{};
  return ::uname(&name) == 0 && !older_than(static_cast<const char*>(name.release), major, minor);
}

setup_error::setup_error(int error, setup_diagnosis diagnosis)
    : std::system_error{error, std::generic_category(), "io_uring_setup"} {
  auto text = "io_uring cannot be set up (" + std::generic_category().message(error) + "). " + diagnosis.cause + ". " +
              diagnosis.cure + '.';
  told_ = std::make_shared<const story>(story{std::move(diagnosis), std::move(text)});
}

namespace {

template <typename T>
std::optional<T> read_number(const char* path) {
  std::ifstream file{path};
  T number{};
  if (file >> number) return number;
  return std::nullopt;
}

// The value of "Name:   value" in /proc/self/status, or nothing.
std::string read_status(const std::string& name) {
  std::ifstream status{"/proc/thread-self/status"};
  std::string word;
  while (status >> word) {
    if (word == name + ':') {
      status >> word;
      return word;
    }
    status.ignore(std::numeric_limits<std::streamsize>::max(), '\n');
  }
  return {};
}

std::optional<unsigned long> read_limit(decltype(RLIMIT_NOFILE) resource) {
  rlimit limit{};
  if (getrlimit(resource, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY) return std::nullopt;
  return limit.rlim_cur;
}

}  // namespace

machine_facts read_machine_facts() {
  constexpr unsigned cap_ipc_lock = 14;  // include/uapi/linux/capability.h
  constexpr auto filtered = "2";         // proc_pid_status(5): SECCOMP_MODE_FILTER

  utsname name{};
  uname(&name);
  const auto capabilities = read_status("CapEff");

  machine_facts machine;
  machine.kernel_release = static_cast<const char*>(name.release);
  machine.io_uring_disabled = read_number<int>("/proc/sys/kernel/io_uring_disabled");
  machine.io_uring_group = read_number<long>("/proc/sys/kernel/io_uring_group");
  machine.seccomp_filtered = read_status("Seccomp") == filtered;
  machine.may_lock_any_memory =
      !capabilities.empty() && ((std::strtoull(capabilities.c_str(), nullptr, 16) >> cap_ipc_lock) & 1) != 0;
  machine.memlock_bytes = read_limit(RLIMIT_MEMLOCK);
  machine.nofile_count = read_limit(RLIMIT_NOFILE);
  return machine;
}

namespace {

// Walks down until the kernel says yes; afterwards `asked` is what it said yes to. Returns 0 or the last errno. Before
// it asks for a smaller ring it waits for the memory of rings that are closing: this program's, and those of the one
// before it.
int walk_down(::io_uring& ring, const ring_request& request, ring_parameters& asked) {
  const auto patience_ends = std::chrono::steady_clock::now() + memory_wait_max;
  for (;;) {
    io_uring_params params{};
    params.flags = asked.flags | (request.only_opcodes.empty() ? 0U : IORING_SETUP_R_DISABLED);
    params.cq_entries = asked.cq_entries;
    if (request.sqpoll) {
      params.sq_thread_idle = request.sqpoll->idle_ms;
      params.sq_thread_cpu = request.sqpoll->cpu.value_or(0);
    }
    const int error = -io_uring_queue_init_params(asked.sq_entries, &ring, &params);  // io_uring_queue_init_params(3)
    if (error == 0) return 0;
    if (error == ENOMEM && std::chrono::steady_clock::now() < patience_ends) {
      std::this_thread::sleep_for(memory_wait_step);
      continue;
    }

    const auto next = next_attempt(error, asked);
    if (!next) return error;
    asked = *next;
  }
}

// A filter may allow io_uring_setup() and forbid io_uring_enter(): better told now than by the first operation.
int try_to_enter(const ::io_uring& ring) {
  return std::max(0, -io_uring_enter(static_cast<unsigned>(ring.ring_fd), 0, 0, 0, nullptr));
}

int keep_workers_on(::io_uring& ring, const std::vector<unsigned>& cpus) {
  cpu_set_t chosen;
  CPU_ZERO(&chosen);
  for (const unsigned cpu : cpus) {
    if (cpu >= CPU_SETSIZE) return -EINVAL;
    CPU_SET(cpu, &chosen);
  }
  return io_uring_register_iowq_aff(&ring, sizeof chosen, &chosen);
}

int poll_network(::io_uring& ring, const napi_request& request) {
  napi_registration napi{};
  napi.busy_poll_to = request.busy_poll_usec;
  napi.prefer_busy_poll = request.prefer_busy_poll ? 1 : 0;
  napi.op_param = request.static_tracking ? 1 : 0;
  return io_uring_register(static_cast<unsigned>(ring.ring_fd), IORING_REGISTER_NAPI, &napi, 1);
}

}  // namespace

std::string min_wait_note(unsigned features) {
  if ((features & IORING_FEAT_MIN_TIMEOUT) != 0) return {};
  return "min_wait is not in force, each completion ends a sleep: IORING_FEAT_MIN_TIMEOUT is in Linux 6.12";
}

int track_napi_id(::io_uring& ring, unsigned id, bool on) noexcept {
  napi_registration napi{};
  napi.opcode = on ? 1 : 2;
  napi.op_param = id;
  return io_uring_register(static_cast<unsigned>(ring.ring_fd), IORING_REGISTER_NAPI, &napi, 1);
}

namespace {

// The niceties: a ring works without them, so a refusal is a note.
void tune(::io_uring& ring, const ring_request& request, ring_report& report) {
  const auto note = [&](int error, const std::string& sentence) {
    report.notes += (report.notes.empty() ? "" : " ") + sentence + " (" + std::generic_category().message(error) + ").";
  };

  const int registered = io_uring_register_ring_fd(&ring);  // io_uring_register_ring_fd(3): the count, here 1
  report.ring_registered = registered == 1;
  if (registered < 0)
    note(-registered, "The ring's descriptor could not be registered, each io_uring_enter() looks it up");

  std::array workers{request.iowq_bounded_workers_max, request.iowq_unbounded_workers_max};
  const int limited = io_uring_register_iowq_max_workers(&ring, workers.data());
  report.workers_limited = limited == 0;
  if (limited < 0) note(-limited, "The number of the kernel's worker threads could not be limited");

  if (!request.iowq_cpus.empty()) {
    const int bound = keep_workers_on(ring, request.iowq_cpus);
    if (bound < 0)
      note(-bound,
           "iowq_cpus is not in force, the kernel's worker threads run anywhere: it names a CPU that this process "
           "may not use, or the kernel does not know it");
  }

  if (request.min_wait_usec > 0) {
    const std::string not_in_force = min_wait_note(report.features);
    report.min_wait = not_in_force.empty();
    if (!report.min_wait) note(EOPNOTSUPP, not_in_force);
  }

  if (request.napi.busy_poll_usec > 0) {
    const int polled = poll_network(ring, request.napi);
    if (polled < 0)
      note(-polled,
           "napi is not in force, no network device is polled: IORING_REGISTER_NAPI is in Linux 6.9, static "
           "tracking in 6.13, and CONFIG_NET_RX_BUSY_POLL is needed");
  }

  if (report.features & feature_no_iowait) {
    report.enter_flags = enter_no_iowait;
#if !IO_URING_CHECK_VERSION(2, 10)
    io_uring_set_iowait(&ring, false);
#endif
  }
}

// What an executor submits for itself, for its deadlines and cancels, its sleeps, and what its descriptors close by.
constexpr std::array own_opcodes{
    IORING_OP_NOP,          IORING_OP_POLL_ADD,     IORING_OP_TIMEOUT, IORING_OP_TIMEOUT_REMOVE,
    IORING_OP_ASYNC_CANCEL, IORING_OP_LINK_TIMEOUT, IORING_OP_CLOSE};

// What gyre registers by itself, or has types for; in their order, the newest last. Personalities are not among them.
constexpr unsigned own_registrations[] = {
    IORING_REGISTER_EVENTFD,        IORING_UNREGISTER_EVENTFD,   IORING_REGISTER_FILES_UPDATE,
    IORING_REGISTER_PROBE,          IORING_REGISTER_FILES2,      IORING_REGISTER_BUFFERS2,
    IORING_REGISTER_BUFFERS_UPDATE, IORING_REGISTER_IOWQ_AFF,    IORING_REGISTER_IOWQ_MAX_WORKERS,
    IORING_REGISTER_RING_FDS,       IORING_UNREGISTER_RING_FDS,  IORING_REGISTER_PBUF_RING,
    IORING_UNREGISTER_PBUF_RING,    IORING_REGISTER_SYNC_CANCEL, IORING_REGISTER_FILE_ALLOC_RANGE,
    IORING_REGISTER_PBUF_STATUS,    IORING_REGISTER_NAPI,        IORING_UNREGISTER_NAPI,
    IORING_REGISTER_CLONE_BUFFERS,  register_zcrx_ifq,           IORING_REGISTER_RESIZE_RINGS};

std::vector<io_uring_restriction> restrictions_to(const std::vector<unsigned>& opcodes) {
  std::vector<io_uring_restriction> all;
  const auto add = [&](unsigned what, unsigned which) {
    io_uring_restriction one{};
    one.opcode = static_cast<std::uint16_t>(what);
    one.sqe_op = static_cast<std::uint8_t>(which);
    all.push_back(one);
  };
  constexpr unsigned any_flags = 0x7f;  // IOSQE_FIXED_FILE to IOSQE_CQE_SKIP_SUCCESS
  add(IORING_RESTRICTION_SQE_FLAGS_ALLOWED, any_flags);
  for (const unsigned opcode : opcodes) add(IORING_RESTRICTION_SQE_OP, opcode);
  for (const auto opcode : own_opcodes) add(IORING_RESTRICTION_SQE_OP, opcode);
  for (const auto registration : own_registrations) add(IORING_RESTRICTION_REGISTER_OP, registration);
  return all;
}

// A kernel refuses all where it does not know one: so the newest registrations are left out, until it does. What is
// wrong with the opcodes it says in any case. Returns 0 or an errno.
int restrict_to(::io_uring& ring, const std::vector<unsigned>& opcodes) {
  if (std::ranges::any_of(opcodes, [](unsigned each) { return each > UINT8_MAX; })) return EINVAL;
  std::vector<io_uring_restriction> asked = restrictions_to(opcodes);
  int answer = 0;
  do {
    answer = io_uring_register_restrictions(&ring, asked.data(), static_cast<unsigned>(asked.size()));
    const bool may_know_fewer = answer == -EINVAL && asked.back().opcode == IORING_RESTRICTION_REGISTER_OP;
    if (!may_know_fewer) break;
    asked.pop_back();
  } while (true);
  if (answer == 0) answer = io_uring_enable_rings(&ring);
  return -std::min(answer, 0);
}

setup_diagnosis diagnose_restrictions(const machine_facts& machine) {
  return {"This kernel, Linux " + machine.kernel_release +
              ", does not restrict a ring to these opcodes (executor_options::only_opcodes): it knows one of them not, "
              "or no restrictions, which are in Linux 5.10",
          "Leave out what docs/operations.md shows to be newer, or the option"};
}

}  // namespace

ring_report set_up_ring(::io_uring& ring, const ring_request& request) {
  const auto wanted = first_attempt(request);
  auto asked = wanted;
  if (const int error = walk_down(ring, request, asked))
    throw setup_error{error, diagnose(error, asked, read_machine_facts())};

  if (const int error = request.only_opcodes.empty() ? 0 : restrict_to(ring, request.only_opcodes)) {
    io_uring_queue_exit(&ring);
    throw setup_error{error, diagnose_restrictions(read_machine_facts())};
  }
  int error = try_to_enter(ring);
  if (error == 0 && (ring.features & features_needed) != features_needed) error = EOPNOTSUPP;
  if (error != 0) {
    io_uring_queue_exit(&ring);
    throw setup_error{error, diagnose(error, asked, read_machine_facts())};
  }

  ring_report report;
  report.flags = ring.flags;
  report.features = ring.features;
  report.sq_entries = ring.sq.ring_entries;
  report.cq_entries = ring.cq.ring_entries;
  // Reading the facts opens files; where all is as asked, nothing is told of them.
  report.notes = shortfall_notes(request, asked, asked == wanted ? machine_facts{} : read_machine_facts());
  tune(ring, request, report);
  return report;
}

}  // namespace gyre::detail
