// SPDX-License-Identifier: MIT
// How a timeout is described to the kernel, moved and ended, and what lies behind a stream of ticks.
#include <gyre/runtime/assert.hpp>
#include <gyre/runtime/executor.hpp>
#include <gyre/runtime/ops/timeout.hpp>

#include <liburing.h>

#include <algorithm>
#include <cerrno>
#include <utility>

namespace gyre::ops {
namespace {

using detail::clock_id;
using detail::kernel_span;

kernel_span span_of(std::chrono::nanoseconds duration) noexcept { return kernel_span::between(0, duration.count()); }

// What the kernel is told of a time: the point on the system clock, which no namespace shifts, and a span on others.
kernel_span time_until(point_in_time when, executor& loop) noexcept {
  if (when.clock() == clock_id::system) return kernel_span::between(0, when.at());
  return kernel_span::between(loop.now_on(when.clock()), when.at());
}

std::uint64_t user_data_of(const operation& op) noexcept { return reinterpret_cast<std::uint64_t>(&op); }

}  // namespace

// ----------------------------------------------------------------------------------------------------- timeout

void timeout::take_elapsed() noexcept {
  if (res() == -ETIME) set_res(0);
}

// -ETIME is how the kernel says that the time has come, and ETIME_SUCCESS that what is linked behind it may go on.
void timeout::prepare(operation& self, io_uring_sqe& sqe) noexcept {  // io_uring_prep_timeout(3)
  auto& op = static_cast<timeout&>(self);
  op.time_ = op.is_span_ ? kernel_span::between(0, op.when_.at()) : time_until(op.when_, op.loop());
  io_uring_prep_timeout(&sqe, op.time_.as_timespec(), 0,
                        detail::timeout_flags_of(op.when_.clock()) | IORING_TIMEOUT_ETIME_SUCCESS);
}
constinit const operation_kind timeout::opcode{"timeout", &timeout::prepare, runs_in::ring};

void timeout_or_count::take_outcome() noexcept {
  if (res() == 0) set_res(1);
  else if (res() == -ETIME) set_res(0);
}

void timeout_or_count::prepare(operation& self, io_uring_sqe& sqe) noexcept {  // io_uring_prep_timeout(3)
  auto& op = static_cast<timeout_or_count&>(self);
  io_uring_prep_timeout(&sqe, op.time_.as_timespec(), op.count_, IORING_TIMEOUT_ETIME_SUCCESS);
}
constinit const operation_kind timeout_or_count::opcode{"timeout_or_count", &timeout_or_count::prepare, runs_in::ring};

// ---------------------------------------------------------------------------------------------- moved, or ended

namespace {

// 0: found. -ENOENT: it is not there, or not any more; -EALREADY: it ends now.
std::int32_t whether_found(std::int32_t res) noexcept {
  if (res == 0) return 1;
  return res == -ENOENT || res == -EALREADY ? 0 : res;
}

}  // namespace

timeout_update::timeout_update(const timeout& running, std::chrono::nanoseconds duration) noexcept
    : operation_of{opcode},
      user_data_{user_data_of(running)},
      its_clock_{running.clock()},
      is_span_{true},
      when_{clock_id::steady, duration.count()} {}

timeout_update::timeout_update(const timeout& running, point_in_time when) noexcept
    : operation_of{opcode},
      user_data_{user_data_of(running)},
      its_clock_{running.clock()},
      is_span_{false},
      when_{when} {}

void timeout_update::take_whether_found() noexcept { set_res(whether_found(res())); }

// A move goes by the clock that the timeout has: only there a point can be told.
void timeout_update::prepare(operation& self, io_uring_sqe& sqe) noexcept {  // io_uring_prep_timeout_update(3)
  auto& op = static_cast<timeout_update&>(self);
  const bool is_point = !op.is_span_ && op.when_.clock() == clock_id::system && op.its_clock_ == clock_id::system;
  op.time_ = op.is_span_ || is_point ? kernel_span::between(0, op.when_.at())
                                     : kernel_span::between(op.loop().now_on(op.when_.clock()), op.when_.at());
  io_uring_prep_timeout_update(&sqe, op.time_.as_timespec(), op.user_data_, is_point ? IORING_TIMEOUT_ABS : 0U);
}
constinit const operation_kind timeout_update::opcode{"timeout_update", &timeout_update::prepare, runs_in::ring};

timeout_remove::timeout_remove(const timeout& running) noexcept
    : operation_of{opcode}, user_data_{user_data_of(running)} {}

void timeout_remove::take_whether_found() noexcept { set_res(whether_found(res())); }

void timeout_remove::prepare(operation& self, io_uring_sqe& sqe) noexcept {  // io_uring_prep_timeout_remove(3)
  io_uring_prep_timeout_remove(&sqe, static_cast<timeout_remove&>(self).user_data_, 0);
}
constinit const operation_kind timeout_remove::opcode{"timeout_remove", &timeout_remove::prepare, runs_in::ring};

// ------------------------------------------------------------------------------------------------ timeout_stream

namespace {

constinit const detail::waiter_kind kind_of_reader = detail::multishot_reader::kind_named("tick");

// A request ends after so many, and another one follows. A cancel misses one whose tick is just being told: without an
// end, where ticks are faster than turns, it could miss for ever.
constexpr unsigned ticks_of_one_request = 1024;

// Runs on while nobody reads. A period that is changed is a cancel, and a request that follows its end.
class ticking final : public detail::multishot_of<std::uint64_t> {
 public:
  explicit ticking(std::chrono::nanoseconds period) noexcept
      : multishot_of{kind_of_reader, &prepare}, time_{span_of(period)} {}

