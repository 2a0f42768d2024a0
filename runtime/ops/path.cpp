// SPDX-License-Identifier: MIT
// How the operations on names are described to the kernel.
#include <gyre/runtime/ops/path.hpp>

#include <liburing.h>
#include <linux/openat2.h>

namespace gyre::ops {

void openat::prepare(operation& self, io_uring_sqe& sqe) noexcept {  // io_uring_prep_openat(3)
  auto& op = static_cast<openat&>(self);
  io_uring_prep_openat(&sqe, op.directory_.get(), op.path_, op.flags_ | O_CLOEXEC, op.mode_);
}
constinit const operation_kind openat::opcode{"openat", &openat::prepare, runs_in::worker,
                                              &describe_fd<&openat::directory_>};

openat2::openat2(fd_ref directory, const char* path, int flags, std::uint64_t resolve, ::mode_t mode) noexcept
    : operation_of{opcode},
      directory_{directory},
      path_{path},
      how_{.flags = static_cast<std::uint64_t>(flags | O_CLOEXEC), .mode = mode, .resolve = resolve} {}

void openat2::prepare(operation& self, io_uring_sqe& sqe) noexcept {  // io_uring_prep_openat2(3)
  auto& op = static_cast<openat2&>(self);
  static_assert(sizeof(op.how_) == sizeof(open_how));
  io_uring_prep_openat2(&sqe, op.directory_.get(), op.path_, reinterpret_cast<open_how*>(&op.how_));
}
constinit const operation_kind openat2::opcode{"openat2", &openat2::prepare, runs_in::worker,
                                               &describe_fd<&openat2::directory_>};

void statx::prepare(operation& self, io_uring_sqe& sqe) noexcept {  // io_uring_prep_statx(3)
  auto& op = static_cast<statx&>(self);
  io_uring_prep_statx(&sqe, op.directory_.get(), op.path_, op.flags_, op.mask_, &op.found_);
}
constinit const operation_kind statx::opcode{"statx", &statx::prepare, runs_in::worker,
                                             &describe_fd<&statx::directory_>};

void unlinkat::prepare(operation& self, io_uring_sqe& sqe) noexcept {  // io_uring_prep_unlinkat(3)
  auto& op = static_cast<unlinkat&>(self);
  io_uring_prep_unlinkat(&sqe, op.directory_.get(), op.path_, op.flags_);
}
constinit const operation_kind unlinkat::opcode{"unlinkat", &unlinkat::prepare, runs_in::worker,
                                                &describe_fd<&unlinkat::directory_>};

}  // namespace gyre::ops
