// SPDX-License-Identifier: MIT
// How a send without a copy is described to the kernel, and what its two completions mean.
#include <gyre/runtime/ops/transfer.hpp>
#include <gyre/runtime/ops/zero_copy.hpp>

#include <liburing.h>

#include <algorithm>

namespace gyre::ops {
namespace {

// In the entry's ioprio.
unsigned how(const zero_copy_options& options) noexcept {
  return (options.first == first_step::poll ? IORING_RECVSEND_POLL_FIRST : 0U) |
         (options.report_usage ? IORING_SEND_ZC_REPORT_USAGE : 0U);
}

}  // namespace

std::int32_t zero_copy_answer::note(const detail::completion::answer& part) noexcept {
  const bool is_notification = (part.flags & IORING_CQE_F_NOTIF) != 0;
  if (!is_notification) return res_ = part.res;
  copied_ = (static_cast<std::uint32_t>(part.res) & IORING_NOTIF_USAGE_ZC_COPIED) != 0;
  return res_;
}

zero_copy_sent zero_copy_answer::sent(bool report_usage) const noexcept {
  zero_copy_sent told{.bytes = static_cast<std::size_t>(res_), .copied = std::nullopt};
  if (report_usage) told.copied = copied_;
  return told;
}

void send_zc::prepare(operation& self, io_uring_sqe& sqe) noexcept {  // io_uring_prep_send_zc(3)
  auto& op = static_cast<send_zc&>(self);
  op.expect_notification();
  io_uring_prep_send_zc(&sqe, op.socket_.in(sqe), op.bytes_.data(), op.bytes_.plain_size(),
                        op.options_.flags | MSG_NOSIGNAL, how(op.options_));
  if (op.bytes_.mark(sqe, IORING_OP_SEND_ZC)) sqe.ioprio |= IORING_RECVSEND_FIXED_BUF;
  const auto to_size = std::min<::socklen_t>(op.to_size_, UINT16_MAX);  // see sendto
  if (op.to_ != nullptr) io_uring_prep_send_set_addr(&sqe, op.to_, static_cast<std::uint16_t>(to_size));
  op.require_opcode(sqe);
}
std::int32_t send_zc::note(operation& self, const detail::completion::answer& part) noexcept {
  return static_cast<send_zc&>(self).answer_.note(part);
}
constinit const operation_kind send_zc::opcode{
    "send_zc", &send_zc::prepare, runs_in::ring, &describe_fd<&send_zc::socket_>, nullptr, "6.0", &send_zc::note};

void sendmsg_zc::prepare(operation& self, io_uring_sqe& sqe) noexcept {  // io_uring_prep_sendmsg_zc(3)
  auto& op = static_cast<sendmsg_zc&>(self);
  op.expect_notification();
  io_uring_prep_sendmsg_zc(&sqe, op.socket_.in(sqe), &op.header_,
                           static_cast<unsigned>(op.options_.flags | MSG_NOSIGNAL));
  sqe.ioprio = static_cast<std::uint16_t>(how(op.options_));
  op.require_opcode(sqe);
}
std::int32_t sendmsg_zc::note(operation& self, const detail::completion::answer& part) noexcept {
  return static_cast<sendmsg_zc&>(self).answer_.note(part);
}
constinit const operation_kind sendmsg_zc::opcode{
    "sendmsg_zc", &sendmsg_zc::prepare, runs_in::ring, &describe_fd<&sendmsg_zc::socket_>, nullptr,
    "6.1",        &sendmsg_zc::note};

}  // namespace gyre::ops
