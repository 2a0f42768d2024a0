// SPDX-License-Identifier: MIT
// Into the ring: operations with their linked timeouts, the requests of handlers, cancels; and what waits for a place.
#include <gyre/runtime/assert.hpp>
#include <gyre/runtime/detail/chain.hpp>
#include <gyre/runtime/detail/clocked_deadline.hpp>
#include <gyre/runtime/detail/fixed_opcodes.hpp>
#include <gyre/runtime/detail/submission.hpp>
#include <gyre/runtime/error.hpp>
#include <gyre/runtime/operation.hpp>

#include <liburing.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <new>
#include <utility>

namespace gyre::detail {

submission::submission(ring& its_ring, coarse_clock& its_clock, timer_heap& its_timers)
    : ring_{its_ring}, clock_{its_clock}, timers_{its_timers}, times_{its_ring, its_clock} {
  GYRE_ASSERT(ring_.sq_entries() > 1, "an operation and its linked timeout go into the ring together");
}

submission::~submission() {
  while (completion_handler* const spare = spare_links_.pop_front()) delete static_cast<linked_timeout*>(spare);
}

// ------------------------------------------------------------------------------------------------ operations

void submission::submit(operation& op) noexcept {
  if (op.has(operation::alone)) {
    ++alone_count_;
    ring_.hold_back();  // who comes after it waits for it
  }
  const bool goes_on = alone_count_ > 0 && op.has(operation::composed);  // a part of it came before them
  if ((backlog_.empty() || goes_on) && may_begin(op)) return describe(op);
  op.set(operation::stage::queued);
  if (goes_on) put_first(op);
  else backlog_.push_back(op);
  may_have_queued_ = true;
  ++counted_.backlogged;
  may_want_more_ = true;
}

// Whether `op`, for which nobody waits who comes before it, can be described.
bool submission::may_begin(const operation& op) const noexcept {
  if (alone_count_ > 0) [[unlikely]]
    if (alone_ != nullptr || (op.has(operation::alone) && operations_in_kernel() > 0)) return false;
  return ring_.free_sqes() >= op.entries_count();
}

void submission::put_first(operation& op) noexcept {
  intrusive_queue<runnable> first;
  first.push_back(op);
  backlog_.take_front(first);
}

void submission::end_alone() noexcept {
  alone_ = nullptr;
  --alone_count_;
}

void submission::describe_in(io_uring_sqe& sqe, operation& op) noexcept {
  op.its_kind().prepare_entry(op, sqe);
  if (op.has(operation::personal)) [[unlikely]]
    sqe.personality = op.personality_;
}

// Side by side in the queue, and so in one enter(): nothing is submitted until all are there. That enter() runs task
// work, as the kernel begins there whatever is linked to an operation that ends at once.
void submission::describe(chain& together) noexcept {
  ring_.expect_task_work();
  if (together.has(operation::alone)) alone_ = &together;
  for (chain_member& each : together.begin_in_kernel()) {
    io_uring_sqe& sqe = take_sqe();
    ring::blank(sqe, tagged(each));
    describe_in(sqe, *each.op);
    if (ring_.modes().iopoll) [[unlikely]] {
      if (sqe.opcode == IORING_OP_CLOSE) each.op->add(operation::unpolled);  // not before those that come before it
      else fit_for_polling(*each.op, sqe);
    }
    together.lay(each, sqe);
  }
}

// A linked timeout follows its operation in the ring, and posts no completion: the operation's own tells everything.
void submission::describe(operation& op) noexcept {
  op.set(operation::stage::in_kernel);
  if (op.has(operation::several)) [[unlikely]]
    return describe(static_cast<chain&>(op));
  io_uring_sqe& described = take_sqe();
  ring::blank(described, reinterpret_cast<std::uint64_t>(&op));
  describe_in(described, op);
  if (ring_.modes().iopoll) [[unlikely]]
    fit_for_polling(op, described);
  if (!op.has(operation::linked)) return;
  if (ring_.modes().sqpoll || ring_.modes().iopoll) return keep_deadline(op);
  if (op.has(operation::heard)) [[unlikely]]
    return link_heard(op, described);
  described.flags |= IOSQE_IO_LINK;
  io_uring_sqe& sqe = take_nobodys_sqe();
  kernel_span& left = times_.set_linked(last_index(), op.deadline_->due());
  io_uring_prep_link_timeout(&sqe, left.as_timespec(), 0);
  sqe.flags |= IOSQE_CQE_SKIP_SUCCESS;
}

// A ring whose devices are polled takes little else, and says no by a word that means many things. It would not close
// a descriptor either, which is nobody's by now.
void submission::fit_for_polling(operation& op, io_uring_sqe& described) noexcept {
  switch (described.opcode) {
    case IORING_OP_NOP:
    case IORING_OP_READ:
    case IORING_OP_READV:
    case IORING_OP_READ_FIXED:
    case IORING_OP_WRITE:
    case IORING_OP_WRITEV:
    case IORING_OP_WRITE_FIXED:
    case op_readv_fixed:
    case op_writev_fixed:
    case IORING_OP_URING_CMD:
    case IORING_OP_MSG_RING:
      return;
    case IORING_OP_CLOSE: {
      const int error = ::close(described.fd) == 0 ? 0 : errno;
      ring::blank(described, described.user_data);
      if (error == 0) return;
      described.nop_flags = IORING_NOP_INJECT_RESULT;  // Linux 6.10; before that it is EINVAL
      described.len = static_cast<unsigned>(-error);
      return;
    }
    default:
      op.add(operation::unpolled);
  }
}

// The timers keep the deadline of one that goes without its linked timeout: none would be taken where devices are
// polled. Where a thread of the kernel's submits, one that has fired may wait there for its turn, unseen, and would end
// who begins at the same address meanwhile: see end_late_links().
void submission::keep_deadline(operation& op) noexcept {
  timer& deadline = *op.deadline_;
  if (deadline.armed()) return;
  if (op.has(operation::heard)) arm(static_cast<clocked_deadline&>(deadline).when(), deadline);
  else timers_.arm(deadline, deadline.due());
}

void submission::submit_cancel(operation& op) noexcept {
  op.set(operation::stage::cancel_queued);
  op.next = newest_cancel_;  // newest first: see flush_cancels()
  op.set_newer_cancel(nullptr);
  if (newest_cancel_ != nullptr) newest_cancel_->set_newer_cancel(&op);
  newest_cancel_ = &op;
  may_have_queued_ = true;
}

operation* submission::pop_cancel() noexcept {
  operation* const newest = newest_cancel_;
  if (newest == nullptr) return nullptr;
  newest_cancel_ = static_cast<operation*>(newest->next);
  if (newest_cancel_ != nullptr) newest_cancel_->set_newer_cancel(nullptr);
  return newest;
}

// In constant time, as all that are cancelled may be back before they are asked, and the oldest first.
void submission::forget_cancel(operation& op) noexcept {
  if (op.current() != operation::stage::cancel_queued) return;
  auto* const older = static_cast<operation*>(op.next);
  operation* const newer = op.newer_cancel();
  if (older != nullptr) older->set_newer_cancel(newer);
  if (newer != nullptr) newer->next = older;
  else newest_cancel_ = older;
}

void submission::drop_queued(operation& op) noexcept {
  const bool was_queued = backlog_.remove(op);
  GYRE_ASSERT(was_queued, "a queued operation is in the backlog");
  if (op.has(operation::alone)) --alone_count_;
  op.finish(-ECANCELED, 0);
}

// -------------------------------------------------------------------------------------------------- handlers

void submission::submit(completion_handler& handler) noexcept {
  GYRE_ASSERT(handler.where == completion_handler::place::none, "a handler has one request at a time");
  if (ring_.free_sqes() > 0) return describe(handler);
  handler.where = completion_handler::place::queued;
  handler_backlog_.push_back(handler);
  may_have_queued_ = true;
}

void submission::describe(completion_handler& handler) noexcept {
  io_uring_sqe& sqe = take_sqe();
  ring::blank(sqe, tagged(handler));
  handler.prepare(handler, sqe);
  handler.where = completion_handler::place::in_kernel;
  handler.is_apart = true;
  ++apart_count_;
}

void submission::submit_cancel(completion_handler& handler) noexcept {
  using place = completion_handler::place;
  if (handler.where == place::in_kernel && !std::exchange(handler.cancel_queued, true)) {
    handler_cancels_.push_back(handler);
    may_have_queued_ = true;
  } else if (handler.where == place::queued) {
    handler_backlog_.remove(handler);
    handler.where = place::none;
    handler.complete(handler, -ECANCELED, 0);
  }
}

void submission::end_request(completion_handler& handler) noexcept {
  handler.where = completion_handler::place::none;
  if (std::exchange(handler.is_apart, false)) --apart_count_;
  if (std::exchange(handler.cancel_queued, false)) handler_cancels_.remove(handler);
}

// -------------------------------------------------------------------------------------------- times on any clock

void submission::arm(point_in_time when, timer& armed) noexcept {
  if (ring_.modes().iopoll) return timers_.arm(armed, on_steady_clock(when));  // it would take no timeout
  switch (when.clock()) {
    case clock_id::steady:
      return timers_.arm(armed, when.at());
    case clock_id::boot:
      return boot_timers_.arm(armed, when.at());
    case clock_id::system:
      return system_timers_.arm(armed, when.at());
  }
}

clock_ns submission::on_steady_clock(point_in_time when) const noexcept {
  if (when.clock() == clock_id::steady || when.at() == for_ever) return when.at();
  const clock_ns now = ring_.now();
  const clock_ns left = std::max<clock_ns>(when.at(), 0) - ring_.now_on(when.clock());
  return left < for_ever - now ? now + left : for_ever;
}

void submission::disarm(clock_id clock, timer& armed) noexcept {
  if (ring_.modes().iopoll) return timers_.disarm(armed);
  switch (clock) {
    case clock_id::steady:
      return timers_.disarm(armed);
    case clock_id::boot:
      return boot_timers_.disarm(armed);
    case clock_id::system:
      return system_timers_.disarm(armed);
  }
}

const timer_heap& submission::timers_on(clock_id clock) const noexcept {
  switch (clock) {
    case clock_id::boot:
      return boot_timers_.heap();
    case clock_id::system:
      return system_timers_.heap();
    case clock_id::steady:
      break;
  }
  return timers_;
}

void submission::describe_timeout(movable_timeout& described, io_uring_sqe& sqe) noexcept {
  kernel_span& time = times_.set(last_index(), described.when);
  io_uring_prep_timeout(&sqe, time.as_timespec(), 0, timeout_flags_of(described.when.clock()));
}

// An operation that goes on has another one than before. Where there is no memory for one, the timers keep its deadline
// from here on, as they do where the kernel has lost it.
void submission::link_heard(operation& op, io_uring_sqe& described) noexcept {
  auto& deadline = static_cast<clocked_deadline&>(*op.deadline_);
  if (deadline.armed()) return;
  if (deadline.link_ != nullptr) forget_operation(*deadline.link_);
  linked_timeout* const link = link_or_null();
  if (link == nullptr) return arm(deadline.when(), deadline);
  link->of = &deadline;
  link->when = deadline.when();
  link->where = completion_handler::place::in_kernel;
  deadline.link_ = link;

  described.flags |= IOSQE_IO_LINK;
  io_uring_sqe& sqe = take_sqe();
  ring::blank(sqe, tagged(*link));
  kernel_span& time = times_.set(last_index(), link->when);
  io_uring_prep_link_timeout(&sqe, time.as_timespec(), timeout_flags_of(link->when.clock()));
}

linked_timeout* submission::link_or_null() noexcept {
  if (completion_handler* const spare = spare_links_.pop_front()) return static_cast<linked_timeout*>(spare);
  return new (std::nothrow) linked_timeout{*this};
}

void submission::forget_operation(linked_timeout& link) noexcept {
  forget_move(link);
  link.of->link_ = nullptr;
  link.of = nullptr;
}

void submission::take_back(linked_timeout& link) noexcept {
  if (link.of != nullptr) forget_operation(link);
  link.where = completion_handler::place::none;
  spare_links_.push_back(link);
}

// Its entry is nobody's by now.
void submission::keep_lost_deadline(operation& op) noexcept {
  timer& deadline = *op.deadline_;
  if (!op.has(operation::heard)) return timers_.arm(deadline, deadline.due());
  auto& heard = static_cast<clocked_deadline&>(deadline);
  take_back(*heard.link_);
  ++not_requests_;
  arm(heard.when(), heard);
}

void submission::submit_move(movable_timeout& moved) noexcept {
  if (std::exchange(moved.move_queued, true)) return;
  moves_.push_back(moved);
  may_have_queued_ = true;
}

void submission::forget_move(movable_timeout& moved) noexcept {
  if (std::exchange(moved.move_queued, false)) moves_.remove(moved);
}

void submission::describe_move(movable_timeout& moved) noexcept {
  const unsigned of_what = moved.is_linked ? IORING_LINK_TIMEOUT_UPDATE : 0;
  io_uring_sqe& sqe = take_nobodys_sqe();
  kernel_span& time = times_.set(last_index(), moved.when);
  io_uring_prep_timeout_update(&sqe, time.as_timespec(), tagged(moved), move_flags_of(moved.when.clock()) | of_what);
  sqe.flags |= IOSQE_CQE_SKIP_SUCCESS;  // -ENOENT, -EALREADY: it has ended, or does, and says so itself
}

// --------------------------------------------------------------------------------------------------- entries

// Where there is known to be a free entry.
io_uring_sqe& submission::take_sqe() noexcept {
  io_uring_sqe* const sqe = ring_.try_sqe();
  GYRE_ASSERT(sqe != nullptr, "an entry is taken when one is free");
  // Every operation comes by fit_for_polling(), or may_begin(), or behind those that wait for a place.
  if (ring_.modes().iopoll || alone_count_ > 0 || !backlog_.empty()) [[unlikely]]
    ring_.hold_back();
  return *sqe;
}

io_uring_sqe& submission::take_nobodys_sqe() noexcept {
  io_uring_sqe& sqe = take_sqe();
  ring::blank(sqe, nobody);
  ++not_requests_;
  return sqe;
}

void submission::describe_cancel(std::uint64_t user_data) noexcept {
  io_uring_sqe& sqe = take_nobodys_sqe();
  io_uring_prep_cancel64(&sqe, user_data, 0);
  sqe.flags |= IOSQE_CQE_SKIP_SUCCESS;  // only -ENOENT and -EALREADY are told, and both are normal
  ++counted_.cancels;
}

void submission::submit_cancel_of_all() noexcept {
  io_uring_sqe& sqe = take_nobodys_sqe();
  io_uring_prep_cancel64(&sqe, 0, IORING_ASYNC_CANCEL_ANY | IORING_ASYNC_CANCEL_ALL);
  sqe.flags |= IOSQE_CQE_SKIP_SUCCESS;
  ++counted_.cancels;
}

// ------------------------------------------------------------------------------------------------------ flush

bool submission::has_listed() const noexcept {
  const auto* const first = static_cast<const operation*>(backlog_.front());
  const bool waits_for_operations =
      first != nullptr && (alone_ != nullptr || (first->has(operation::alone) && operations_in_kernel() > 0));
  return (first != nullptr && !waits_for_operations) || !handler_backlog_.empty() || has_cancels() || !moves_.empty();
}

void submission::flush_and_queue() noexcept {
  for (bool taken = newest_cancel_ == nullptr || let_all_wait(); taken && has_queued();) {
    flush_queued();
    taken = enter(/*wait_count=*/0);
    if (taken && has_cancels()) taken = finish_cancelled();
  }
  may_have_queued_ = has_queued() || !backlog_.empty();
  if (!backlog_.empty()) ring_.hold_back();  // else those that begin in the next turn would take its places
}

void submission::flush_queued() noexcept {
  flush_cancels();
  flush_moves();
  flush_backlogs();
}

// A request that is about to be tried again stands in none of the lists where a cancel looks: one that was to wait, and
// need not, as a send that was taken in part finds room again on its way into the wait. It lies in the task work of
// this thread, which runs after the entries that one enter() submits. A cancel that is among these says -ENOENT, and
// nobody asks again. So before cancels go out the kernel has everything else, and has done its task work. (6.18,
// io_uring/poll.c, IO_APOLL_READY. A multishot request is in the lists all the time.) What is tried again and again, as
// a connect to a Unix socket whose backlog is full, no cancel finds. Returns false where completions have to be taken
// before, or room has to be made.
bool submission::let_all_wait() noexcept {
  if (ring_.modes().sqpoll) return true;  // its thread takes entries and does task work in turns
  if (ring_.unsubmitted() > 0 && !enter(/*wait_count=*/0)) return false;
  constexpr int tries_max = 64;
  for (int tries = 0; tries < tries_max && ring_.has_task_work(); ++tries) {
    if (ring_.ready_completions() > ring_.cq_entries() / 2) return false;
    ring_.run_task_work();
  }
  return true;
}

// The kernel looks for what is to be cancelled in a table of lists. The newest stands first in its list, so that newest
// first is the order in which each is found at once. Where the kernel still has work from those before, or completions
// fill half of their queue, no more than a few go out at a time, which the reap outruns.
void submission::flush_cancels() noexcept {
  constexpr unsigned few = 16;
  const bool is_behind = ring_.has_task_work() || ring_.ready_completions() > ring_.cq_entries() / 2;
  for (unsigned left = is_behind ? few : ring_.free_sqes(); left > 0 && ring_.free_sqes() > 0; --left) {
    if (operation* const op = pop_cancel()) {
      op->set(operation::stage::cancel_sent);
      describe_cancel(reinterpret_cast<std::uint64_t>(op));
    } else if (auto* const handler = handler_cancels_.pop_front()) {
      handler->cancel_queued = false;
      describe_cancel(tagged(*handler));
    } else {
      return;
    }
  }
}

// What was cancelled stays in the kernel's table until its task work has run, and who comes after has to pass it by: of
// a hundred thousand cancels each took 80 us so, and takes one. Returns whether there is room for more completions.
bool submission::finish_cancelled() noexcept {
  const auto has_room = [&] { return ring_.ready_completions() <= ring_.cq_entries() / 2; };
  while (ring_.has_task_work() && has_room())
    if (!enter(/*wait_count=*/0)) return false;
  return has_room();
}

// A linked timeout that has fired ends its operation by user_data, and not before its task work runs (6.18,
// io_uring/timeout.c, io_req_task_link_timeout). One enter() runs some 20 pieces of that, behind what it submits. So
// where the operation has completed in an earlier portion, the timeout would end whoever began at the same address
// meanwhile. Nothing is submitted until all has run. Returns whether it has: completions that are taken make room.
bool submission::end_late_links() noexcept {
  while (ring_.has_task_work()) {
    if (ring_.ready_completions() > ring_.cq_entries() / 2) return false;
    ring_.run_task_work();
  }
  has_late_link_ = false;
  return true;
}

void submission::flush_moves() noexcept {
  while (ring_.free_sqes() > 0) {
    completion_handler* const first = moves_.pop_front();
    if (first == nullptr) return;
    auto& moved = static_cast<movable_timeout&>(*first);
    moved.move_queued = false;
    describe_move(moved);
  }
}

void submission::flush_backlogs() noexcept {
  while (ring_.free_sqes() > 0) {
    auto* const handler = handler_backlog_.pop_front();
    if (handler == nullptr) break;
    describe(*handler);
  }
  while (auto* const op = static_cast<operation*>(backlog_.front())) {
    if (!may_begin(*op)) return;
    backlog_.pop_front();
    if (op->has(operation::linked)) clock_.look();
    describe(*op);
  }
}

// Twice the queue that was too small, if it may be: of entries when as many operations had to wait as it holds, of
// completions when they overflowed.
void submission::grow_ring(unsigned sq_entries_max, unsigned cq_entries_max) noexcept {
  if (ring_.unsubmitted() > 0) return;
  const unsigned sq_now = ring_.sq_entries();
  const unsigned cq_now = ring_.cq_entries();
  const bool sq_grows = counted_.backlogged - backlogged_before_ >= sq_now && 2 * sq_now <= sq_entries_max;
  const bool cq_grows = counted_.overflows > overflows_before_ && 2 * cq_now <= cq_entries_max;
  may_want_more_ = false;
  overflows_before_ = counted_.overflows;
  if (!sq_grows && !cq_grows) return;
  backlogged_before_ = counted_.backlogged;
  const unsigned sq = sq_grows ? 2 * sq_now : sq_now;
  const unsigned cq = std::max(cq_grows ? 2 * cq_now : cq_now, 2 * sq);
  if (times_.has_room_for(sq) && ring_.grow(sq, cq)) ++counted_.growths;
  if (alone_count_ > 0) ring_.hold_back();
}

void submission::set_times_anew() noexcept {
  times_are_old_ = false;
  times_.set_anew();
}

// The kernel can take a part of a chain as the last that it has memory for. It would run the rest as a chain of its
// own, beside the first part and not after it: so those that it has not taken are not given to it any more.
void submission::cut_chain() noexcept {
  io_uring_sqe& last_taken = ring_.sqe_at(ring_.sq_head() - 1);
  chain* const cut = chain::of_linked_or_null(last_taken);
  if (cut == nullptr) return;
  last_taken.flags &= static_cast<std::uint8_t>(~chain::link_flags);  // seen once
  for (std::uint64_t position = ring_.sq_head();; ++position) {
    io_uring_sqe& sqe = ring_.sqe_at(position);
    const bool is_last = (sqe.flags & chain::link_flags) == 0;
    cut->lose(untagged(sqe.user_data));
    ring::blank(sqe, nobody);
    io_uring_prep_nop(&sqe);
    sqe.flags |= IOSQE_CQE_SKIP_SUCCESS;
    ++not_requests_;
    if (is_last) return;
  }
}

// Whether the kernel took not all. A wait that a signal cut short is no refusal.
bool submission::refused(int error) noexcept {
  if (error == EINTR) return false;
  const bool wants_room = error == EBUSY || error == EAGAIN || error == ENOMEM;
  if (!wants_room) fatal_errno(error, "executor: io_uring_enter(2) fails for a reason that no retry mends");
  ++counted_.refusals;
  times_are_old_ = ring_.unsubmitted() > 0;
  if (times_are_old_) {
    if (operation* const op = times_.take_out_lost_link()) keep_lost_deadline(*op);
    else cut_chain();
  }
  return true;
}

}  // namespace gyre::detail
