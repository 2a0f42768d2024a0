// SPDX-License-Identifier: MIT
// The ring that every floor stands on: liburing alone, set up as an executor sets up its own.
//
// A floor with fewer fast options than gyre would flatter gyre: the flags follow runtime/detail/ring_setup.cpp, the
// sizes the defaults of runtime/executor.hpp. NO_SQARRAY is not in the list because liburing adds it by itself where
// the kernel has it.
#pragma once

#include "die.hpp"

#include <liburing.h>

#include <cerrno>

namespace bench {

class raw_ring {
 public:
  explicit raw_ring(unsigned sq_entries = 512, unsigned cq_entries = 8192) {
    io_uring_params params{};
    params.flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_TASKRUN_FLAG |
                   IORING_SETUP_SUBMIT_ALL | IORING_SETUP_CQSIZE | IORING_SETUP_CLAMP;
    params.cq_entries = cq_entries;
    if (const int rc = io_uring_queue_init_params(sq_entries, &ring_, &params); rc < 0) die("io_uring_setup", -rc);
    // Saves a look-up of the descriptor in each system call: 18 % of a lone nop.
    if (const int rc = io_uring_register_ring_fd(&ring_); rc != 1) die("io_uring_register_ring_fd", -rc);
  }
  ~raw_ring() { io_uring_queue_exit(&ring_); }
  raw_ring(const raw_ring&) = delete;
  raw_ring& operator=(const raw_ring&) = delete;

  io_uring* get() noexcept { return &ring_; }

  // The next free entry. A full queue is handed to the kernel first.
  io_uring_sqe* next_sqe() {
    if (io_uring_sqe* sqe = io_uring_get_sqe(&ring_)) return sqe;
    if (const int rc = io_uring_submit(&ring_); rc < 0) die("io_uring_submit", -rc);
    io_uring_sqe* sqe = io_uring_get_sqe(&ring_);
    if (sqe == nullptr) die("io_uring_get_sqe", EBUSY);
    return sqe;
  }

  // Hands over what is queued and sleeps until `completions` have arrived.
  void submit_and_wait(unsigned completions) {
    const int rc = io_uring_submit_and_wait(&ring_, completions);
    if (rc < 0 && rc != -EINTR && rc != -EAGAIN && rc != -EBUSY) die("io_uring_submit_and_wait", -rc);
  }

 private:
  io_uring ring_{};
};

}  // namespace bench
