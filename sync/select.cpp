// SPDX-License-Identifier: MIT
// The rounds of a select(): all locks, one case or a place at each, and the way out.
#include <gyre/sync/select.hpp>

#include <algorithm>
#include <functional>

namespace gyre::sync::detail {

constinit const suspension_kind select_wait::kind_of_select{"select", &select_wait::withdraw};

// Claimed by the cancel, nobody else will claim it; and then nobody else writes to its places.
bool select_wait::withdraw(suspension& self) noexcept {
  auto& mine = static_cast<select_wait&>(self);
  if (!mine.claim_for_cancel()) return false;
  mine.leave_all();
  return true;
}

void select_wait::leave_all() noexcept {
  for (const select_case& each : cases_) {
    const holding held{each.channel->lock_};
    each.at->leave();
  }
}

std::size_t select_wait::leave_others() noexcept {
  leave_all();
  const auto won = std::ranges::find(cases_, claimed_by(), &select_case::at);
  GYRE_ASSERT(won != cases_.end(), "a select is resumed when one of its cases was done");
  return static_cast<std::size_t>(won - cases_.begin());
}

select_round::select_round(std::span<select_case> cases, std::span<select_lock> locks) noexcept
    : cases_{cases}, locks_{locks} {
  std::ranges::transform(cases, locks.begin(),
                         [](const select_case& each) { return select_lock{each.channel, biased_lock::way::shared}; });
  std::ranges::sort(locks, std::less<>{}, &select_lock::channel);
  const auto twice = std::ranges::unique(locks, {}, &select_lock::channel);
  locks_ = locks.first(static_cast<std::size_t>(twice.begin() - locks.begin()));
}

void select_round::lock_all() noexcept {
  for (select_lock& each : locks_) each.entered = each.channel->lock_.enter();
}

void select_round::unlock_all() noexcept {
  for (const select_lock& each : locks_) each.channel->lock_.leave(each.entered);
}

step select_round::run(select_wait* waits_as) noexcept {
  party* woken = nullptr;
  step how = step::must_wait;
  lock_all();
  chosen_ = cases_.front().channel->any_of(cases_.size());
  for (std::size_t left = cases_.size(); left > 0; --left) {
    how = cases_[chosen_].attempt(cases_[chosen_].operation, woken);
    if (how != step::must_wait) break;
    if (++chosen_ == cases_.size()) chosen_ = 0;
  }
  if (how != step::must_wait) gives_way_ = cases_[chosen_].channel->is_time_to_give_way();
  else if (waits_as != nullptr)
    for (const select_case& each : cases_) each.queue->push_back(*each.at);
  unlock_all();
  if (woken != nullptr) woken->wake();
  return how;
}

}  // namespace gyre::sync::detail
