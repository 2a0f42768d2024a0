// SPDX-License-Identifier: MIT
// How the operations on sockets are described to the kernel.
#include <gyre/runtime/ops/socket.hpp>

#include <liburing.h>

#include <algorithm>

namespace gyre::ops {
namespace {

// A failure that the kernel does not call one: bytes were left to move, and none did.
constexpr std::int32_t nothing_moved = INT32_MIN;

}  // namespace

using gyre::detail::one_transfer;

void socket::prepare(operation& self, io_uring_sqe& sqe) noexcept {  // io_uring_prep_socket(3)
  auto& op = static_cast<socket&>(self);
  io_uring_prep_socket(&sqe, op.domain_, op.type_ | SOCK_CLOEXEC, op.protocol_, 0);
}
constinit const operation_kind socket::opcode{"socket", &socket::prepare, runs_in::ring};

void accept::prepare(operation& self, io_uring_sqe& sqe) noexcept {  // io_uring_prep_accept(3)
  auto& op = static_cast<accept&>(self);
  io_uring_prep_accept(&sqe, op.listener_.in(sqe), op.peer_, op.peer_size_, SOCK_CLOEXEC);
}
constinit const operation_kind accept::opcode{"accept", &accept::prepare, runs_in::ring,
                                              &describe_fd<&accept::listener_>};

void connect::prepare(operation& self, io_uring_sqe& sqe) noexcept {  // io_uring_prep_connect(3)
  auto& op = static_cast<connect&>(self);
  io_uring_prep_connect(&sqe, op.socket_.in(sqe), op.address_, op.address_size_);
}
constinit const operation_kind connect::opcode{"connect", &connect::prepare, runs_in::ring,
                                               &describe_fd<&connect::socket_>};

void bind::prepare(operation& self, io_uring_sqe& sqe) noexcept {  // io_uring_prep_bind(3), which takes no const
  auto& op = static_cast<bind&>(self);
  io_uring_prep_bind(&sqe, op.socket_.in(sqe), const_cast<::sockaddr*>(op.address_), op.address_size_);
  op.require_opcode(sqe);
}
constinit const operation_kind bind::opcode{"bind",  &bind::prepare, runs_in::ring, &describe_fd<&bind::socket_>,
                                            nullptr, "6.11"};

void listen::prepare(operation& self, io_uring_sqe& sqe) noexcept {  // io_uring_prep_listen(3)
  auto& op = static_cast<listen&>(self);
  io_uring_prep_listen(&sqe, op.socket_.in(sqe), op.backlog_);
  op.require_opcode(sqe);
}
constinit const operation_kind listen::opcode{
    "listen", &listen::prepare, runs_in::ring, &describe_fd<&listen::socket_>, nullptr, "6.11"};

void recv::prepare(operation& self, io_uring_sqe& sqe) noexcept {  // io_uring_prep_recv(3)
  auto& op = static_cast<recv&>(self);
  io_uring_prep_recv(&sqe, op.socket_.in(sqe), op.buffer_, op.bytes_, op.flags_);
}
constinit const operation_kind recv::opcode{"recv", &recv::prepare, runs_in::ring, &describe_fd<&recv::socket_>};

void send::prepare(operation& self, io_uring_sqe& sqe) noexcept {  // io_uring_prep_send(3)
  auto& op = static_cast<send&>(self);
  io_uring_prep_send(&sqe, op.socket_.in(sqe), op.bytes_.data(), one_transfer(op.bytes_.size()),
                     op.flags_ | MSG_NOSIGNAL);
}
constinit const operation_kind send::opcode{"send", &send::prepare, runs_in::ring, &describe_fd<&send::socket_>};

void recv_poll_first::prepare(operation& self, io_uring_sqe& sqe) noexcept {  // io_uring_prep_recv(3)
  auto& op = static_cast<recv_poll_first&>(self);
  io_uring_prep_recv(&sqe, op.socket_.in(sqe), op.buffer_.data(), one_transfer(op.buffer_.size()), op.flags_);
  sqe.ioprio = IORING_RECVSEND_POLL_FIRST;
}
constinit const operation_kind recv_poll_first::opcode{"recv_poll_first", &recv_poll_first::prepare, runs_in::ring,
                                                       &describe_fd<&recv_poll_first::socket_>};

void send_poll_first::prepare(operation& self, io_uring_sqe& sqe) noexcept {  // io_uring_prep_send(3)
  auto& op = static_cast<send_poll_first&>(self);
  io_uring_prep_send(&sqe, op.socket_.in(sqe), op.bytes_.data(), one_transfer(op.bytes_.size()),
                     op.flags_ | MSG_NOSIGNAL);
  sqe.ioprio = IORING_RECVSEND_POLL_FIRST;
}
constinit const operation_kind send_poll_first::opcode{"send_poll_first", &send_poll_first::prepare, runs_in::ring,
                                                       &describe_fd<&send_poll_first::socket_>};

// The entry has 16 bits for an address's size: what is more than that is as wrong as the most that they can tell.
void sendto::prepare(operation& self, io_uring_sqe& sqe) noexcept {  // io_uring_prep_sendto(3)
  auto& op = static_cast<sendto&>(self);
  const auto to_size = std::min<::socklen_t>(op.to_size_, UINT16_MAX);
  io_uring_prep_sendto(&sqe, op.socket_.in(sqe), op.bytes_.data(), one_transfer(op.bytes_.size()),
                       op.flags_ | MSG_NOSIGNAL, op.to_, to_size);
}
constinit const operation_kind sendto::opcode{"sendto", &sendto::prepare, runs_in::ring,
                                              &describe_fd<&sendto::socket_>};

void send_all::prepare(
    operation& self, io_uring_sqe& sqe) noexcept {  // io_uring_prep_send(3), MSG_WAITALL: the kernel goes on by itself
  auto& op = static_cast<send_all&>(self);
  if (op.rest_.empty()) return io_uring_prep_nop(&sqe);
  const auto bytes = op.expect(op.rest_.size());
  io_uring_prep_send(&sqe, op.socket_.in(sqe), op.rest_.data(), bytes, MSG_NOSIGNAL | MSG_WAITALL);
}
constinit const operation_kind send_all::opcode{"send_all", &send_all::prepare, runs_in::ring,
                                                &describe_fd<&send_all::socket_>, &send_all::advance};

// MSG_WAITALL can still come back early: a signal, a cancel, or more bytes than one transfer moves.
bool send_all::advance(operation& self) noexcept {
  auto& op = static_cast<send_all&>(self);
  const auto sent_bytes = static_cast<std::size_t>(op.res());
  op.sent_bytes_ += sent_bytes;
  op.rest_ = op.rest_.subspan(sent_bytes);
  if (op.rest_.empty()) return false;
  if (op.res() > 0) return true;
  op.set_res(nothing_moved);  // a stream socket that takes nothing and says no error is not spun on
  return false;
}

std::error_code send_all::failure() const noexcept {
  return res() == nothing_moved ? make_error_code(errc::no_progress) : error();
}

// Not with MSG_WAITALL, by which the kernel goes on by itself: what stops it then is answered by the count of what had
// come before, and the socket has forgotten its error, so that a reset looks like an end. What came was all that was
// there, as a rule: so the rest is waited for before it is tried.
void recv_all::prepare(operation& self, io_uring_sqe& sqe) noexcept {  // io_uring_prep_recv(3)
  auto& op = static_cast<recv_all&>(self);
  if (op.rest_.empty()) return io_uring_prep_nop(&sqe);  // no bytes to move: do not wait for some
  const auto bytes = op.expect(op.rest_.size());
  io_uring_prep_recv(&sqe, op.socket_.in(sqe), op.rest_.data(), bytes, 0);
  if (op.received_bytes_ > 0) sqe.ioprio = IORING_RECVSEND_POLL_FIRST;
}
constinit const operation_kind recv_all::opcode{"recv_all", &recv_all::prepare, runs_in::ring,
                                                &describe_fd<&recv_all::socket_>, &recv_all::advance};

bool recv_all::advance(operation& self) noexcept {
  auto& op = static_cast<recv_all&>(self);
  const auto received_bytes = static_cast<std::size_t>(op.res());
  op.received_bytes_ += received_bytes;
  op.rest_ = op.rest_.subspan(received_bytes);
  if (op.rest_.empty()) return false;
  if (op.res() > 0) return true;
  op.set_res(nothing_moved);
  return false;
}

std::error_code recv_all::failure() const noexcept {
  return res() == nothing_moved ? make_error_code(errc::end_of_stream) : error();
}

void shutdown::prepare(operation& self, io_uring_sqe& sqe) noexcept {  // io_uring_prep_shutdown(3)
  auto& op = static_cast<shutdown&>(self);
  io_uring_prep_shutdown(&sqe, op.socket_.in(sqe), op.how_);
}
constinit const operation_kind shutdown::opcode{"shutdown", &shutdown::prepare, runs_in::worker,
                                                &describe_fd<&shutdown::socket_>};

}  // namespace gyre::ops
