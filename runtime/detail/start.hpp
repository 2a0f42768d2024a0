// SPDX-License-Identifier: MIT
// The way of nearly every operation from its co_await into the ring: nothing is out of the ordinary, and there is a
// place.
//
// Only .cpp files include this, after <liburing.h>: it writes to an entry. Most operations share one copy of it and
// find their prepare() through their kind; the few that every server lives by have a copy of their own, with prepare()
// inside.
#pragma once

#include <gyre/runtime/executor.hpp>
#include <gyre/runtime/operation.hpp>

#include <cstring>

namespace gyre {

inline void operation::describe_by(auto prepare, io_uring_sqe& sqe) noexcept {
  set(stage::in_kernel);
  std::memset(&sqe, 0, sizeof sqe);
  sqe.user_data = reinterpret_cast<std::uint64_t>(this);
  prepare(*this, sqe);
}

inline void operation::start_by(auto prepare, std::coroutine_handle<> awaiter, detail::boundary& bound) noexcept {
  gyre::executor* const loop = detail::current_executor;
  const bool plain = loop == bound.undisturbed_on && is_plainly(stage::idle) && loop->ring_->has_sqe_at_hand();
  if (!plain) [[unlikely]]
    return start_with_care(awaiter, bound);
  io_uring_sqe& sqe = loop->ring_->sqe_at_hand();
  set_coroutine(awaiter);
  bound_ = &bound;
  since_ms_ = loop->coarse_now_ms_;
  bound.waiting = this;
  describe_by(prepare, sqe);
}

}  // namespace gyre
