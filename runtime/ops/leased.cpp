// SPDX-License-Identifier: MIT
// How operations that select a buffer are described to the kernel, and what they do with one that they got.
#include <gyre/runtime/error.hpp>
#include <gyre/runtime/ops/leased.hpp>

#include <liburing.h>

#include <cerrno>

namespace gyre {
namespace detail {

void buffer_choice::begin_in(io_uring_sqe& sqe) noexcept {
  GYRE_ASSERT(current_executor == &from_->loop(), "a buffer_pool serves the executor that it was made for");
  begun_ = true;
  from_->select_in(sqe);
  from_->single_begins();
}

// An error can come with a buffer: a read of a directory, or one that a worker was to do and that was stopped. So can
// an end that has no bytes. What the kernel never saw has no flags at all.
buffer_lease buffer_choice::take(std::int32_t res, std::uint32_t flags) noexcept {
  buffer_lease taken;
  if (!begun_) return taken;
  if (res > 0) taken = buffer_lease{*from_, from_->take(res, flags)};
  else from_->drop(res, flags);
  if (res == -ENOBUFS) from_->count_shortage();
  end();
  return taken;
}

}  // namespace detail

namespace ops {

void recv_leased::prepare(operation& self, io_uring_sqe& sqe) noexcept {  // io_uring_prep_recv(3)
  auto& op = static_cast<recv_leased&>(self);
  io_uring_prep_recv(&sqe, op.socket_.in(sqe), nullptr, 0, op.flags_);
  op.buffer_.begin_in(sqe);
}
constinit const operation_kind recv_leased::opcode{"recv_leased", &recv_leased::prepare, runs_in::ring,
                                                   &describe_fd<&recv_leased::socket_>};

std::error_code recv_leased::failure() noexcept {
  buffer_.take(res(), cqe_flags()).reset();
  return error();
}

void recv_leased::fail() {
  buffer_.take(res(), cqe_flags()).reset();
  throw_error();
}

void read_leased::prepare(operation& self, io_uring_sqe& sqe) noexcept {  // io_uring_prep_read(3)
  auto& op = static_cast<read_leased&>(self);
  if (op.buffer_.from().is_incremental()) {
    io_uring_prep_nop(&sqe);
    sqe.nop_flags = IORING_NOP_INJECT_RESULT;  // Linux 6.10, as incremental buffers are of 6.12
    sqe.len = static_cast<unsigned>(-EINVAL);
    return;
  }
  gyre::detail::may_wait_for_eventfd();
  io_uring_prep_read(&sqe, op.fd_.in(sqe), nullptr, 0, op.offset_);
  op.buffer_.begin_in(sqe);
}
constinit const operation_kind read_leased::opcode{"read_leased", &read_leased::prepare, runs_in::worker,
                                                   &describe_fd<&read_leased::fd_>};

std::error_code read_leased::failure() noexcept {
  buffer_.take(res(), cqe_flags()).reset();
  return error();
}

void read_leased::fail() {
  buffer_.take(res(), cqe_flags()).reset();
  throw_error();
}

}  // namespace ops
}  // namespace gyre
