// SPDX-License-Identifier: MIT
// How messages are described to the kernel, and what it says of those that came.
#include <gyre/runtime/ops/message.hpp>

#include <liburing.h>

#include <utility>

namespace gyre::ops {

::msghdr header_of(const outgoing_message& message) noexcept {
  ::msghdr header{};
  header.msg_name = const_cast<::sockaddr*>(message.to);
  header.msg_namelen = message.to_size;
  header.msg_iov = const_cast<::iovec*>(message.parts.data());
  header.msg_iovlen = message.parts.size();
  header.msg_control = const_cast<std::byte*>(message.control.data());
  header.msg_controllen = message.control.size();
  return header;
}

namespace {

::msghdr header_of(const incoming_message& message) noexcept {
  ::msghdr header{};
  header.msg_name = message.from;
  header.msg_namelen = message.from != nullptr ? sizeof *message.from : 0;
  header.msg_iov = const_cast<::iovec*>(message.parts.data());
  header.msg_iovlen = message.parts.size();
  header.msg_control = message.control.data();
  header.msg_controllen = message.control.size();
  return header;
}

std::uint16_t how(first_step first) noexcept { return first == first_step::poll ? IORING_RECVSEND_POLL_FIRST : 0; }

std::vector<unique_fd> own_descriptors(std::span<const std::byte> control) {
  std::size_t count = 0;
  for_each_descriptor(control, [&](int) { ++count; });
  std::vector<unique_fd> owned;
  try {
    owned.reserve(count);
  } catch (...) {
    for_each_descriptor(control, [](int fd) { unique_fd{fd}.reset(); });
    throw;
  }
  for_each_descriptor(control, [&](int fd) { owned.emplace_back(fd); });
  return owned;
}

}  // namespace

sendmsg::sendmsg(fd_ref socket, const outgoing_message& message, int flags, first_step first) noexcept
    : operation_of{opcode}, socket_{socket}, flags_{flags}, first_{first}, header_{header_of(message)} {}

void sendmsg::prepare(operation& self, io_uring_sqe& sqe) noexcept {  // io_uring_prep_sendmsg(3)
  auto& op = static_cast<sendmsg&>(self);
  io_uring_prep_sendmsg(&sqe, op.socket_.in(sqe), &op.header_, static_cast<unsigned>(op.flags_ | MSG_NOSIGNAL));
  sqe.ioprio = how(op.first_);
}
constinit const operation_kind sendmsg::opcode{"sendmsg", &sendmsg::prepare, runs_in::ring,
                                               &describe_fd<&sendmsg::socket_>};

recvmsg::recvmsg(fd_ref socket, const incoming_message& message, int flags, first_step first) noexcept
    : operation_of{opcode}, socket_{socket}, flags_{flags}, first_{first}, header_{header_of(message)} {}

// The kernel writes into the header what came: so it stands here, and not with whoever lent it.
void recvmsg::prepare(operation& self, io_uring_sqe& sqe) noexcept {  // io_uring_prep_recvmsg(3)
  auto& op = static_cast<recvmsg&>(self);
  io_uring_prep_recvmsg(&sqe, op.socket_.in(sqe), &op.header_, static_cast<unsigned>(op.flags_ | MSG_CMSG_CLOEXEC));
  sqe.ioprio = how(op.first_);
}

received_message recvmsg::value() {
  const std::span control{static_cast<const std::byte*>(header_.msg_control), header_.msg_controllen};
  return {.bytes = static_cast<std::size_t>(res()),
          .from_size = header_.msg_name != nullptr ? header_.msg_namelen : 0,
          .control = control,
          .flags = header_.msg_flags & ~MSG_CMSG_CLOEXEC,
          .descriptors = own_descriptors(control)};
}
constinit const operation_kind recvmsg::opcode{"recvmsg", &recvmsg::prepare, runs_in::ring,
                                               &describe_fd<&recvmsg::socket_>};

}  // namespace gyre::ops