  bool has_result() const noexcept override { return count_ > 0 || error_ != 0; }

  result<std::uint64_t> take() noexcept override {
    may_take(has_result());
    if (count_ > 0) return std::exchange(count_, 0);
    return detail::errno_code(std::exchange(error_, 0));
  }

  void set_period(std::chrono::nanoseconds period) noexcept {
    time_ = span_of(period);
    if (is_armed() && !restarts_) restart();
  }

 private:
  static void prepare(completion_handler& self, io_uring_sqe& sqe) noexcept {  // io_uring_prep_timeout(3)
    auto& mine = static_cast<ticking&>(self);
    mine.told_time_ = mine.time_;
    io_uring_prep_timeout(&sqe, mine.told_time_.as_timespec(), ticks_of_one_request, IORING_TIMEOUT_MULTISHOT);
  }

  bool store(std::int32_t res, std::uint32_t flags) noexcept override {
    const bool goes_on = (flags & IORING_CQE_F_MORE) != 0;
    if (restarts_) {
      if (goes_on) restart();  // the cancel has missed it: it is told of a tick at this moment
      else arm_anew();
      if (res == -ECANCELED) return false;
    } else if (!goes_on && res == -ETIME) {
      arm_anew();
    }
    if (res == -ETIME) ++count_;
    else error_ = -res;
    return true;
  }

  void discard(std::int32_t, std::uint32_t flags) noexcept override {
    if ((flags & IORING_CQE_F_MORE) != 0) loop().submit_cancel(*this);  // it was missed
  }

  void clear() noexcept override {}

  void restart() noexcept {
    restarts_ = true;
    loop().submit_cancel(*this);
  }

  void arm_anew() noexcept {
    restarts_ = false;
    arm();
  }

  detail::kernel_span time_;
  detail::kernel_span told_time_{};  // the kernel reads it when it takes the request
  std::uint64_t count_ = 0;
  int error_ = 0;
  bool restarts_ = false;
};

}  // namespace

timeout_stream::timeout_stream(std::chrono::nanoseconds period) : state_{new ticking{period}} {}

void timeout_stream::set_period(std::chrono::nanoseconds period) noexcept {
  static_cast<ticking&>(*state_).set_period(period);
}

}  // namespace gyre::ops
