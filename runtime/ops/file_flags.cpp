// SPDX-License-Identifier: MIT
// How reads and writes with flags are described to the kernel.
#include <gyre/runtime/detail/fixed_opcodes.hpp>
#include <gyre/runtime/detail/quiet_writes.hpp>
#include <gyre/runtime/ops/file_flags.hpp>

#include <liburing.h>

namespace gyre::ops {

#ifdef RWF_NOAPPEND
static_assert(rwf_noappend == RWF_NOAPPEND);
#endif
#ifdef RWF_ATOMIC
static_assert(rwf_atomic == RWF_ATOMIC);
#endif
#ifdef RWF_DONTCACHE
static_assert(rwf_dontcache == RWF_DONTCACHE);
#endif

void read2::prepare(operation& self, io_uring_sqe& sqe) noexcept {  // io_uring_prep_read(3)
  auto& op = static_cast<read2&>(self);
  gyre::detail::may_wait_for_eventfd();
  io_uring_prep_read(&sqe, op.fd_.in(sqe), op.buffer_.data(), op.buffer_.plain_size(), op.offset_);
  op.buffer_.mark(sqe, IORING_OP_READ_FIXED);
  sqe.rw_flags = static_cast<int>(op.flags_);
}
constinit const operation_kind read2::opcode{"read2", &read2::prepare, runs_in::worker, &describe_fd<&read2::fd_>};

void write2::prepare(operation& self, io_uring_sqe& sqe) noexcept {  // io_uring_prep_write(3)
  auto& op = static_cast<write2&>(self);
  gyre::detail::may_wait_for_eventfd();
  io_uring_prep_write(&sqe, op.fd_.in(sqe), op.bytes_.data(), op.bytes_.plain_size(), op.offset_);
  op.bytes_.mark(sqe, IORING_OP_WRITE_FIXED);
  sqe.rw_flags = static_cast<int>(op.flags_) | gyre::detail::quiet_flags();
}
constinit const operation_kind write2::opcode{"write2", &write2::prepare, runs_in::worker, &describe_fd<&write2::fd_>};

std::error_code write2::failure() const noexcept {
  gyre::detail::write_has_failed(res());
  return error();
}
void write2::fail() const {
  gyre::detail::write_has_failed(res());
  throw_error();
}

void readv2::prepare(operation& self, io_uring_sqe& sqe) noexcept {  // io_uring_prep_readv2(3)
  auto& op = static_cast<readv2&>(self);
  gyre::detail::may_wait_for_eventfd();
  io_uring_prep_readv2(&sqe, op.fd_.in(sqe), op.buffers_.data(), op.buffers_.plain_count(), op.offset_,
                       static_cast<int>(op.flags_));
  if (op.buffers_.mark(sqe, gyre::detail::op_readv_fixed)) op.require_opcode(sqe);
}
constinit const operation_kind readv2::opcode{
    "readv2", &readv2::prepare, runs_in::worker, &describe_fd<&readv2::fd_>, nullptr, "6.15"};

void writev2::prepare(operation& self, io_uring_sqe& sqe) noexcept {  // io_uring_prep_writev2(3)
  auto& op = static_cast<writev2&>(self);
  gyre::detail::may_wait_for_eventfd();
  io_uring_prep_writev2(&sqe, op.fd_.in(sqe), op.buffers_.data(), op.buffers_.plain_count(), op.offset_,
                        static_cast<int>(op.flags_) | gyre::detail::quiet_flags());
  if (op.buffers_.mark(sqe, gyre::detail::op_writev_fixed)) op.require_opcode(sqe);
}
constinit const operation_kind writev2::opcode{
    "writev2", &writev2::prepare, runs_in::worker, &describe_fd<&writev2::fd_>, nullptr, "6.15"};

std::error_code writev2::failure() const noexcept {
  gyre::detail::write_has_failed(res());
  return error();
}
void writev2::fail() const {
  gyre::detail::write_has_failed(res());
  throw_error();
}

}  // namespace gyre::ops
