// SPDX-License-Identifier: MIT
// Who does it, and who is next when that fails.
#include <gyre/sync/once.hpp>

namespace gyre::sync {

using detail::short_lock;

constinit const suspension_kind once::attempt_operation::kind{"once", &attempt_operation::withdraw};

once::~once() { GYRE_ASSERT(stage_in(lock_.look()) != stage::running, "a once was destroyed while somebody does it"); }

// Returns whether there is nothing to wait for: it is done, or nobody is at it.
bool once::try_begin(bool& is_its_turn) noexcept {
  for (short_lock::word seen = lock_.look(); stage_in(seen) != stage::running;) {
    if (stage_in(seen) == stage::done) return true;
    is_its_turn = lock_.try_change(seen, word_of(stage::running));
    if (is_its_turn) return true;
  }
  return false;
}

bool once::enter(attempt_operation& entering) noexcept {
  const short_lock::word seen = lock_.lock();
  const bool waits = stage_in(seen) == stage::running;
  if (waits) waiting_.push_back(entering);
  entering.is_its_turn_ = stage_in(seen) == stage::idle;
  const short_lock::word otherwise = entering.is_its_turn_ ? word_of(stage::running) : seen;
  lock_.unlock(waits ? seen | short_lock::waited : otherwise);
  return waits;
}

bool once::leave(attempt_operation& leaving) noexcept {
  const short_lock::word seen = lock_.lock();
  const bool was_waiting = waiting_.remove(leaving);
  lock_.unlock(waiting_.empty() ? seen & ~short_lock::waited : seen);
  return was_waiting;
}

void once::succeeded() noexcept {
  granted_suspensions all;
  static_cast<void>(lock_.lock());
  waiting_.move_all_to(all);
  lock_.unlock(word_of(stage::done));
  all.resume_all();
}

void once::failed() noexcept {
  static_cast<void>(lock_.lock());
  auto* const next = static_cast<attempt_operation*>(waiting_.pop_front());
  if (next != nullptr) next->is_its_turn_ = true;
  const short_lock::word flag = waiting_.empty() ? 0 : short_lock::waited;
  lock_.unlock(next != nullptr ? word_of(stage::running) | flag : word_of(stage::idle));
  if (next != nullptr) next->resume_from_any_thread();
}

bool once::attempt_operation::withdraw(suspension& self) noexcept {
  auto& mine = static_cast<attempt_operation&>(self);
  return mine.of_.leave(mine);
}

}  // namespace gyre::sync
