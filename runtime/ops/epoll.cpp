// SPDX-License-Identifier: MIT
// How changing an epoll set and waiting for it is described to the kernel.
#include <gyre/runtime/ops/epoll.hpp>

#include <liburing.h>

#include <algorithm>
#include <climits>

namespace gyre::ops {
namespace {

constexpr int op_epoll_wait = 59;  // IORING_OP_EPOLL_WAIT, which liburing 2.9 lacks

// More places than the kernel wants to hear of; it uses as many as there are events.
constexpr std::size_t events_max = INT_MAX / sizeof(::epoll_event);  // eventpoll.c, EP_MAX_EVENTS

}  // namespace

// The kernel looks both numbers up in the process's table, whatever the entry's flags say.
void epoll_ctl::prepare(operation& self, io_uring_sqe& sqe) noexcept {  // io_uring_prep_epoll_ctl(3)
  auto& op = static_cast<epoll_ctl&>(self);
  io_uring_prep_epoll_ctl(&sqe, op.set_.get(), op.fd_.get(), op.change_, &op.events_);
}
void epoll_ctl::fail() const {
  gyre::detail::throw_if_direct(set_, error(), name());
  gyre::detail::throw_if_direct(fd_, error(), name());
  throw_error();
}
constinit const operation_kind epoll_ctl::opcode{"epoll_ctl", &epoll_ctl::prepare, runs_in::worker,
                                                 &describe_fd<&epoll_ctl::set_>};

void epoll_wait::prepare(operation& self, io_uring_sqe& sqe) noexcept {  // io_uring_prep_epoll_wait(3)
  auto& op = static_cast<epoll_wait&>(self);
  gyre::detail::may_wait_for_eventfd();  // one that is in the set
  const auto places = static_cast<unsigned>(std::min(op.events_.size(), events_max));
  io_uring_prep_rw(op_epoll_wait, &sqe, op.set_.in(sqe), op.events_.data(), places, 0);
  op.require_opcode(sqe);
}
constinit const operation_kind epoll_wait::opcode{
    "epoll_wait", &epoll_wait::prepare, runs_in::ring, &describe_fd<&epoll_wait::set_>, nullptr, "6.15"};

}  // namespace gyre::ops
