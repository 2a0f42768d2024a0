// SPDX-License-Identifier: MIT
// How a timeout is described to the kernel.
#include <gyre/runtime/ops/timeout.hpp>

#include <liburing.h>

#include <algorithm>
#include <cerrno>

namespace gyre::ops {
namespace {

constexpr std::chrono::nanoseconds second = std::chrono::seconds{1};

}  // namespace

timeout::timeout(std::chrono::nanoseconds duration) noexcept : operation_of{opcode}, time_{} {
  const auto from_now = std::max(duration, std::chrono::nanoseconds::zero());
  time_ = {.seconds = from_now / second, .nanoseconds = (from_now % second).count()};
}

void timeout::take_elapsed() noexcept {
  if (res() == -ETIME) set_res(0);
}

void timeout::prepare(
    operation& self,
    io_uring_sqe& sqe) noexcept {  // io_uring_prep_timeout(3): -ETIME is how it says that the time has come
  auto& op = static_cast<timeout&>(self);
  static_assert(sizeof(op.time_) == sizeof(__kernel_timespec));
  io_uring_prep_timeout(&sqe, reinterpret_cast<__kernel_timespec*>(&op.time_), 0, 0);
}
constinit const operation_kind timeout::opcode{"timeout", &timeout::prepare, runs_in::ring};

}  // namespace gyre::ops
