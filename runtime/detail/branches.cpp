// SPDX-License-Identifier: MIT
// How branches that run side by side decide their outcome, and what follows when the last one has ended.
#include <gyre/runtime/detail/branches.hpp>
#include <gyre/runtime/executor.hpp>
#include <gyre/runtime/log.hpp>

#include <cerrno>
#include <utility>

namespace gyre::detail {

void branch_region::open(std::size_t branches_count) noexcept {
  GYRE_ASSERT(branches_count > 0, "to wait for the first of several takes at least one");
  const bool is_second_time = std::exchange(was_awaited_, true);
  GYRE_ASSERT(!is_second_time, "what runs side by side is awaited once");
  scope_.emplace(awaiting_.scope(), cancel_scope::kind::plain, &awaiting_);
  awaiting_.running_count = branches_count;
  scope_->executor().make_ready(*this);
}

void branch_region::queue_again() noexcept { scope_->executor().make_ready_next_turn(*this); }

void branch_region::has_value(std::size_t index) noexcept {
  if (rule_ == decided_by::failure || is_decided()) return;
  winner_ = index;
  scope_->cancel();
}

void branch_region::has_failed(std::exception_ptr error) noexcept {
  if (rule_ == decided_by::value) return;
  if (is_decided()) return log::exception("a branch failed after the outcome was decided", error);
  error_ = std::move(error);
  scope_->cancel();
}

next_step branch_region::close() noexcept {
  scope_.reset();
  if (is_stopped() && awaiting_.scope().stop_requested() && awaiting_.can_be_stopped()) return awaiting_.stopped();
  return awaiting_.resumed();
}

void branch_region::throw_unless_delivered() {
  if (error_) std::rethrow_exception(std::move(error_));
  if (is_stopped()) throw_errno(ECANCELED, awaiting_.what());
}

}  // namespace gyre::detail
