// SPDX-License-Identifier: MIT
// The life of an operation between co_await and its own completion.
#include <gyre/runtime/detail/clocked_deadline.hpp>
#include <gyre/runtime/executor.hpp>
#include <gyre/runtime/operation.hpp>

#include <liburing.h>

#include <cerrno>
#include <string>

namespace gyre {
namespace {

// include/linux/errno.h, ERESTARTSYS to ERESTART_RESTARTBLOCK: what a cancelled kernel worker leaks.
bool says_cancelled(std::int32_t res) noexcept {
  return res == -ECANCELED || res == -EINTR || (res <= -512 && res >= -516);
}

}  // namespace

void detail::may_wait_for_eventfd() noexcept { executor::current().wait_in_ring_from_now_on(); }

void operation::throw_error() const {
  std::string hint;
  if (has(unpolled))
    hint = ": an executor with executor_options::iopoll takes reads and writes of files opened with O_DIRECT";
  else if (res() == -EACCES && !loop().options().only_opcodes.empty())
    hint = ": executor_options::only_opcodes may not name it";
  else if (has(unknown))
    hint = std::string{": this kernel does not have it, Linux "} + its_kind().first_release_or_null + " does";
  else detail::throw_errno(-res(), name());
  detail::throw_errno(-res(), (name() + hint).c_str());
}

// What the kernel says to an opcode that nobody has is what one says that lacks it: nothing has happened, and what is
// linked behind it does not run.
void operation::require_opcode(io_uring_sqe& sqe) noexcept {
  GYRE_ASSERT(its_kind().first_release_or_null != nullptr, "who needs an opcode can tell which Linux has it");
  if (loop().ring().knows(sqe.opcode)) return;
  sqe.opcode = detail::ring::no_opcode;
  add(unknown);
}

// The slow half of a completion: errors, composed operations, and what was cancelled.
void operation::finish(std::int32_t res, std::uint32_t flags) noexcept {
  answer_ = {res, flags};
  if (res < 0) return settle(judge_failure());

  const auto advance = its_kind().advance_or_null;
  if (advance != nullptr && advance(*this)) return go_on();
  settle(/*as_stopped=*/false);
}

// The rest of a composed operation is a wait like any other: not begun in a scope that is cancelled, nor past a
// deadline.
void operation::go_on() noexcept {
  if (scope().stop_requested()) return finish_stopped();
  if (has(expired)) {
    finish_timed_out();
    return settle(/*as_stopped=*/false);
  }
  if (has(linked)) loop().now();
  loop().submit(*this);
}

// Its scope is cancelled, and the kernel has nothing of it.
void operation::finish_stopped() noexcept {
  set_res(-ECANCELED);
  settle(/*as_stopped=*/true);
}

void operation::finish_timed_out() noexcept {
  set_res(-ETIMEDOUT);
  add(timed_out);
}

// Whether a failure means stopped. One that a deadline caused becomes timed_out.
bool operation::judge_failure() noexcept {
  if (res() == -EINVAL && (has(unpolled) || has(unknown))) set_res(-EOPNOTSUPP);
  if (!says_cancelled(res())) return false;
  if (scope().stop_requested()) {
    set_res(-ECANCELED);
    return true;
  }
  if (has(expired) || (has(linked) && linked_time_is_over())) finish_timed_out();
  return false;
}

// Whether its linked timeout can be what ended it. One that has fired is never judged to be still running. The executor
// looked at the clock for the time that was left, the kernel counted it from a later moment, when it took the
// operation, and here the executor looks again after the end. So that time has passed between its two looks, whatever
// its clock is shifted by. One that is heard says by itself that it has fired, where the clock was set back or it was
// moved just then.
bool operation::linked_time_is_over() noexcept {
  if (!has(heard)) return loop().now() >= deadline_->due();
  const point_in_time end = static_cast<detail::clocked_deadline&>(*deadline_).when();
  return loop().now_on(end.clock()) >= end.at();
}

// Whether its linked timeout may have fired when it had completed, and have done nothing yet. One that is heard says
// when it has.
bool operation::linked_timeout_may_wait() noexcept {
  if (!has(heard)) return loop().now() >= deadline_->due();
  return static_cast<detail::clocked_deadline&>(*deadline_).link_ != nullptr;
}

void operation::link_clocked_deadline(detail::clocked_deadline& deadline) noexcept {
  link_deadline(deadline);
  add(heard);
}

void operation::deadline_has_fired() noexcept {
  if (is_waiting()) add(expired);
}

void operation::cancel_waiting(detail::waiter& self) noexcept { static_cast<operation&>(self).request_cancel(); }

void operation::request_cancel() noexcept {
  if (current() == stage::queued) return loop().drop_queued(*this);
  if (has(several)) return cancel_several();
  const bool can_be_asked = its_kind().where_it_runs != runs_in::worker_unasked;
  if (current() == stage::in_kernel && can_be_asked) loop().submit_cancel(*this);
}

void operation::expire() noexcept {
  if (!is_waiting()) return;
  add(expired);
  request_cancel();
}

}  // namespace gyre
