// SPDX-License-Identifier: MIT
// How the operations on open files are described to the kernel.
#include <gyre/runtime/detail/fixed_opcodes.hpp>
#include <gyre/runtime/detail/quiet_writes.hpp>
#include <gyre/runtime/ops/file.hpp>

#include <liburing.h>

#include <limits>

namespace gyre::ops {

void read::prepare(operation& self, io_uring_sqe& sqe) noexcept {  // io_uring_prep_read(3)
  auto& op = static_cast<read&>(self);
  gyre::detail::may_wait_for_eventfd();
  io_uring_prep_read(&sqe, op.fd_.in(sqe), op.buffer_.data(), op.buffer_.plain_size(), op.offset_);
  op.buffer_.mark(sqe, IORING_OP_READ_FIXED);
}
constinit const operation_kind read::opcode{"read", &read::prepare, runs_in::worker, &describe_fd<&read::fd_>};

void write::prepare(operation& self, io_uring_sqe& sqe) noexcept {  // io_uring_prep_write(3)
  auto& op = static_cast<write&>(self);
  gyre::detail::may_wait_for_eventfd();  // one that is full, until somebody reads it
  io_uring_prep_write(&sqe, op.fd_.in(sqe), op.bytes_.data(), op.bytes_.plain_size(), op.offset_);
  op.bytes_.mark(sqe, IORING_OP_WRITE_FIXED);
  sqe.rw_flags = gyre::detail::quiet_flags();
}
constinit const operation_kind write::opcode{"write", &write::prepare, runs_in::worker, &describe_fd<&write::fd_>};

std::error_code write::failure() const noexcept {
  gyre::detail::write_has_failed(res());
  return error();
}
void write::fail() const {
  gyre::detail::write_has_failed(res());
  throw_error();
}

void readv::prepare(operation& self, io_uring_sqe& sqe) noexcept {  // io_uring_prep_readv(3)
  auto& op = static_cast<readv&>(self);
  gyre::detail::may_wait_for_eventfd();
  io_uring_prep_readv(&sqe, op.fd_.in(sqe), op.buffers_.data(), op.buffers_.plain_count(), op.offset_);
  if (op.buffers_.mark(sqe, gyre::detail::op_readv_fixed)) op.require_opcode(sqe);
}
constinit const operation_kind readv::opcode{"readv", &readv::prepare, runs_in::worker, &describe_fd<&readv::fd_>,
                                             nullptr, "6.15"};

void writev::prepare(operation& self, io_uring_sqe& sqe) noexcept {  // io_uring_prep_writev(3)
  auto& op = static_cast<writev&>(self);
  gyre::detail::may_wait_for_eventfd();
  io_uring_prep_writev2(&sqe, op.fd_.in(sqe), op.buffers_.data(), op.buffers_.plain_count(), op.offset_,
                        gyre::detail::quiet_flags());
  if (op.buffers_.mark(sqe, gyre::detail::op_writev_fixed)) op.require_opcode(sqe);
}
constinit const operation_kind writev::opcode{
    "writev", &writev::prepare, runs_in::worker, &describe_fd<&writev::fd_>, nullptr, "6.15"};

std::error_code writev::failure() const noexcept {
  gyre::detail::write_has_failed(res());
  return error();
}
void writev::fail() const {
  gyre::detail::write_has_failed(res());
  throw_error();
}

void fsync::prepare(operation& self, io_uring_sqe& sqe) noexcept {  // io_uring_prep_fsync(3)
  auto& op = static_cast<fsync&>(self);
  io_uring_prep_fsync(&sqe, op.fd_.in(sqe), op.what_ == sync_what::data ? IORING_FSYNC_DATASYNC : 0);
}
constinit const operation_kind fsync::opcode{"fsync", &fsync::prepare, runs_in::worker, &describe_fd<&fsync::fd_>};

void sync_file_range::prepare(operation& self, io_uring_sqe& sqe) noexcept {  // io_uring_prep_sync_file_range(3)
  auto& op = static_cast<sync_file_range&>(self);
  const bool fits = op.length_ <= std::numeric_limits<unsigned>::max();
  const unsigned length = fits ? static_cast<unsigned>(op.length_) : 0;
  io_uring_prep_sync_file_range(&sqe, op.fd_.in(sqe), length, op.offset_, static_cast<int>(op.flags_));
}
constinit const operation_kind sync_file_range::opcode{"sync_file_range", &sync_file_range::prepare, runs_in::worker,
                                                       &describe_fd<&sync_file_range::fd_>};

void fallocate::prepare(operation& self, io_uring_sqe& sqe) noexcept {  // io_uring_prep_fallocate(3)
  auto& op = static_cast<fallocate&>(self);
  io_uring_prep_fallocate(&sqe, op.fd_.in(sqe), op.mode_, op.offset_, op.length_);
}
constinit const operation_kind fallocate::opcode{"fallocate", &fallocate::prepare, runs_in::worker,
                                                 &describe_fd<&fallocate::fd_>};

void ftruncate::prepare(operation& self, io_uring_sqe& sqe) noexcept {  // io_uring_prep_ftruncate(3)
  auto& op = static_cast<ftruncate&>(self);
  io_uring_prep_ftruncate(&sqe, op.fd_.in(sqe), static_cast<loff_t>(op.length_));
  op.require_opcode(sqe);
}
constinit const operation_kind ftruncate::opcode{
    "ftruncate", &ftruncate::prepare, runs_in::worker, &describe_fd<&ftruncate::fd_>, nullptr, "6.9"};

void close::prepare(operation& self, io_uring_sqe& sqe) noexcept {  // io_uring_prep_close(3)
  io_uring_prep_close(&sqe, static_cast<close&>(self).fd_.release());
}
constinit const operation_kind close::opcode{"close", &close::prepare, runs_in::worker_unasked};

}  // namespace gyre::ops
