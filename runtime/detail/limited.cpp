// SPDX-License-Identifier: MIT
// Which keeper a deadline gets.
#include <gyre/runtime/detail/limited.hpp>

namespace gyre::detail {

void operation_deadline::arm_with_care(operation& op, executor& loop, deadline_by keeper) noexcept {
  if (keeper == deadline_by::options && limit_ > loop.short_duration_max())
    return loop.timers().arm(*this, later(loop.turn_time(), limit_));

  const bool reachable = op.its_kind().where_it_runs == runs_in::ring;
  const auto linked_max = loop.options().linked_timeout_max;
  const clock_ns now = loop.now();
  const clock_ns due = keeper == deadline_by::options_at ? limit_.count() : later(now, limit_);
  const bool is_short = due <= now || due - now <= linked_max.count();
  const bool wanted = keeper == deadline_by::kernel || (reachable && linked_max.count() > 0 && is_short);
  const bool linked = wanted && op.may_be_linked();
  if (!linked) return loop.timers().arm(*this, due);
  would_be_due(due);
  op.link_deadline(*this);
}

void operation_deadline::disarm_with_care(const operation& op) noexcept {
  if (armed()) op.scope().executor().timers().disarm(*this);
}

void time_limit::begin(cancel_scope& scope) noexcept {
  if (from_now_on_) return scope.set_deadline(time_point_of(deadline_after(scope.executor(), *from_now_on_)));
  if (movable_base* const mover = limit_.movable_or_null()) mover->begin_to_limit(nullptr, &scope);
  scope.set_deadline(limit_.when());
}

}  // namespace gyre::detail
