// SPDX-License-Identifier: MIT
// Questions to the kernel: opcodes by IORING_REGISTER_PROBE, features by what set-up reports, the rest by trying.
//
// Trying means: give the kernel a request that a kernel with the facility refuses for another reason than one without.
// A descriptor of -1 does it mostly: flags are looked at first (EINVAL: unknown flag), the descriptor later (EBADF).
#include <gyre/runtime/detail/fixed_opcodes.hpp>
#include <gyre/runtime/detail/ring_probe.hpp>
#include <gyre/runtime/detail/zero_copy_ring.hpp>

#include <liburing.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

namespace gyre::detail {
namespace {

// Newer than liburing 2.9's header. Source: include/uapi/linux/io_uring.h, Linux 6.16.
constexpr unsigned feature_no_iowait = 1U << 17;    // IORING_FEAT_NO_IOWAIT
constexpr int op_epoll_wait = 59;                   // IORING_OP_EPOLL_WAIT
constexpr int op_pipe = 62;                         // IORING_OP_PIPE
constexpr unsigned setup_hybrid_iopoll = 1U << 17;  // IORING_SETUP_HYBRID_IOPOLL, Linux 6.13

constexpr unsigned register_send_msg_ring = 31;  // IORING_REGISTER_SEND_MSG_RING, Linux 6.13
constexpr unsigned register_query = 35;          // IORING_REGISTER_QUERY, Linux 6.18

// The same of Linux 6.18, include/uapi/linux/io_uring/query.h: struct io_uring_query_hdr, _query_opcode.
struct query_header {
  std::uint64_t next_entry;
  std::uint64_t query_data;
  std::uint32_t query_op;  // IO_URING_QUERY_OPCODES 0
  std::uint32_t size;
  std::int32_t result;
  std::uint32_t reserved[3];
};
struct query_opcodes {
  std::uint32_t nr_request_opcodes;
  std::uint32_t nr_register_opcodes;
  std::uint64_t feature_flags;
  std::uint64_t ring_setup_flags;
  std::uint64_t enter_flags;
  std::uint64_t sqe_flags;
  std::uint32_t nr_query_opcodes;
  std::uint32_t pad;
};

constexpr int no_descriptor = -1;

// A ring for trying things out: the smallest there is, and gone at the end of its block.
class trial_ring {
 public:
  explicit trial_ring(unsigned flags) {
    io_uring_params params{};
    params.flags = flags;
    is_up_ = io_uring_queue_init_params(4, &ring_, &params) == 0;
  }
  ~trial_ring() {
    if (is_up_) io_uring_queue_exit(&ring_);
  }
  trial_ring(const trial_ring&) = delete;
  trial_ring& operator=(const trial_ring&) = delete;

  bool is_up() const noexcept { return is_up_; }
  ::io_uring* get() noexcept { return &ring_; }

  // The result of one request, which must end at once. EPERM where requests cannot be submitted at all.
  template <typename Prepare>
  int result_of(Prepare prepare) {
    const auto number = ++submitted_count_;
    io_uring_sqe* sqe = io_uring_get_sqe(&ring_);
    if (sqe == nullptr) return -EPERM;  // an earlier one is still there: the kernel does not take them
    prepare(*sqe);
    sqe->user_data = number;

    for (;;) {
      io_uring_cqe* cqe = nullptr;
      if (io_uring_submit_and_wait(&ring_, 1) < 0 || io_uring_peek_cqe(&ring_, &cqe) < 0) return -EPERM;
      const bool is_answer = cqe->user_data == number;  // a zero-copy send's notification comes in addition
      const int result = cqe->res;
      io_uring_cqe_seen(&ring_, cqe);
      if (is_answer) return result;
    }
  }

