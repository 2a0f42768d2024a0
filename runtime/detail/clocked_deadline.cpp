// SPDX-License-Identifier: MIT
// Which keeper such a deadline gets, and what becomes of a move.
#include <gyre/runtime/assert.hpp>
#include <gyre/runtime/cancel_scope.hpp>
#include <gyre/runtime/detail/clocked_deadline.hpp>
#include <gyre/runtime/executor.hpp>
#include <gyre/runtime/operation.hpp>

#include <cerrno>
#include <utility>

namespace gyre::detail {
namespace {

// io_uring/timeout.c, io_req_task_link_timeout(): what came of the cancel of the operation, and -ETIME for 0.
bool has_fired(std::int32_t res) noexcept { return res == -ETIME || res == -EALREADY || res > 0; }

void never_prepared(completion_handler&, io_uring_sqe&) noexcept {}

}  // namespace

// ------------------------------------------------------------------------------------------------ linked_timeout

// It is described together with its operation: submission::link_heard().
linked_timeout::linked_timeout(submission& its_home) noexcept
    : movable_timeout{&ended, &never_prepared, /*linked=*/true}, home{its_home} {}

void linked_timeout::ended(completion_handler& self, std::int32_t res, std::uint32_t) noexcept {
  auto& link = static_cast<linked_timeout&>(self);
  if (link.of != nullptr && has_fired(res)) link.of->op_->deadline_has_fired();
  link.home.take_back(link);
}

// ---------------------------------------------------------------------------------------------- clocked_deadline

void clocked_deadline::arm(operation& op, executor& loop, bool always_linked) noexcept {
  loop_ = &loop;
  op_ = &op;
  if (movable_base* const mover = limit_.movable_or_null()) mover->begin_to_limit(this, nullptr);
  const point_in_time until = limit_.when();
  const bool reachable = op.its_kind().where_it_runs == runs_in::ring;
  const auto linked_max = loop.options().linked_timeout_max;
  const clock_ns now = loop.now_on(until.clock());
  const bool is_short = until.at() <= now || until.at() - now <= linked_max.count();
  const bool wanted = always_linked || (reachable && linked_max.count() > 0 && is_short);
  const bool linked = wanted && op.may_be_linked();
  if (!linked) return loop.arm_on(until, *this);
  would_be_due(until.at());
  op.link_clocked_deadline(*this);
}

void clocked_deadline::disarm() noexcept {
  if (loop_ == nullptr) return;
  if (armed()) loop_->disarm_on(when().clock(), *this);
  if (link_ != nullptr) link_->home.forget_operation(*link_);
  if (movable_base* const mover = limit_.movable_or_null()) mover->end_to_limit();
  loop_ = nullptr;
}

void clocked_deadline::moved_to(clock_ns due) noexcept {
  GYRE_ASSERT(loop_->belongs_to_this_thread(),
              "a deadline is moved on its executor's thread: from another one, post() what moves it");
  if (armed()) return loop_->arm_on({when().clock(), due}, *this);
  would_be_due(due);
  if (link_ == nullptr) return;
  link_->when = when();
  link_->home.submit_move(*link_);
}

void clocked_deadline::expired(timer& self) noexcept { static_cast<clocked_deadline&>(self).op_->expire(); }

// -------------------------------------------------------------------------------------------------- movable_base

movable_base::movable_base(clock_id clock, std::chrono::nanoseconds from_now) noexcept
    : when_{clock, later(executor::current().now_on(clock), from_now)} {}

movable_base::~movable_base() {
  GYRE_ASSERT(operation_ == nullptr && scope_ == nullptr, "a movable deadline outlives what it limits");
}

void movable_base::begin_to_limit(clocked_deadline* an_operation, cancel_scope* a_scope) noexcept {
  GYRE_ASSERT(operation_ == nullptr && scope_ == nullptr, "a movable deadline limits one wait at a time");
  operation_ = an_operation;
  scope_ = a_scope;
}

void movable_base::move_to(clock_ns due) noexcept {
  when_ = {when_.clock(), due};
  if (operation_ != nullptr) operation_->moved_to(due);
  else if (scope_ != nullptr) scope_->set_deadline(when_);
}

void movable_base::move_from_now(std::chrono::nanoseconds from_now) noexcept {
  move_to(later(executor::current().now_on(when_.clock()), from_now));
}

}  // namespace gyre::detail
