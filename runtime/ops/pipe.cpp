// SPDX-License-Identifier: MIT
// How making pipes and moving bytes through them is described to the kernel.
#include <gyre/runtime/ops/pipe.hpp>

#include <fcntl.h>
#include <liburing.h>

namespace gyre::ops {
namespace {

constexpr int op_pipe = 62;  // IORING_OP_PIPE, which liburing 2.9 lacks

// What io_uring_prep_pipe_direct(3) of later ones writes; slot 0 is for plain descriptors.
void prepare_pipe(io_uring_sqe& sqe, std::array<int, 2>& ends, int flags, unsigned slot) noexcept {
  io_uring_prep_rw(op_pipe, &sqe, 0, ends.data(), 0, 0);
  sqe.rw_flags = flags;  // pipe_flags
  sqe.file_index = slot;
}

// What is read from stands in a place of its own, and so does the mark that it is a direct one.
void put_source(io_uring_sqe& sqe, fd_ref from) noexcept {
  sqe.splice_fd_in = from.is_direct() ? from.slot() : from.get();
  if (from.is_direct()) sqe.splice_flags |= SPLICE_F_FD_IN_FIXED;
  else sqe.splice_flags &= ~SPLICE_F_FD_IN_FIXED;
}

}  // namespace

void splice::prepare(operation& self, io_uring_sqe& sqe) noexcept {  // io_uring_prep_splice(3)
  auto& op = static_cast<splice&>(self);
  io_uring_prep_splice(&sqe, -1, static_cast<std::int64_t>(op.from_offset_), op.to_.in(sqe),
                       static_cast<std::int64_t>(op.to_offset_), op.bytes_count_, op.flags_);
  put_source(sqe, op.from_);
}
constinit const operation_kind splice::opcode{"splice", &splice::prepare, runs_in::worker,
                                              &describe_fd<&splice::from_>};

void tee::prepare(operation& self, io_uring_sqe& sqe) noexcept {  // io_uring_prep_tee(3)
  auto& op = static_cast<tee&>(self);
  io_uring_prep_tee(&sqe, -1, op.to_.in(sqe), op.bytes_count_, op.flags_);
  put_source(sqe, op.from_);
}
constinit const operation_kind tee::opcode{"tee", &tee::prepare, runs_in::worker, &describe_fd<&tee::from_>};

void pipe::prepare(operation& self, io_uring_sqe& sqe) noexcept {  // io_uring_prep_pipe(3)
  auto& op = static_cast<pipe&>(self);
  prepare_pipe(sqe, op.ends_, op.flags_ | O_CLOEXEC, 0);
  op.require_opcode(sqe);
}
constinit const operation_kind pipe::opcode{"pipe", &pipe::prepare, runs_in::ring, nullptr, nullptr, "6.16"};

void pipe_direct::prepare(operation& self, io_uring_sqe& sqe) noexcept {  // io_uring_prep_pipe_direct(3)
  auto& op = static_cast<pipe_direct&>(self);
  prepare_pipe(sqe, op.ends_, op.flags_ & ~O_CLOEXEC, IORING_FILE_INDEX_ALLOC);
  op.require_opcode(sqe);
}
direct_pipe_ends pipe_direct::value() noexcept {
  return {gyre::detail::own_direct(loop(), ends_[0]), gyre::detail::own_direct(loop(), ends_[1])};
}
void pipe_direct::fail() const {
  gyre::detail::throw_if_no_slot(error(), name());
  throw_error();
}
constinit const operation_kind pipe_direct::opcode{
    "pipe_direct", &pipe_direct::prepare, runs_in::ring, nullptr, nullptr, "6.16"};

}  // namespace gyre::ops