 private:
  ::io_uring ring_{};
  bool is_up_ = false;
  std::uint64_t submitted_count_ = 0;
};

void ask_opcodes(trial_ring& ring, kernel_probe& answer) {
  const std::unique_ptr<io_uring_probe, void (*)(io_uring_probe*)> opcodes{io_uring_get_probe_ring(ring.get()),
                                                                           io_uring_free_probe};
  if (!opcodes) return;
  const auto has = [&](unsigned opcode) {
    return io_uring_opcode_supported(opcodes.get(), static_cast<int>(opcode)) != 0;
  };
  for (unsigned opcode = 0; opcode <= opcodes->last_op; ++opcode) answer.opcodes_count += has(opcode) ? 1 : 0;

  answer.cancel = has(IORING_OP_ASYNC_CANCEL);
  answer.timeout = has(IORING_OP_TIMEOUT);
  answer.link_timeout = has(IORING_OP_LINK_TIMEOUT);
  answer.links = answer.link_timeout;  // no flag of their own: links are older than the opcode that rests on them
  answer.read_multishot = has(IORING_OP_READ_MULTISHOT);
  answer.send_zero_copy = has(IORING_OP_SEND_ZC) && has(IORING_OP_SENDMSG_ZC);
  answer.direct_descriptors_out = has(IORING_OP_FIXED_FD_INSTALL);
  answer.messages = has(IORING_OP_MSG_RING);
  answer.futex = has(IORING_OP_FUTEX_WAIT) && has(IORING_OP_FUTEX_WAKE) && has(IORING_OP_FUTEX_WAITV);
  answer.process_wait = has(IORING_OP_WAITID);
  answer.epoll_control = has(IORING_OP_EPOLL_CTL);
  answer.epoll_wait = has(op_epoll_wait);
  answer.receive_zero_copy = has(op_recv_zc);
  answer.truncation = has(IORING_OP_FTRUNCATE);
  answer.pipes = has(op_pipe);
  answer.registered_vectors = has(op_readv_fixed) && has(op_writev_fixed);
}

void read_features(const ring_report& ring, kernel_probe& answer) {
  const auto has = [&](unsigned feature) { return (ring.features & feature) != 0; };

  answer.deferred_task_work = (ring.flags & IORING_SETUP_DEFER_TASKRUN) != 0;
  answer.registered_ring = ring.ring_registered;
  answer.bounded_workers = ring.workers_limited;
  answer.no_iowait = has(feature_no_iowait);
  answer.skipped_completions = has(IORING_FEAT_CQE_SKIP);
  answer.bundles = has(IORING_FEAT_RECVSEND_BUNDLE);
  answer.minimum_wait = has(IORING_FEAT_MIN_TIMEOUT);
}

// Without an eventfd to park on there is no executor, although there is a ring.
void try_eventfd(trial_ring& ring, kernel_probe& answer) {
  const int fd = eventfd(0, EFD_CLOEXEC);
  const int error = fd < 0 ? errno : -io_uring_register_eventfd(ring.get(), fd);
  answer.eventfd = error == 0;
  if (!answer.eventfd) {
    answer.refused = diagnose_eventfd(error, read_machine_facts());
    if (fd >= 0) close(fd);
    return;
  }
  io_uring_unregister_eventfd(ring.get());
  answer.eventfd_async = io_uring_register_eventfd_async(ring.get(), fd) == 0;
  if (answer.eventfd_async) io_uring_unregister_eventfd(ring.get());
  answer.eventfd_toggle = answer.eventfd && ring.get()->cq.kflags != nullptr;  // the word in which the flag is
  close(fd);
}

void try_cancel(trial_ring& ring, kernel_probe& answer) {
  const auto cancels = [&](unsigned flags) {
    return ring.result_of([&](io_uring_sqe& sqe) { io_uring_prep_cancel64(&sqe, 0, static_cast<int>(flags)); }) !=
           -EINVAL;
  };
  answer.cancel_all = answer.cancel && cancels(IORING_ASYNC_CANCEL_ALL | IORING_ASYNC_CANCEL_ANY);
  answer.cancel_by_opcode = answer.cancel && cancels(IORING_ASYNC_CANCEL_ALL | IORING_ASYNC_CANCEL_OP);

  io_uring_sync_cancel_reg nobody{};
  nobody.addr = ~0ULL;
  nobody.fd = no_descriptor;
  nobody.timeout = {-1, -1};
  answer.cancel_sync = io_uring_register_sync_cancel(ring.get(), &nobody) == -ENOENT;
}

void try_flags(trial_ring& ring, kernel_probe& answer) {
  const auto knows = [&](auto prepare) { return ring.result_of(prepare) == -EBADF; };

  answer.accept_multishot =
      knows([](io_uring_sqe& sqe) { io_uring_prep_multishot_accept(&sqe, no_descriptor, nullptr, nullptr, 0); });
  answer.receive_multishot = knows([](io_uring_sqe& sqe) {
    io_uring_prep_recv_multishot(&sqe, no_descriptor, nullptr, 0, 0);
    sqe.flags |= IOSQE_BUFFER_SELECT;
  });
  answer.send_zero_copy_report =
      answer.send_zero_copy && knows([](io_uring_sqe& sqe) {
        io_uring_prep_send_zc(&sqe, no_descriptor, nullptr, 0, 0, IORING_SEND_ZC_REPORT_USAGE);
      });

  __kernel_timespec at_once{};
  answer.timeout_multishot = ring.result_of([&](io_uring_sqe& sqe) {
    io_uring_prep_timeout(&sqe, &at_once, /*count=*/1, IORING_TIMEOUT_MULTISHOT);  // here the count is of repetitions
  }) == -ETIME;
}

void try_buffer_rings(trial_ring& ring, kernel_probe& answer) {
  const auto works = [&](unsigned flags) {
    constexpr unsigned entries_count = 1;
    constexpr int group = 0;
    int error = 0;
    auto* buffers = io_uring_setup_buf_ring(ring.get(), entries_count, group, flags, &error);
    if (buffers == nullptr) return false;
    io_uring_free_buf_ring(ring.get(), buffers, entries_count, group);
    return true;
  };
  answer.buffer_rings = works(0);
  answer.buffer_rings_partial = works(IOU_PBUF_RING_INC);
}

void try_registrations(trial_ring& ring, kernel_probe& answer) {
  answer.registered_buffers = io_uring_register_buffers_sparse(ring.get(), 1) == 0;
  answer.direct_descriptors =
      io_uring_register_files_sparse(ring.get(), 1) == 0 && io_uring_register_file_alloc_range(ring.get(), 0, 1) == 0;

  io_uring_napi napi{};
  answer.network_busy_poll = io_uring_register_napi(ring.get(), &napi) == 0;

  const auto fd = static_cast<unsigned>(ring.get()->ring_fd);
  struct io_uring_clone_buffers own{};
  own.src_fd = fd;
  own.flags = IORING_REGISTER_DST_REPLACE;
  own.nr = 1;
  answer.cloned_buffers = io_uring_register(fd, IORING_REGISTER_CLONE_BUFFERS, &own, 1) == 0;

  const int personality = io_uring_register_personality(ring.get());
  answer.personalities = personality > 0;
  if (answer.personalities) io_uring_unregister_personality(ring.get(), personality);

  io_uring_clock_register clock{};
  clock.clockid = CLOCK_MONOTONIC;
  answer.wait_clock = io_uring_register(fd, IORING_REGISTER_CLOCK, &clock, 0) == 0;

  // Some would have effects outside. A kernel that has them looks for what they are asked where there is no memory.
  auto* const nowhere = reinterpret_cast<void*>(1);  // NOLINT(performance-no-int-to-ptr)
  answer.wait_regions = io_uring_register(fd, IORING_REGISTER_MEM_REGION, nowhere, 1) == -EFAULT;
  answer.worker_cpus = io_uring_register(fd, IORING_REGISTER_IOWQ_AFF, nowhere, sizeof(long)) == -EFAULT;

  io_uring_params larger{};
  larger.sq_entries = 8;
  larger.cq_entries = 16;
  answer.resizing = io_uring_resize_rings(ring.get(), &larger) == 0;
}

void try_on(trial_ring& ring, kernel_probe& answer) {
  if (!ring.is_up()) return;
  try_eventfd(ring, answer);
  if (answer.refused) return;
  ask_opcodes(ring, answer);
  try_cancel(ring, answer);
  try_flags(ring, answer);
  try_buffer_rings(ring, answer);
  try_registrations(ring, answer);
}

// What no ring is needed for.
void try_without_ring(kernel_probe& answer) {
  constexpr auto no_ring = static_cast<unsigned>(-1);
  auto* const nowhere = reinterpret_cast<void*>(1);  // NOLINT(performance-no-int-to-ptr)
  answer.messages_from_outside = io_uring_register(no_ring, register_send_msg_ring, nowhere, 1) == -EFAULT;

  query_opcodes told{};
  query_header asked{};
  asked.query_data = reinterpret_cast<std::uint64_t>(&told);
  asked.size = sizeof told;
  if (io_uring_register(no_ring, register_query, &asked, 0) == 0 && asked.result >= 0)
    answer.registrations_count = told.nr_register_opcodes;
}

bool restricts(unsigned setup_flags) {
  trial_ring ring{setup_flags | IORING_SETUP_R_DISABLED};
  io_uring_restriction nop_only{};
  nop_only.opcode = IORING_RESTRICTION_SQE_OP;
  nop_only.sqe_op = IORING_OP_NOP;
  return ring.is_up() && io_uring_register_restrictions(ring.get(), &nop_only, 1) == 0;
}

bool grants(unsigned setup_flags) { return trial_ring{setup_flags}.is_up(); }

// Pages of this process alone, given back at the end of a block.
class trial_pages {
 public:
  explicit trial_pages(std::size_t bytes) noexcept
      : address_{::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)}, bytes_{bytes} {}
  ~trial_pages() {
    if (are_there()) ::munmap(address_, bytes_);
  }
  trial_pages(const trial_pages&) = delete;
  trial_pages& operator=(const trial_pages&) = delete;

