// SPDX-License-Identifier: MIT
// The life of a chain between its co_await and its last completion, and what became of each of its members.
#include <gyre/runtime/assert.hpp>
#include <gyre/runtime/detail/chain.hpp>
#include <gyre/runtime/executor.hpp>
#include <gyre/runtime/ops/direct.hpp>
#include <gyre/runtime/ops/raw.hpp>

#include <liburing.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <utility>

namespace gyre {

unsigned operation::count_of_several() const noexcept { return static_cast<const detail::chain&>(*this).count_; }

void operation::cancel_several() noexcept { static_cast<detail::chain&>(*this).ask_to_stop(); }

namespace detail {

static_assert(chain::link_flags == (IOSQE_IO_LINK | IOSQE_IO_HARDLINK));

chain_member::chain_member() noexcept : completion_handler{&chain::take_completion, nullptr} {}

chain::cancel_request::cancel_request(chain& its_chain) noexcept
    : completion_handler{&chain::take_cancel, &chain::describe_cancel}, of{its_chain} {}

chain::chain(const operation_kind& its_kind, links how) noexcept : operation{its_kind}, how_{how} { add(several); }

chain* chain::of_linked_or_null(const io_uring_sqe& sqe) noexcept {
  const bool is_member = (sqe.flags & link_flags) != 0 && (sqe.user_data & handler_tag) != 0;
  if (!is_member) return nullptr;
  return static_cast<chain_member&>(untagged(sqe.user_data)).of;
}

// Its members describe themselves. Where they run differs, so that no deadline is ever linked to it.
constinit const operation_kind chain_of_several::link_kind{"link", nullptr, runs_in::worker, &chain::describe_running};
constinit const operation_kind chain_of_several::hard_link_kind{"hard_link", nullptr, runs_in::worker,
                                                                &chain::describe_running};
constinit const operation_kind chain_of_several::drain_kind{"drain", nullptr, runs_in::worker,
                                                            &chain::describe_running};

// ------------------------------------------------------------------------------------------------- its beginning

// Members know who awaits, as some ask for the executor when they describe themselves or make their result.
void chain::start(std::coroutine_handle<> awaiter, boundary& bound, std::span<chain_member> members,
                  chain_member* refused) noexcept {
  members_ = members.data();
  count_ = static_cast<std::uint16_t>(members.size());
  for (chain_member& each : members) {
    GYRE_ASSERT(each.op == this || each.op->its_kind().advance_or_null == nullptr,
                "a composed operation is several requests, and no member of a chain");
    each.of = this;
    if (each.op == this) continue;
    each.op->set_coroutine(awaiter);
    if (has(personal) && !each.op->has(personal)) each.op->take_rights_of(personality_);
    if (!has(foreign)) continue;
    each.op->add(foreign);
    each.op->be_lowest_of(bound);
  }
  const bool fits = count_ <= bound.scope->executor().ring().sq_entries();
  if (refused == nullptr && fits) return start_with_care(awaiter, bound);

  const std::int32_t why = refused != nullptr ? refused->op->res() : -E2BIG;
  set_res(-ECANCELED);
  if (!begin_below(awaiter, bound)) return;  // stopped before that
  for (chain_member& each : members) each.is_broken = true;
  chain_member& failed = refused != nullptr ? *refused : members.front();
  failed.is_broken = false;
  failed.op->set_res(why);
  was_laid_ = was_judged_ = true;
  settle(/*as_stopped=*/false);
}

std::span<chain_member> chain::begin_in_kernel() noexcept {
  was_laid_ = true;
  running_count_ = count_;
  return {members_, count_};
}

// io_uring_prep_timeout(3), IORING_TIMEOUT_ETIME_SUCCESS: else the end of a timeout would break the chain, as it is
// told by an error. io_uring_prep_send_zc(3): the second completion says that the memory is free. An operation that
// owns what it closes has let go of it by now.
void chain::lay(chain_member& described, io_uring_sqe& sqe) noexcept {
  described.where = completion_handler::place::in_kernel;
  const bool is_last = &described == members_ + count_ - 1;
  if (!is_last) sqe.flags |= how_ == links::soft ? IOSQE_IO_LINK : IOSQE_IO_HARDLINK;
  switch (sqe.opcode) {
    case IORING_OP_TIMEOUT:
      if (count_ > 1) sqe.timeout_flags |= IORING_TIMEOUT_ETIME_SUCCESS;
      return;
    case IORING_OP_SEND_ZC:
    case IORING_OP_SENDMSG_ZC:
      described.is_notified = true;
      return;
    case IORING_OP_CLOSE:
      if (described.op->its_kind().where_it_runs != runs_in::worker_unasked) return;
      described.closes_slot = sqe.file_index != 0;
      described.closes = described.closes_slot ? static_cast<int>(sqe.file_index) - 1 : sqe.fd;
      return;
    default:
      return;
  }
}

void chain::lose(completion_handler& lost) noexcept {
  auto& member = static_cast<chain_member&>(lost);
  const bool is_first = !(&member)[-1].is_lost;  // one before it was taken
  member.op->answer_ = {is_first ? -ENOMEM : -ECANCELED, 0};
  member.is_broken = !is_first;
  member.is_lost = member.has_ended = true;
  member.where = completion_handler::place::none;
  --running_count_;
}

// ------------------------------------------------------------------------------------------------- completions

void chain::take_completion(completion_handler& self, std::int32_t res, std::uint32_t flags) noexcept {
  auto& member = static_cast<chain_member&>(self);
  chain& mine = *member.of;
  const auto note = member.op->its_kind().note_or_null;
  const bool is_first = !std::exchange(member.has_answer, true);
  if (note != nullptr) {
    member.op->answer_ = {note(*member.op, {res, flags}), flags};
  } else if (is_first) {
    member.op->answer_ = {res, flags};
    if (mine.loop().ring().modes().big) ops::raw_command::note_rest(*member.op, mine.loop().ring());
  }
  if ((flags & IORING_CQE_F_MORE) != 0) {  // a request that does not end by itself is ended
    if (!member.is_notified) mine.loop().submit_cancel(member);
    return;
  }
  member.has_ended = true;
  --mine.running_count_;
  mine.misses_count_ = 0;
  mine.loop().timers().disarm(mine.late_asking_);
  mine.go_on();
}

void chain::go_on() noexcept {
  const bool cancel_is_under_way = cancel_.where != completion_handler::place::none;
  if (running_count_ > 0) return is_asked_ ? ask_next() : void();
  if (cancel_is_under_way) return;
  if (has(alone)) loop().end_alone();
  settle(judge());
}

chain_member* chain::first_running() const noexcept {
  chain_member* const end = members_ + count_;
  chain_member* const found = std::find_if(members_, end, [](const chain_member& each) { return !each.has_ended; });
  return found == end ? nullptr : found;
}

chain_member* chain::first_to_ask() const noexcept {
  chain_member* const end = members_ + count_;
  chain_member* const found = std::find_if(members_, end, [](const chain_member& each) {
    const bool waits_for_memory = each.is_notified && each.has_answer;
    return !each.has_ended && !waits_for_memory;
  });
  return found == end ? nullptr : found;
}

// ------------------------------------------------------------------------------------------------------ cancels

void chain::ask_to_stop() noexcept {
  if (current() != stage::in_kernel || std::exchange(is_asked_, true)) return;
  ask_next();
}

void chain::ask_next() noexcept {
  if (cancel_.where != completion_handler::place::none) return;
  chain_member* const first = first_to_ask();
  if (first == nullptr || first == asked_for_) return;
  if (first->op->its_kind().where_it_runs == runs_in::worker_unasked) return;
  asked_for_ = first;
  loop().submit(cancel_);
}

void chain::describe_cancel(completion_handler& self, io_uring_sqe& sqe) noexcept {  // io_uring_prep_cancel64(3)
  chain& mine = static_cast<cancel_request&>(self).of;
  mine.loop().count_cancel();
  io_uring_prep_cancel64(&sqe, tagged(*mine.asked_for_), 0);
}

void chain::take_cancel(completion_handler& self, std::int32_t res, std::uint32_t) noexcept {
  chain& mine = static_cast<cancel_request&>(self).of;
  if (res == -ENOENT) {
    constexpr std::uint8_t at_once_max = 8;
    mine.asked_for_ = nullptr;
    if (mine.running_count_ > 0 && ++mine.misses_count_ > at_once_max) {
      mine.misses_count_ = at_once_max;
      executor& loop = mine.loop();
      return loop.timers().arm(mine.late_asking_, later(loop.now(), std::chrono::milliseconds{1}));
    }
  }
  mine.go_on();
}

constinit const timer_kind chain::kind_of_asking{&chain::ask_late};

void chain::ask_late(timer& self) noexcept { static_cast<late_asking&>(self).of.ask_next(); }

// ----------------------------------------------------------------------------------------------- what became of it

// Whether -ECANCELED says of a member that it never ran, for another one's sake, and not that it was cancelled.
//
//   a link       one before it has failed; or it was cut short, which the kernel knows: nobody has asked for a cancel
//   any          none has run, as one behind it was refused when it was submitted
bool chain::was_never_run(std::size_t index) const noexcept {
  const std::span all{members_, count_};
  const auto has_failed = [](const chain_member& each) { return each.op->res() < 0 && each.op->res() != -ETIME; };
  if (how_ == links::soft && std::any_of(all.begin(), all.begin() + static_cast<std::ptrdiff_t>(index), has_failed))
    return true;
  const bool none_ran = std::all_of(all.begin(), all.end(), has_failed);
  const bool one_was_refused = std::any_of(
      all.begin(), all.end(), [](const chain_member& each) { return each.op->res() != -ECANCELED && !each.is_lost; });
  if (none_ran && one_was_refused) return true;
  return how_ == links::soft && index > 0 && !is_asked_;
}

// Returns whether it was stopped: some member was, and none failed by itself before.
bool chain::judge() noexcept {
  was_judged_ = true;
  for (std::size_t index = 0; index < count_; ++index) {
    chain_member& each = members_[index];
    const bool never_ran = each.op->res() == -ECANCELED || each.is_lost;
    if (never_ran || each.op->has(unpolled)) close_left_open(each);  // which is refused before it does anything
    if (never_ran && !each.is_lost && was_never_run(index)) each.is_broken = true;
  }
  bool is_stopped = false;
  for (chain_member& each : std::span{members_, count_}) {
    operation& op = *each.op;
    if (each.is_broken || op.res() >= 0) continue;
    if (has(expired)) op.add(expired);
    if (op.judge_failure()) is_stopped = true;
    if (op.has(timed_out)) add(timed_out);
  }
  return is_stopped;
}

// It was stopped, or its time was over, before the kernel saw it.
void chain::end_unlaid() noexcept {
  if (count_ == 0) return;  // a member of another one, or refused before it was awaited
  for (chain_member& each : std::span{members_, count_}) each.is_broken = &each != members_;
  members_->op->set_res(res());
}

void chain::close_left_open(chain_member& never_run) noexcept {
  const int left_open = std::exchange(never_run.closes, -1);
  if (left_open < 0) return;
  if (never_run.closes_slot) static_cast<void>(own_direct(loop(), left_open));
  else ::close(left_open);
}

void chain::describe_running(const waiter& self, wait_details& told) noexcept {
  const auto& mine = static_cast<const chain&>(self);
  if (mine.count_ == 0) return;
  const chain_member* const running = mine.first_running();
  told = (running != nullptr ? running : mine.members_)->op->details();
}

}  // namespace detail
}  // namespace gyre
