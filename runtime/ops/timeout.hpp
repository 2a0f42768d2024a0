// SPDX-License-Identifier: MIT
// Timeouts that the kernel keeps.
//
// To sleep use timer.hpp, for deadlines deadline.hpp: the executor's own timers cost no system call, while cancelling
// one kernel timeout among N is linear in N. These are for what must be exact, or must not need the executor to run.
#pragma once

#include <gyre/runtime/deadline.hpp>
#include <gyre/runtime/detail/kernel_times.hpp>
#include <gyre/runtime/detail/multishot.hpp>
#include <gyre/runtime/operation.hpp>
#include <gyre/runtime/point_in_time.hpp>

#include <chrono>
#include <cstdint>
#include <memory>

namespace gyre::detail {

inline void expect_to_reach(const operation& op) noexcept {
  GYRE_ASSERT(op.its_kind().where_it_runs == runs_in::ring,
              "a linked timeout never fires on what a kernel worker runs: use with_timeout()");
}

}  // namespace gyre::detail

namespace gyre::ops {

/// Completes after a duration, or at a point in time.
///
/// @param duration  From the moment at which the kernel takes the request; zero or less: at once.
/// @param when      A time_point on std::chrono::steady_clock, gyre::boot_clock (IORING_TIMEOUT_BOOTTIME) or
///                  std::chrono::system_clock (IORING_TIMEOUT_REALTIME: follows when somebody sets that clock). In the
///                  past: at once.
/// @errors          operation_canceled   timeout_remove, or a cancel that is not the scope's
/// @cancellation    Safe. Linear in the kernel timeouts that the executor has: see the top of this file.
/// @source          io_uring_prep_timeout(3), IORING_TIMEOUT_ABS, IORING_TIMEOUT_ETIME_SUCCESS. Linux 5.16.
class [[nodiscard]] timeout final : public operation_of<timeout, void> {
 public:
  explicit timeout(std::chrono::nanoseconds duration) noexcept
      : operation_of{opcode}, when_{detail::clock_id::steady, duration.count()}, is_span_{true} {}
  explicit timeout(point_in_time when) noexcept : operation_of{opcode}, when_{when} {}

  void await_resume() {
    take_elapsed();
    operation_of::await_resume();
  }
  [[nodiscard]] result<void> await_result() {
    take_elapsed();
    return operation_of::await_result();
  }

  /// The clock that the kernel keeps it by.
  [[nodiscard]] detail::clock_id clock() const noexcept { return when_.clock(); }

 private:
  friend operation_of;
  static const operation_kind opcode;
  static void prepare(operation& self, io_uring_sqe& sqe) noexcept;
  void take_elapsed() noexcept;  // the kernel tells of the time's coming by an error

  point_in_time when_;  // or how long from now
  bool is_span_ = false;
  detail::kernel_span time_{};
};

/// Completes after a duration, or when so many others have completed on this executor's ring.
///
/// @param count     Completions, from when the kernel takes the request: of operations, streams, and the executor's own
///                  requests, but not of timeouts. 0: only the duration ends it.
/// @param duration  As for timeout.
/// @return          Whether it was the count that ended it.
/// @cancellation    As for timeout.
/// @source          io_uring_prep_timeout(3). Linux 5.4.
class [[nodiscard]] timeout_or_count final : public operation_of<timeout_or_count, bool> {
 public:
  timeout_or_count(unsigned count, std::chrono::nanoseconds duration) noexcept
      : operation_of{opcode}, count_{count}, time_{detail::kernel_span::between(0, duration.count())} {}

  bool await_resume() {
    take_outcome();
    return operation_of::await_resume();
  }
  [[nodiscard]] result<bool> await_result() {
    take_outcome();
    return operation_of::await_result();
  }

