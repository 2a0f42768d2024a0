// SPDX-License-Identifier: MIT
// How reading and writing extended attributes is described to the kernel.
#include <gyre/runtime/ops/xattr.hpp>

#include <liburing.h>

namespace gyre::ops {
namespace {

// The kernel has its own, smaller limit, and an error for what lies above it: no size may wrap around on the way there.
unsigned size_of(std::span<const std::byte> value) noexcept { return gyre::detail::one_transfer(value.size()); }

char* text_of(std::span<std::byte> buffer) noexcept { return reinterpret_cast<char*>(buffer.data()); }
const char* text_of(std::span<const std::byte> value) noexcept { return reinterpret_cast<const char*>(value.data()); }

}  // namespace

void getxattr::prepare(operation& self, io_uring_sqe& sqe) noexcept {  // io_uring_prep_getxattr(3)
  auto& op = static_cast<getxattr&>(self);
  io_uring_prep_getxattr(&sqe, op.name_, text_of(op.buffer_), op.path_, size_of(op.buffer_));
}
constinit const operation_kind getxattr::opcode{"getxattr", &getxattr::prepare, runs_in::worker};

void fgetxattr::prepare(operation& self, io_uring_sqe& sqe) noexcept {  // io_uring_prep_fgetxattr(3)
  auto& op = static_cast<fgetxattr&>(self);
  io_uring_prep_fgetxattr(&sqe, op.fd_.in(sqe), op.name_, text_of(op.buffer_), size_of(op.buffer_));
}
constinit const operation_kind fgetxattr::opcode{"fgetxattr", &fgetxattr::prepare, runs_in::worker,
                                                 &describe_fd<&fgetxattr::fd_>};

void setxattr::prepare(operation& self, io_uring_sqe& sqe) noexcept {  // io_uring_prep_setxattr(3)
  auto& op = static_cast<setxattr&>(self);
  io_uring_prep_setxattr(&sqe, op.name_, text_of(op.value_), op.path_, op.flags_, size_of(op.value_));
}
constinit const operation_kind setxattr::opcode{"setxattr", &setxattr::prepare, runs_in::worker};

void fsetxattr::prepare(operation& self, io_uring_sqe& sqe) noexcept {  // io_uring_prep_fsetxattr(3)
  auto& op = static_cast<fsetxattr&>(self);
  io_uring_prep_fsetxattr(&sqe, op.fd_.in(sqe), op.name_, text_of(op.value_), op.flags_, size_of(op.value_));
}
constinit const operation_kind fsetxattr::opcode{"fsetxattr", &fsetxattr::prepare, runs_in::worker,
                                                 &describe_fd<&fsetxattr::fd_>};

}  // namespace gyre::ops
