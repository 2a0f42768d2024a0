// SPDX-License-Identifier: MIT
// The life of an operation between co_await and its own completion.
#include <gyre/runtime/executor.hpp>
#include <gyre/runtime/operation.hpp>

#include <liburing.h>

#include <cerrno>

namespace gyre {
namespace {

// include/linux/errno.h, ERESTARTSYS to ERESTART_RESTARTBLOCK: what a cancelled kernel worker leaks.
bool says_cancelled(std::int32_t res) noexcept {
  return res == -ECANCELED || res == -EINTR || (res <= -512 && res >= -516);
}

}  // namespace

executor& operation::executor() const noexcept { return scope_->executor(); }

void operation::throw_error() const { detail::throw_errno(-res_, name()); }

void operation::start() noexcept { executor().submit(*this); }

// Awaited in a scope that is cancelled already: the kernel never hears of it.
void operation::refuse() noexcept {
  res_ = -ECANCELED;
  stage_ = stage::finished;
}

void operation::describe(io_uring_sqe& sqe) noexcept {
  io_uring_initialize_sqe(&sqe);
  its_kind().prepare_entry(*this, sqe);
  sqe.user_data = reinterpret_cast<std::uint64_t>(this);
  stage_ = stage::in_kernel;
}

void operation::finish(std::int32_t res, std::uint32_t flags) noexcept {
  res_ = res;
  cqe_flags_ = flags;
  stage_ = stage::finished;
  if (res < 0) [[unlikely]] return settle(judge_failure());

  const auto advance = its_kind().advance_or_null;
  if (advance == nullptr || !advance(*this)) [[likely]] return settle(/*stopped=*/false);

  // The rest is a wait like any other: not begun in a scope that is cancelled.
  if (scope_->stop_requested()) {
    res_ = -ECANCELED;
    return settle(/*stopped=*/true);
  }
  if (expired_) {
    res_ = -ETIMEDOUT;
    return settle(/*stopped=*/false);
  }
  stage_ = stage::idle;
  cancel_ = cancel_request::none;
  start();
}

// Whether a failure means stopped. One that a deadline caused becomes timed_out.
bool operation::judge_failure() noexcept {
  if (!says_cancelled(res_)) return false;
  if (scope_->stop_requested()) {
    res_ = -ECANCELED;
    return true;
  }
  const bool linked_timeout_fired = linked_due_ != 0 && executor().now() >= linked_due_;
  if (expired_ || linked_timeout_fired) res_ = -ETIMEDOUT;
  return false;
}

void operation::cancel_waiting(detail::waiter& self) noexcept { static_cast<operation&>(self).request_cancel(); }

void operation::request_cancel() noexcept {
  if (stage_ == stage::in_kernel && cancel_ == cancel_request::none) executor().submit_cancel(*this);
  else if (stage_ == stage::queued) executor().drop_queued(*this);
}

void operation::expire() noexcept {
  if (stage_ != stage::queued && stage_ != stage::in_kernel) return;
  expired_ = true;
  request_cancel();
}

}  // namespace gyre
