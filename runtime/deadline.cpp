// SPDX-License-Identifier: MIT
// Which keeper a deadline gets.
#include <gyre/runtime/deadline.hpp>

namespace gyre::detail {

void operation_deadline::arm_with_care(operation& op, executor& loop) noexcept {
  op_ = &op;
  loop_ = &loop;
  const bool reachable = op.its_kind().where_it_runs == runs_in::ring;
  const auto linked_max = loop.options().linked_timeout_max;
  const bool linked =
      keeper_ == deadline_by::kernel || (reachable && linked_max.count() > 0 && duration_ <= linked_max);
  const clock_ns due = deadline_after(loop, duration_);
  if (!linked) return loop.timers().arm(*this, due);
  would_be_due(due);
  op.link_deadline(*this);
}

}  // namespace gyre::detail
