// SPDX-License-Identifier: MIT
// The table of facilities, in words for users; detail/ring_probe has the facts.
#include <gyre/runtime/capabilities.hpp>

#include <gyre/runtime/detail/ring_probe.hpp>
#include <gyre/runtime/detail/zero_copy_ring.hpp>
#include <gyre/runtime/executor.hpp>

#include <fstream>
#include <string_view>
#include <utility>

namespace gyre {
namespace {

using detail::kernel_probe;

// What a facility is for. A row whose `used` is empty is one that gyre does not use: `missing` says why. Whoever makes
// use of it fills in both sentences here, in the same commit.
struct row {
  std::string_view name;
  std::string_view since;
  bool kernel_probe::* available;
  std::string_view used;     // what a program has from it
  std::string_view missing;  // what happens where it is missing
};

constexpr row rows[] = {
    {"eventfd notification", "5.2", &kernel_probe::eventfd,
     "an idle executor sleeps on its eventfd, and other threads wake it", "no executor can sleep"},
    {"eventfd on and off", "5.8", &kernel_probe::eventfd_toggle, "a busy executor is spared its own notifications",
     "a busy executor pays for notifications that nobody needs"},
    {"eventfd for workers only", "5.6", &kernel_probe::eventfd_async, "",
     "gyre does not use it: what sockets and pipes complete would wake nobody"},
    {"deferred task work", "6.1", &kernel_probe::deferred_task_work,
     "completions are finished when the executor asks, in batches",
     "the kernel interrupts the executor to finish completions: slower, otherwise the same"},
    {"registered ring descriptor", "5.18", &kernel_probe::registered_ring, "each system call is spared a look-up",
     "each system call looks the ring up: slower, otherwise the same"},
    {"limited worker threads", "5.15", &kernel_probe::bounded_workers,
     "blocking requests take a bounded number of kernel threads", "a burst of blocking requests is a burst of threads"},
    {"waiting is not I/O wait", "6.15", &kernel_probe::no_iowait, "an idle executor shows as idle",
     "tools may show a CPU on which an executor sleeps as 100 % iowait; it is idle"},
    {"cancel an operation", "5.5", &kernel_probe::cancel, "scopes, timeouts and shutdown end what is in flight",
     "nothing that is in flight can be stopped"},
    {"cancel all of a descriptor", "5.19", &kernel_probe::cancel_all,
     "ops::cancel_fd ends all that waits for a descriptor", "ops::cancel_fd is refused"},
    {"cancel by opcode", "6.6", &kernel_probe::cancel_by_opcode,
     "ops::cancel_opcode ends all that waits for the same thing", "ops::cancel_opcode is refused"},
    {"cancel and wait", "6.0", &kernel_probe::cancel_sync, "executor::cancel_sync empties a descriptor at teardown",
     "executor::cancel_sync is refused"},
    {"timeouts", "5.4", &kernel_probe::timeout, "sleeps and deadlines on the boot clock and the system clock",
     "no sleep and no deadline on these clocks"},
    {"repeating timeouts", "6.4", &kernel_probe::timeout_multishot, "ops::timeout_stream ticks by one request",
     "ops::timeout_stream is refused; gyre::interval does without"},
    {"linked timeouts", "5.5", &kernel_probe::link_timeout,
     "a short with_timeout on one operation is kept by the kernel", "with_timeout on one operation is refused"},
    {"links and drains", "5.3", &kernel_probe::links, "an operation and its linked timeout go in together",
     "with_timeout on one operation is refused"},
    {"completions only on failure", "5.17", &kernel_probe::skipped_completions,
     "a cancel that worked costs no completion", "gyre does not run"},
    {"128-byte entries", "5.19", &kernel_probe::wide_entries,
     "executor_options::big_entries: ops::raw_command, which drivers and file systems take commands by",
     "an executor with executor_options::big_entries is refused"},
    {"32-byte completions", "5.19", &kernel_probe::wide_completions,
     "executor_options::big_entries: the second result of ops::raw_command, and a zero_copy_queue",
     "an executor with executor_options::big_entries is refused"},
    {"multishot accept", "5.19", &kernel_probe::accept_multishot, "one request takes many connections",
     "ops::accept_stream is refused; accept one by one"},
    {"multishot receive", "6.0", &kernel_probe::receive_multishot,
     "ops::recv_stream and ops::recvmsg_stream: one request brings all that comes",
     "ops::recv_stream and ops::recvmsg_stream are refused; ops::recv_leased does without"},
    {"multishot read", "6.7", &kernel_probe::read_multishot, "ops::read_stream: one request brings all that comes",
     "ops::read_stream is refused; ops::read_leased does without"},
    {"zero-copy send", "6.1", &kernel_probe::send_zero_copy,
     "ops::send_zc and ops::sendmsg_zc have the network device read the program's memory",
     "ops::send_zc and ops::sendmsg_zc are refused; ops::send copies"},
    {"zero-copy usage report", "6.2", &kernel_probe::send_zero_copy_report,
     "zero-copy sends say whether the kernel copied after all", "zero_copy_options::report_usage is refused"},
    {"zero-copy receive", "6.15", &kernel_probe::receive_zero_copy,
     "ops::recv_zc_stream takes packets where a network device has put them, if its driver can",
     "a zero_copy_queue is refused; a buffer_pool receives with a copy"},
    {"provided buffer rings", "5.19", &kernel_probe::buffer_rings, "buffer_pool: connections that wait hold no buffer",
     "a buffer_pool is refused; lend a buffer to each receive"},
    {"buffers used bit by bit", "6.12", &kernel_probe::buffer_rings_partial,
     "buffer_pool_options::incremental: many messages share a buffer; from 6.16 on",
     "buffer_pool_options::incremental is not in force: a buffer for each message"},
    {"bundles of buffers", "6.10", &kernel_probe::bundles,
     "ops::recv_bundle_stream: one completion for many buffers; from 6.16 on",
     "ops::recv_bundle_stream gives one buffer at a time"},
    {"registered buffers", "5.19", &kernel_probe::registered_buffers,
     "executor_options::registered_buffers: reads and writes of registered memory are spared the look-up of its pages",
     "an executor with executor_options::registered_buffers is refused"},
    {"readv and writev of registered buffers", "6.15", &kernel_probe::registered_vectors,
     "ops::readv and ops::writev take pieces of a registered buffer",
     "ops::readv and ops::writev take plain memory only"},
    {"registered buffers of another ring", "6.13", &kernel_probe::cloned_buffers,
     "executors of one thread share registered memory that is pinned once",
     "each executor pins registered memory for itself, and counts it"},
    {"direct descriptors", "6.0", &kernel_probe::direct_descriptors,
     "executor_options::direct_descriptors: files in a table of one executor's, sent to another by the kernel",
     "an executor with executor_options::direct_descriptors may be refused; plain descriptors do without"},
    {"direct to plain descriptor", "6.8", &kernel_probe::direct_descriptors_out,
     "ops::to_plain makes a plain descriptor of a direct one", "ops::to_plain is refused"},
    {"messages between rings", "5.18", &kernel_probe::messages,
     "ops::msg_ring puts a completion into another ring, and since 6.3 into another executor's",
     "ops::msg_ring is refused; executor::post does without"},
    {"messages without a ring", "6.13", &kernel_probe::messages_from_outside,
     "ops::send_message_without_ring reaches an executor from any thread",
     "ops::send_message_without_ring is refused; executor::post does without"},
    {"personalities", "5.6", &kernel_probe::personalities,
     "with_personality runs an operation by the rights of another time", "a personality is refused"},
    {"restrictions", "5.10", &kernel_probe::restrictions,
     "executor_options::only_opcodes: a ring takes what it lists, and nothing else",
     "an executor with executor_options::only_opcodes is refused"},
    {"clock of waits", "6.12", &kernel_probe::wait_clock, "",
     "gyre does not use it: timers of other clocks have requests of their own, and a sleep goes by the steady clock"},
    {"registered wait regions", "6.13", &kernel_probe::wait_regions, "",
     "gyre does not use it: the time of a wait costs less than it would save to hand over"},
    {"futex wait and wake", "6.7", &kernel_probe::futex,
     "sync::mutex and sync::condition_variable wait in the kernel for other threads and processes",
     "a mutex that another thread holds is looked at again each millisecond"},
    {"waiting for a process", "6.7", &kernel_probe::process_wait, "ops::waitid waits for a child process",
     "ops::waitid is refused; ops::poll of a pidfd, and waitid(2) that does not wait, do without"},
    {"epoll_ctl", "5.6", &kernel_probe::epoll_control, "ops::epoll_ctl changes an epoll set of somebody else's",
     "ops::epoll_ctl is refused; epoll_ctl(2) does without"},
    {"epoll_wait", "6.15", &kernel_probe::epoll_wait, "ops::epoll_wait waits for an epoll set of somebody else's",
     "ops::epoll_wait is refused; ops::poll of the set, and epoll_wait(2) that does not wait, do without"},
    {"making a file shorter or longer", "6.9", &kernel_probe::truncation, "ops::ftruncate does not block the executor",
     "ops::ftruncate is refused; offload() of ftruncate(2) does without"},
    {"making a pipe", "6.16", &kernel_probe::pipes, "ops::pipe makes a pipe, ops::pipe_direct of direct descriptors",
     "ops::pipe is refused; pipe2(2), and ops::to_direct, do without"},
    {"submission thread (SQPOLL)", "5.11", &kernel_probe::submission_thread,
     "executor_options::sqpoll: submitting costs no system call, and a CPU for the thread that does it",
     "an executor with executor_options::sqpoll is refused"},
    {"polled devices (IOPOLL)", "5.1", &kernel_probe::busy_completions,
     "executor_options::iopoll: an executor asks devices that can be polled, instead of being interrupted",
     "an executor with executor_options::iopoll is refused"},
    {"polled with a pause (hybrid)", "6.13", &kernel_probe::hybrid_completions,
     "iopoll_mode::hybrid sleeps for half of the time that a request takes",
     "iopoll_mode::hybrid polls without a pause"},
    {"ring resize", "6.13", &kernel_probe::resizing,
     "executor_options::sq_entries_max, cq_entries_max: a ring that proves too small grows",
     "a ring keeps its size, whatever executor_options::sq_entries_max and cq_entries_max say"},
    {"minimum wait", "6.12", &kernel_probe::minimum_wait,
     "executor_options::min_wait: a sleep in the ring takes several completions",
     "executor_options::min_wait is not in force: each completion ends a sleep"},
    {"network busy poll (NAPI)", "6.9", &kernel_probe::network_busy_poll,
     "executor_options::napi: a wait in the ring polls the network device first",
     "executor_options::napi is not in force: network devices interrupt"},
    {"CPUs of worker threads", "5.14", &kernel_probe::worker_cpus,
     "executor_options::iowq_cpus: blocking requests keep off the other CPUs",
     "executor_options::iowq_cpus is not in force: the kernel's workers run anywhere"},
};

capabilities::facility describe(const row& row, const kernel_probe& probe) {
  capabilities::facility facility;
  facility.name = row.name;
  facility.since = row.since;
  facility.available = probe.*row.available;
  facility.used = !row.used.empty();
  facility.consequence = facility.available && facility.used ? row.used : row.missing;
  return facility;
}

// What an executor with default options asks for.
detail::ring_request executor_ring() {
  const executor_options defaults;
  return {.sq_entries = defaults.sq_entries,
          .cq_entries = defaults.cq_entries,
          .iowq_bounded_workers_max = defaults.iowq_bounded_workers_max,
          .iowq_unbounded_workers_max = defaults.iowq_unbounded_workers_max};
}

// What a ring counts for in RLIMIT_MEMLOCK: 64 bytes a submission, 16 a completion, and a page for the queues' heads.
std::string locked_kib(const detail::ring_request& ring) {
  return std::to_string((ring.sq_entries * 64 + ring.cq_entries * 16) / 1024 + 4) + " KiB";
}

capabilities::limit memlock(const detail::machine_facts& machine, const detail::ring_request& ring) {
  auto value =
      machine.memlock_bytes ? std::to_string(*machine.memlock_bytes / 1024) + " KiB" : std::string{"unlimited"};
  if (machine.may_lock_any_memory) value += " (this process is exempt: CAP_IPC_LOCK)";
  return {
      "memlock", std::move(value),
      "The rings and registered buffers of all processes of a user count; an executor's ring takes " + locked_kib(ring),
      "ulimit -l, a memlock line in /etc/security/limits.conf, LimitMEMLOCK= in a systemd unit, docker run --ulimit "
      "memlock=-1"};
}

capabilities::limit nofile(const detail::machine_facts& machine) {
  return {"nofile", machine.nofile_count ? std::to_string(*machine.nofile_count) : "unlimited",
          "Each connection and each open file is one; an executor takes two",
          "ulimit -n, a nofile line in /etc/security/limits.conf, LimitNOFILE= in a systemd unit"};
}

capabilities::limit max_map_count() {
  std::string value{"unknown"};
  std::ifstream{"/proc/sys/vm/max_map_count"} >> value;
  return {"max_map_count", std::move(value), "Memory maps of a process; an executor takes two",
          "as root: sysctl vm.max_map_count=..., and a line in /etc/sysctl.d/ to keep it"};
}

}  // namespace

std::optional<capabilities::refusal> capabilities::zero_copy_receive_refusal(const std::string& interface,
                                                                             unsigned rx_queue) {
  const int error = detail::try_zero_copy_receive(interface.c_str(), rx_queue);
  if (error == 0) return std::nullopt;
  detail::setup_diagnosis why = detail::diagnose_receive_queue(error, interface);
  return refusal{std::move(why.cause), std::move(why.cure)};
}

capabilities capabilities::query() {
  const auto machine = detail::read_machine_facts();
  const auto wanted = executor_ring();
  auto probe = detail::probe_kernel(wanted);

  capabilities found;
  found.kernel_release = machine.kernel_release;
  found.limits = {memlock(machine, wanted), nofile(machine), max_map_count()};
  if (probe.refused) {
    found.refused = {std::move(probe.refused->cause), std::move(probe.refused->cure)};
    return found;
  }
  found.opcodes_count = probe.opcodes_count;
  found.registrations_count = probe.registrations_count;
  found.ring_notes = std::move(probe.ring.notes);
  for (const auto& row : rows) found.facilities.push_back(describe(row, probe));
  return found;
}

}  // namespace gyre
