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
  static_cast<void>(arrived.sent_count_.load(std::memory_order_acquire));
  arrived.on_arrival_(arrived, res);
}

msg_ring::msg_ring(executor& other, ring_message& message, std::int32_t number) noexcept
    : operation_of{opcode},
      ring_{other.ring().descriptor()},
      user_data_{detail::tagged(message)},
      res_{number},
      message_{&message} {}

// To an executor with F_MORE: it takes the completion for one of a request that goes on, and misses none of its own.
void msg_ring::prepare(operation& self, io_uring_sqe& sqe) noexcept {  // io_uring_prep_msg_ring_cqe_flags(3)
  auto& op = static_cast<msg_ring&>(self);
  const auto res = static_cast<unsigned>(op.res_);
  if (op.message_ == nullptr) return io_uring_prep_msg_ring(&sqe, op.ring_.in(sqe), res, op.user_data_, 0);
  op.message_->sent_count_.fetch_add(1, std::memory_order_release);
  io_uring_prep_msg_ring_cqe_flags(&sqe, op.ring_.in(sqe), res, op.user_data_, 0, IORING_CQE_F_MORE);
}

result<void> send_message_without_ring(executor& other, ring_message& message, std::int32_t number) noexcept {
  const int its_ring = other.ring().descriptor();  // the last look at it: who receives the message may end it
  message.sent_count_.fetch_add(1, std::memory_order_release);
  const int error = gyre::detail::post_to_ring(
      its_ring, {.user_data = detail::tagged(message), .res = number, .flags = IORING_CQE_F_MORE});
  if (error != 0) return gyre::detail::errno_code(error);
  return {};
}

// A worker takes it where the other ring's thread is in the midst of it.
constinit const operation_kind msg_ring::opcode{"msg_ring", &msg_ring::prepare, runs_in::worker,
                                                &describe_fd<&msg_ring::ring_>};

}  // namespace gyre::ops
