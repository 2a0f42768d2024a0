// SPDX-License-Identifier: MIT
// How advice is described to the kernel.
//
// A length that fits goes where all kernels look for it. Since Linux 6.11 there is a place for longer ones, which
// kernels before that want to be empty.
#include <gyre/runtime/ops/advise.hpp>

#include <liburing.h>

#include <limits>

namespace gyre::ops {
namespace {

bool fits(std::uint64_t length) noexcept { return length <= std::numeric_limits<std::uint32_t>::max(); }

}  // namespace

void fadvise::prepare(operation& self, io_uring_sqe& sqe) noexcept {  // io_uring_prep_fadvise(3)
  auto& op = static_cast<fadvise&>(self);
  const int fd = op.fd_.in(sqe);
  if (fits(op.length_)) io_uring_prep_fadvise(&sqe, fd, op.offset_, static_cast<std::uint32_t>(op.length_), op.advice_);
  else io_uring_prep_fadvise64(&sqe, fd, op.offset_, static_cast<::off_t>(op.length_), op.advice_);
}
constinit const operation_kind fadvise::opcode{"fadvise", &fadvise::prepare, runs_in::worker,
                                               &describe_fd<&fadvise::fd_>};

void madvise::prepare(operation& self, io_uring_sqe& sqe) noexcept {  // io_uring_prep_madvise(3)
  auto& op = static_cast<madvise&>(self);
  const std::size_t length = op.memory_.size();
  if (fits(length)) io_uring_prep_madvise(&sqe, op.memory_.data(), static_cast<std::uint32_t>(length), op.advice_);
  else io_uring_prep_madvise64(&sqe, op.memory_.data(), static_cast<::off_t>(length), op.advice_);
}
constinit const operation_kind madvise::opcode{"madvise", &madvise::prepare, runs_in::worker};

}  // namespace gyre::ops
