// SPDX-License-Identifier: MIT
// What the kernel under us can do: asked, and where asking does not tell, tried on a small ring.
//
// Facts only. What they mean for a user of gyre is told by capabilities.hpp.
#pragma once

#include <gyre/runtime/detail/ring_setup.hpp>

#include <optional>

namespace gyre::detail {

/// One yes or no per facility. The comment is the first kernel that has it.
struct kernel_probe {
  std::optional<setup_diagnosis> refused;       // why an executor gets no ring; then nothing below counts
  ring_report ring;                             // what an executor gets that asks as probe_kernel() was asked
  unsigned opcodes_count = 0;                   // of requests, IORING_REGISTER_PROBE
  std::optional<unsigned> registrations_count;  // opcodes of io_uring_register(2), IORING_REGISTER_QUERY: 6.18

  bool deferred_task_work = false;      // 6.1   IORING_SETUP_DEFER_TASKRUN
  bool registered_ring = false;         // 5.18  IORING_REGISTER_RING_FDS
  bool bounded_workers = false;         // 5.15  IORING_REGISTER_IOWQ_MAX_WORKERS
  bool no_iowait = false;               // 6.15  IORING_FEAT_NO_IOWAIT
  bool eventfd = false;                 // 5.2   IORING_REGISTER_EVENTFD
  bool eventfd_toggle = false;          // 5.8   IORING_CQ_EVENTFD_DISABLED
  bool eventfd_async = false;           // 5.6   IORING_REGISTER_EVENTFD_ASYNC
  bool cancel = false;                  // 5.5   IORING_OP_ASYNC_CANCEL
  bool cancel_all = false;              // 5.19  IORING_ASYNC_CANCEL_ALL, _FD, _FD_FIXED, _ANY
  bool cancel_by_opcode = false;        // 6.6   IORING_ASYNC_CANCEL_OP
  bool cancel_sync = false;             // 6.0   IORING_REGISTER_SYNC_CANCEL
  bool timeout = false;                 // 5.4   IORING_OP_TIMEOUT
  bool timeout_multishot = false;       // 6.4   IORING_TIMEOUT_MULTISHOT
  bool link_timeout = false;            // 5.5   IORING_OP_LINK_TIMEOUT
  bool links = false;                   // 5.3   IOSQE_IO_LINK, _HARDLINK, _DRAIN
  bool skipped_completions = false;     // 5.17  IORING_FEAT_CQE_SKIP
  bool wide_entries = false;            // 5.19  IORING_SETUP_SQE128
  bool wide_completions = false;        // 5.19  IORING_SETUP_CQE32
  bool accept_multishot = false;        // 5.19  IORING_ACCEPT_MULTISHOT
  bool receive_multishot = false;       // 6.0   IORING_RECV_MULTISHOT
  bool read_multishot = false;          // 6.7   IORING_OP_READ_MULTISHOT
  bool send_zero_copy = false;          // 6.1   IORING_OP_SEND_ZC, _SENDMSG_ZC
  bool send_zero_copy_report = false;   // 6.2   IORING_SEND_ZC_REPORT_USAGE
  bool receive_zero_copy = false;       // 6.15  IORING_OP_RECV_ZC
  bool buffer_rings = false;            // 5.19  IORING_REGISTER_PBUF_RING
  bool buffer_rings_partial = false;    // 6.12  IOU_PBUF_RING_INC
  bool bundles = false;                 // 6.10  IORING_FEAT_RECVSEND_BUNDLE
  bool registered_buffers = false;      // 5.19  IORING_REGISTER_BUFFERS2, sparse
  bool registered_vectors = false;      // 6.15  IORING_OP_READV_FIXED, _WRITEV_FIXED
  bool cloned_buffers = false;          // 6.13  IORING_REGISTER_CLONE_BUFFERS, of some
  bool direct_descriptors = false;      // 6.0   IORING_REGISTER_FILES2, sparse; IORING_REGISTER_FILE_ALLOC_RANGE
  bool direct_descriptors_out = false;  // 6.8   IORING_OP_FIXED_FD_INSTALL
  bool messages = false;                // 5.18  IORING_OP_MSG_RING
  bool messages_from_outside = false;   // 6.13  IORING_REGISTER_SEND_MSG_RING
  bool personalities = false;           // 5.6   IORING_REGISTER_PERSONALITY
  bool restrictions = false;            // 5.10  IORING_REGISTER_RESTRICTIONS
  bool wait_clock = false;              // 6.12  IORING_REGISTER_CLOCK
  bool wait_regions = false;            // 6.13  IORING_REGISTER_MEM_REGION
  bool futex = false;                   // 6.7   IORING_OP_FUTEX_WAIT, _WAKE, _WAITV
  bool process_wait = false;            // 6.7   IORING_OP_WAITID
  bool epoll_control = false;           // 5.6   IORING_OP_EPOLL_CTL
  bool epoll_wait = false;              // 6.15  IORING_OP_EPOLL_WAIT
  bool truncation = false;              // 6.9   IORING_OP_FTRUNCATE
  bool pipes = false;                   // 6.16  IORING_OP_PIPE
  bool submission_thread = false;       // 5.11  IORING_SETUP_SQPOLL, unprivileged
  bool busy_completions = false;        // 5.1   IORING_SETUP_IOPOLL
  bool hybrid_completions = false;      // 6.13  IORING_SETUP_HYBRID_IOPOLL
  bool worker_cpus = false;             // 5.14  IORING_REGISTER_IOWQ_AFF
  bool resizing = false;                // 6.13  IORING_REGISTER_RESIZE_RINGS
  bool minimum_wait = false;            // 6.12  IORING_FEAT_MIN_TIMEOUT
  bool network_busy_poll = false;       // 6.9   IORING_REGISTER_NAPI
};

/// Asks the kernel, by setting up a few rings and trying things on them that have no effect outside.
///
/// @param executor_ring  What an executor would ask for: the answer says whether, and how much of it, it gets.
/// @return     What it can do. A ring that was refused is an answer (`refused`), not an error.
/// @errors     std::bad_alloc.
/// @threads    From any thread; the rings are gone when it returns. Their memory is given back to the memlock limit a
///             little later, as the kernel takes rings down in the background.
/// @source     io_uring_register(2), IORING_REGISTER_PROBE; kernel releases from the man pages' HISTORY and the
/// sources.
kernel_probe probe_kernel(const ring_request& executor_ring);

/// Tries to have a queue of a network device receive into memory of this process, and undoes it. Returns 0 or an errno:
/// ENODEV where there is no such device.
int try_zero_copy_receive(const char* interface, unsigned rx_queue) noexcept;

}  // namespace gyre::detail
