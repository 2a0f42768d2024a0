// SPDX-License-Identifier: MIT
// How a cancel spreads through the tree of scopes.
#include <gyre/runtime/assert.hpp>
#include <gyre/runtime/cancel_scope.hpp>
#include <gyre/runtime/executor.hpp>

#include <algorithm>

namespace gyre {

cancel_scope::cancel_scope(gyre::executor& owner) noexcept : executor_{&owner}, parent_{nullptr} {}

cancel_scope::cancel_scope(cancel_scope& parent, kind how, const detail::awaiting_coroutine* opener) noexcept
    : executor_{parent.executor_},
      parent_{&parent},
      opener_{opener},
      stop_requested_{how == kind::plain && parent.stop_requested_},
      shielded_{how == kind::shielded} {
  parent.children_.push_back(*this);
}

cancel_scope::~cancel_scope() {
  GYRE_ASSERT(empty(), "a scope is left when everything inside has ended");
  clear_deadline();
  unlink();
}

void cancel_scope::cancel(std::string_view reason) noexcept {
  GYRE_ASSERT(executor_->belongs_to_this_thread(),
              "a scope is cancelled on its executor's thread: from another one, post() what cancels it");
  cancelled_itself_ = true;
  if (stop_requested()) return;
  stop_began_here_ = true;
  reason_ = reason;
  for (cancel_scope* each = this; each != nullptr;) {
    const bool spared = each != this && (each->shielded_ || each->stop_requested());
    if (!spared) each->stop_waiters();
    each = following(*each, /*inside=*/!spared);
  }
}

void cancel_scope::stop_waiters() noexcept {
  stop_requested_ = true;
  boundaries_.for_each([](detail::boundary& bound) {
    bound.disturb();
    for (detail::waiter* waiting = bound.waiting; waiting != nullptr;) {
      detail::waiter* const below = waiting->below();
      waiting->cancel();
      waiting = below;
    }
  });
}

cancel_scope* cancel_scope::following(cancel_scope& current, bool inside) noexcept {
  if (inside && !current.children_.empty()) return current.children_.front();
  for (cancel_scope* each = &current; each != this; each = each->parent_)
    if (cancel_scope* const sibling = each->parent_->children_.after(*each)) return sibling;
  return nullptr;
}

std::string_view cancel_scope::stop_reason() const noexcept {
  for (const cancel_scope* each = this; each != nullptr && each->stop_requested_; each = each->parent_)
    if (each->stop_began_here_) return each->reason_;
  return {};
}

// What is armed and disarmed are timers of the executor's, which has no lock around them.
void cancel_scope::assert_may_move_deadline() const noexcept {
  GYRE_ASSERT(executor_->belongs_to_this_thread(),
              "a scope's deadline is set and cleared on its executor's thread: from another one, post() what moves it");
}

void cancel_scope::set_deadline(point_in_time when) noexcept {
  assert_may_move_deadline();
  if (when.clock() != deadline_clock_) clear_deadline();
  deadline_clock_ = when.clock();
  executor_->arm_on(when, deadline_);
  has_deadline_ = true;
}

void cancel_scope::clear_deadline() noexcept {
  assert_may_move_deadline();
  executor_->disarm_on(deadline_clock_, deadline_);
  has_deadline_ = false;
}

std::optional<std::chrono::steady_clock::time_point> cancel_scope::deadline() const noexcept {
  if (!has_deadline_) return std::nullopt;
  return detail::time_point_of(executor_->on_steady_clock({deadline_clock_, deadline_.due()}));
}

std::optional<std::chrono::steady_clock::time_point> cancel_scope::nearest_deadline() const noexcept {
  auto nearest = deadline();
  for (const cancel_scope* each = this; !each->shielded_ && each->parent_ != nullptr; each = each->parent_) {
    const auto outer = each->parent_->deadline();
    if (outer && (!nearest || *outer < *nearest)) nearest = outer;
  }
  return nearest;
}

constinit const detail::timer_kind cancel_scope::deadline_timer::kind_of_deadline{&deadline_timer::expired};

void cancel_scope::deadline_timer::expired(detail::timer& self) noexcept {
  cancel_scope& scope = static_cast<deadline_timer&>(self).scope;
  if (!scope.stop_requested_) scope.deadline_expired_ = true;  // else it passes again, moved when it had passed
  scope.cancel("its deadline has passed");
}

}  // namespace gyre