 private:
  friend operation_of;
  static const operation_kind opcode;
  static void prepare(operation& self, io_uring_sqe& sqe) noexcept;
  void take_outcome() noexcept;
  unsigned count_;
  detail::kernel_span time_;
};

/// Moves the time of a timeout that another coroutine of this executor awaits.
///
/// @param running   Exists until this is awaited; what becomes of it then is its own affair.
/// @param duration  From the moment at which the kernel takes this request.
/// @param when      On any clock. Where it is another clock than the timeout's, what is left on it is counted.
/// @return        Whether it came in time: not before the timeout was awaited, nor when that has ended, or ends now.
/// @cancellation  Safe: it always completes at once, so that a cancel finds it done.
/// @limits        Linear in the kernel timeouts that the executor has. A member of link() is not found.
/// @source        io_uring_prep_timeout_update(3). Linux 5.11.
class [[nodiscard]] timeout_update final : public operation_of<timeout_update, bool> {
 public:
  timeout_update(const timeout& running, std::chrono::nanoseconds duration) noexcept;
  timeout_update(const timeout& running, point_in_time when) noexcept;

  bool await_resume() {
    take_whether_found();
    return operation_of::await_resume();
  }
  [[nodiscard]] result<bool> await_result() {
    take_whether_found();
    return operation_of::await_result();
  }

 private:
  friend operation_of;
  static const operation_kind opcode;
  static void prepare(operation& self, io_uring_sqe& sqe) noexcept;
  void take_whether_found() noexcept;
  std::uint64_t user_data_;
  detail::clock_id its_clock_;
  bool is_span_;
  point_in_time when_;  // or how long from now
  detail::kernel_span time_{};
};

/// Ends a timeout that another coroutine of this executor awaits: with operation_canceled.
///
/// @param running  Exists until this is awaited; what becomes of it then is its own affair.
/// @return        Whether it came in time, as for timeout_update.
/// @cancellation  Safe: it always completes at once, so that a cancel finds it done.
/// @limits        Linear in the kernel timeouts that the executor has. A member of link() is not found.
/// @source        io_uring_prep_timeout_remove(3). Linux 5.5.
class [[nodiscard]] timeout_remove final : public operation_of<timeout_remove, bool> {
 public:
  explicit timeout_remove(const timeout& running) noexcept;

  bool await_resume() {
    take_whether_found();
    return operation_of::await_resume();
  }
  [[nodiscard]] result<bool> await_result() {
    take_whether_found();
    return operation_of::await_result();
  }

 private:
  friend operation_of;
  static const operation_kind opcode;
  static void prepare(operation& self, io_uring_sqe& sqe) noexcept;
  void take_whether_found() noexcept;
  std::uint64_t user_data_;
};

/// A timeout that the kernel repeats, as a stream of ticks: one multishot request.
///
/// The kernel counts each period from when it has run the last one, so that ticks fall behind by some 0.03 ms each, and
/// more where the executor is busy. gyre::interval keeps to its times, and costs the kernel nothing: this is for who
/// wants ticks that go on by themselves.
class timeout_stream {
 public:
  /// @param period  Less than nothing counts as nothing: then there is a tick in each turn.
  explicit timeout_stream(std::chrono::nanoseconds period);

  timeout_stream(timeout_stream&&) noexcept = default;
  timeout_stream& operator=(timeout_stream&&) = delete;
  ~timeout_stream() = default;

  using next_operation = detail::next_of_multishot<std::uint64_t>;

  /// Waits for the next tick. The first next() starts them. One coroutine at a time.
  ///
  /// @return        How many there were since the last next(): those that nobody waited for do not pile up.
  /// @errors        operation_canceled   the request was ended by somebody else: the next next() starts it anew
  ///                invalid_argument     before Linux 6.4
  /// @cancellation  Safe: no tick is lost, the next next() counts it.
  /// @threads       The thread of the executor on which it is first called.
  /// @source        io_uring_prep_timeout(3), IORING_TIMEOUT_MULTISHOT. Linux 6.4.
  [[nodiscard]] next_operation next() noexcept { return next_operation{*state_}; }

  /// Has ticks come in another period, counted from now on. Those that came before are still told.
  ///
  /// @threads  As next().
  void set_period(std::chrono::nanoseconds period) noexcept;

 private:
  std::unique_ptr<detail::multishot_of<std::uint64_t>, detail::orphan_multishot> state_;
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
