// SPDX-License-Identifier: MIT
// How reads and writes of several parts are described to the kernel.
#include <gyre/net/parts.hpp>
#include <gyre/runtime/error.hpp>

#include <liburing.h>
#include <limits.h>

#include <cstdint>
#include <numeric>

namespace gyre::net {
namespace {

static_assert(parts_max == IOV_MAX);

// A failure that the kernel does not call one: bytes were left to move, and none did.
constexpr std::int32_t nothing_moved = INT32_MIN;

// What of the parts goes into one request. A msghdr knows no const; what it is for says who writes.
::msghdr header_of(std::span<const ::iovec> parts) noexcept {
  ::msghdr made{};
  made.msg_iov = const_cast<::iovec*>(parts.data());
  made.msg_iovlen = std::min(parts.size(), parts_max);
  return made;
}

std::size_t bytes_of(std::span<const ::iovec> parts) noexcept {
  return std::accumulate(parts.begin(), parts.end(), std::size_t{0},
                         [](std::size_t sum, const ::iovec& each) { return sum + each.iov_len; });
}

}  // namespace

recv_parts::recv_parts(fd_ref socket, std::span<const ::iovec> parts) noexcept
    : operation_of{opcode}, socket_{socket}, header_{header_of(parts)} {}

void recv_parts::prepare(operation& self, io_uring_sqe& sqe) noexcept {  // io_uring_prep_recvmsg(3)
  auto& op = static_cast<recv_parts&>(self);
  io_uring_prep_recvmsg(&sqe, op.socket_.in(sqe), &op.header_, MSG_CMSG_CLOEXEC);
}
constinit const operation_kind recv_parts::opcode{"recv_parts", &recv_parts::prepare, runs_in::ring,
                                                  &describe_fd<&recv_parts::socket_>};

send_parts::send_parts(fd_ref socket, std::span<const ::iovec> parts) noexcept
    : operation_of{opcode}, socket_{socket}, header_{header_of(parts)} {}

void send_parts::prepare(operation& self, io_uring_sqe& sqe) noexcept {  // io_uring_prep_sendmsg(3)
  auto& op = static_cast<send_parts&>(self);
  io_uring_prep_sendmsg(&sqe, op.socket_.in(sqe), &op.header_, MSG_NOSIGNAL);
}
constinit const operation_kind send_parts::opcode{"send_parts", &send_parts::prepare, runs_in::ring,
                                                  &describe_fd<&send_parts::socket_>};

send_all_parts::send_all_parts(fd_ref socket, std::span<const ::iovec> parts) noexcept
    : operation_of{opcode}, socket_{socket}, rest_{parts}, left_bytes_{bytes_of(parts)} {
  pass(0);
}

// With MSG_WAITALL the kernel goes on by itself where the socket took a part. What it left is one that went half way,
// which is then sent alone: the caller's array is not written to, and a copy of it would have to be somewhere.
void send_all_parts::prepare(operation& self, io_uring_sqe& sqe) noexcept {  // io_uring_prep_sendmsg(3)
  auto& op = static_cast<send_all_parts&>(self);
  if (op.left_bytes_ == 0) return io_uring_prep_nop(&sqe);
  const bool goes_on_with_one = op.begun_.iov_len > 0;
  const std::span<const ::iovec> now = goes_on_with_one ? std::span<const ::iovec>{&op.begun_, 1} : op.rest_;
  const bool is_the_last = goes_on_with_one ? op.begun_.iov_len == op.left_bytes_ : now.size() <= parts_max;
  op.expect(is_the_last ? op.left_bytes_ : SIZE_MAX);
  op.header_ = header_of(now);
  io_uring_prep_sendmsg(&sqe, op.socket_.in(sqe), &op.header_, MSG_NOSIGNAL | MSG_WAITALL);
}
constinit const operation_kind send_all_parts::opcode{"send_all_parts", &send_all_parts::prepare, runs_in::ring,
                                                      &describe_fd<&send_all_parts::socket_>, &send_all_parts::advance};

bool send_all_parts::advance(operation& self) noexcept {
  auto& op = static_cast<send_all_parts&>(self);
  op.pass(static_cast<std::size_t>(op.res()));
  if (op.left_bytes_ == 0) return false;
  if (op.res() > 0) return true;
  op.set_res(nothing_moved);  // a stream socket that takes nothing and says no error is not spun on
  return false;
}

// Empty parts are passed as well, so that no request is made of nothing but these.
void send_all_parts::pass(std::size_t bytes) noexcept {
  sent_bytes_ += bytes;
  left_bytes_ -= bytes;
  const std::size_t of_begun = std::min(bytes, begun_.iov_len);
  begun_ = {static_cast<std::byte*>(begun_.iov_base) + of_begun, begun_.iov_len - of_begun};
  bytes -= of_begun;
  if (begun_.iov_len > 0) return;
  while (!rest_.empty() && rest_.front().iov_len <= bytes) {
    bytes -= rest_.front().iov_len;
    rest_ = rest_.subspan(1);
  }
  if (bytes == 0) return;
  begun_ = {static_cast<std::byte*>(rest_.front().iov_base) + bytes, rest_.front().iov_len - bytes};
  rest_ = rest_.subspan(1);
}

std::error_code send_all_parts::failure() const noexcept {
  return res() == nothing_moved ? make_error_code(errc::no_progress) : error();
}

void send_all_parts::fail() const { throw transfer_error{failure(), sent_bytes_, "send_all_parts"}; }

}  // namespace gyre::net
