// SPDX-License-Identifier: MIT
// How a socket's options, and what waits in it, are asked for: commands of the socket's own, IORING_OP_URING_CMD.
#include <gyre/runtime/ops/socket_option.hpp>

#include <liburing.h>

#include <algorithm>
#include <climits>

namespace gyre::ops {
namespace {

int size_of(std::span<const std::byte> value) noexcept {
  return static_cast<int>(std::min<std::size_t>(value.size(), INT_MAX));
}

}  // namespace

void socket_bytes_readable::prepare(operation& self, io_uring_sqe& sqe) noexcept {  // io_uring_prep_cmd_sock(3)
  auto& op = static_cast<socket_bytes_readable&>(self);
  io_uring_prep_cmd_sock(&sqe, SOCKET_URING_OP_SIOCINQ, op.socket_.in(sqe), 0, 0, nullptr, 0);
}
constinit const operation_kind socket_bytes_readable::opcode{"socket_bytes_readable", &socket_bytes_readable::prepare,
                                                             runs_in::ring,
                                                             &describe_fd<&socket_bytes_readable::socket_>};

void socket_bytes_unsent::prepare(operation& self, io_uring_sqe& sqe) noexcept {  // io_uring_prep_cmd_sock(3)
  auto& op = static_cast<socket_bytes_unsent&>(self);
  io_uring_prep_cmd_sock(&sqe, SOCKET_URING_OP_SIOCOUTQ, op.socket_.in(sqe), 0, 0, nullptr, 0);
}
constinit const operation_kind socket_bytes_unsent::opcode{"socket_bytes_unsent", &socket_bytes_unsent::prepare,
                                                           runs_in::ring, &describe_fd<&socket_bytes_unsent::socket_>};

void getsockopt::prepare(operation& self, io_uring_sqe& sqe) noexcept {  // io_uring_prep_cmd_sock(3)
  auto& op = static_cast<getsockopt&>(self);
  io_uring_prep_cmd_sock(&sqe, SOCKET_URING_OP_GETSOCKOPT, op.socket_.in(sqe), op.level_, op.name_, op.value_.data(),
                         size_of(op.value_));
}
constinit const operation_kind getsockopt::opcode{"getsockopt", &getsockopt::prepare, runs_in::ring,
                                                  &describe_fd<&getsockopt::socket_>};

void setsockopt::prepare(operation& self, io_uring_sqe& sqe) noexcept {  // io_uring_prep_cmd_sock(3)
  auto& op = static_cast<setsockopt&>(self);
  const auto value = op.own_bytes_ > 0 ? std::span<const std::byte>{op.own_}.first(op.own_bytes_) : op.value_;
  io_uring_prep_cmd_sock(&sqe, SOCKET_URING_OP_SETSOCKOPT, op.socket_.in(sqe), op.level_, op.name_,
                         const_cast<std::byte*>(value.data()), size_of(value));
}
constinit const operation_kind setsockopt::opcode{"setsockopt", &setsockopt::prepare, runs_in::ring,
                                                  &describe_fd<&setsockopt::socket_>};

}  // namespace gyre::ops
