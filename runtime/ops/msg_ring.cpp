// SPDX-License-Identifier: MIT
// How a message to another ring is described to the kernel, and what it looks like there.
#include <gyre/runtime/executor.hpp>
#include <gyre/runtime/ops/msg_ring.hpp>

#include <liburing.h>

namespace gyre::ops {

ring_message::ring_message(arrival_fn on_arrival) noexcept
    : completion_handler{&completed, /*on_submission=*/nullptr}, on_arrival_{on_arrival} {}

void ring_message::completed(completion_handler& self, std::int32_t res, std::uint32_t) noexcept {
  auto& arrived = static_cast<ring_message&>(self);
  arrived.on_arrival_(arrived, res);
}

// With F_MORE: an executor takes the completion for one of a request that goes on, and misses none of its own.
msg_ring::msg_ring(executor& other, ring_message& message, std::int32_t number) noexcept
    : operation_of{opcode},
      ring_{other.ring().descriptor()},
      user_data_{detail::tagged(message)},
      res_{number},
      cqe_flags_{IORING_CQE_F_MORE} {}

void msg_ring::prepare(operation& self, io_uring_sqe& sqe) noexcept {  // io_uring_prep_msg_ring_cqe_flags(3)
  auto& op = static_cast<msg_ring&>(self);
  const auto res = static_cast<unsigned>(op.res_);
  if (op.cqe_flags_ == 0) io_uring_prep_msg_ring(&sqe, op.ring_.get(), res, op.user_data_, 0);
  else io_uring_prep_msg_ring_cqe_flags(&sqe, op.ring_.get(), res, op.user_data_, 0, op.cqe_flags_);
}

// A worker takes it where the other ring's thread is in the midst of it.
constinit const operation_kind msg_ring::opcode{"msg_ring", &msg_ring::prepare, runs_in::worker,
                                                &describe_fd<&msg_ring::ring_>};

}  // namespace gyre::ops
