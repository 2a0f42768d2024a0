// SPDX-License-Identifier: MIT
// Timeouts that the kernel keeps.
//
// To sleep use timer.hpp, for deadlines deadline.hpp: the executor's own timers cost no system call, while cancelling
// one kernel timeout among N is linear in N. These are for what must be exact, or must not need the executor to run.
#pragma once

#include <gyre/runtime/deadline.hpp>
#include <gyre/runtime/operation.hpp>

#include <chrono>
#include <cstdint>

namespace gyre::detail {

inline void expect_to_reach(const operation& op) noexcept {
  GYRE_ASSERT(op.its_kind().where_it_runs == runs_in::ring,
              "a linked timeout never fires on what a kernel worker runs: use with_timeout()");
}

}  // namespace gyre::detail

namespace gyre::ops {

/// Completes after a duration.
///
/// @param duration  From the moment at which the kernel takes the request; zero or less: at once.
/// @cancellation    Safe. Linear in the kernel timeouts that the executor has: see the top of this file.
/// @source          io_uring_prep_timeout(3), CLOCK_MONOTONIC. Linux 5.4.
class [[nodiscard]] timeout final : public operation_of<timeout, void> {
 public:
  explicit timeout(std::chrono::nanoseconds duration) noexcept;

  void await_resume() {
    take_elapsed();
    operation_of::await_resume();
  }
  [[nodiscard]] result<void> await_result() {
    take_elapsed();
    return operation_of::await_result();
  }

 private:
  friend operation_of;
  static const operation_kind opcode;
  static void prepare(operation& self, io_uring_sqe& sqe) noexcept;
  void take_elapsed() noexcept;  // the kernel tells of the time's coming by an error

  struct time {  // struct __kernel_timespec
    std::int64_t seconds;
    long long nanoseconds;
  } time_;
};

/// Links `op` to a timeout in the kernel, whatever executor_options::linked_timeout_max says: with_timeout() otherwise.
///
/// @param op  An operation that the kernel does not run in a worker thread, where a linked timeout never fires:
///            asserted.
/// @source    io_uring_prep_link_timeout(3). Linux 5.5.
template <class Op>
  requires std::derived_from<Op, operation>
[[nodiscard]] auto link_timeout(Op op, std::chrono::nanoseconds duration) noexcept {
  detail::expect_to_reach(op);
  return detail::timed_operation<Op, detail::deadline_by::kernel>{std::move(op), duration};
}

/// The same at a point in time.
///
/// @param when  A time_point on std::chrono::steady_clock, gyre::boot_clock (IORING_TIMEOUT_BOOTTIME) or
///              std::chrono::system_clock (IORING_TIMEOUT_REALTIME: follows when somebody sets that clock).
/// @source      io_uring_prep_link_timeout(3). Linux 5.15 for the last two.
template <class Op>
  requires std::derived_from<Op, operation>
[[nodiscard]] auto link_timeout(Op op, point_in_time when) noexcept {
  detail::expect_to_reach(op);
  return detail::timed_operation<Op, detail::deadline_by::kernel_on_any_clock>{std::move(op),
                                                                               detail::clocked_limit{when}};
}

/// The same with a deadline that can be moved while the operation waits.
template <class Op>
  requires std::derived_from<Op, operation>
[[nodiscard]] auto link_timeout(Op op, detail::movable_base& when) noexcept {
  detail::expect_to_reach(op);
  return detail::timed_operation<Op, detail::deadline_by::kernel_on_any_clock>{std::move(op), when};
}

}  // namespace gyre::ops