  bool are_there() const noexcept { return address_ != MAP_FAILED; }
  std::span<std::byte> bytes() const noexcept { return {static_cast<std::byte*>(address_), bytes_}; }

 private:
  void* address_;
  std::size_t bytes_;
};

}  // namespace

int try_zero_copy_receive(const char* interface, unsigned rx_queue) noexcept {
  const trial_pages memory{1 << 20};
  const trial_pages refills{1 << 16};
  if (!memory.are_there() || !refills.are_there()) return ENOMEM;
  trial_ring ring{IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_CQE32};
  if (!ring.is_up()) return EINVAL;  // a kernel without these has no zero-copy receive either

  zero_copy_grant granted;
  return register_receive_queue(*ring.get(),
                                {.interface = interface,
                                 .rx_queue = rx_queue,
                                 .area = memory.bytes(),
                                 .refill_ring = refills.bytes(),
                                 .refill_entries = 64},
                                granted);
}

kernel_probe probe_kernel(const ring_request& executor_ring) {
  kernel_probe answer;
  try {
    ::io_uring ring;
    answer.ring = set_up_ring(ring, executor_ring);
    io_uring_queue_exit(&ring);
  } catch (const setup_error& error) {
    answer.refused = error.diagnosis();
    return answer;
  }

  read_features(answer.ring, answer);
  trial_ring ring{answer.ring.flags & (IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN)};
  try_on(ring, answer);
  try_without_ring(answer);
  answer.restrictions = restricts(0);
  answer.wide_entries = grants(IORING_SETUP_SQE128);
  answer.wide_completions = grants(IORING_SETUP_CQE32);
  answer.submission_thread = grants(IORING_SETUP_SQPOLL);
  answer.busy_completions = grants(IORING_SETUP_IOPOLL);
  answer.hybrid_completions = grants(IORING_SETUP_IOPOLL | setup_hybrid_iopoll);
  return answer;
}

}  // namespace gyre::detail
