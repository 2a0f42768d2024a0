// SPDX-License-Identifier: MIT
// How a phase ends: the last one arrives, or the last one that was expected drops.
#include <gyre/sync/barrier.hpp>

namespace gyre::sync::detail {

constinit const suspension_kind barrier_base::arrive_operation::kind{"barrier", &arrive_operation::withdraw};

barrier_base::barrier_base(std::uint64_t expected_count, complete_fn complete) noexcept
    : complete_{complete}, lock_{expected_count}, expected_count_{expected_count} {
  GYRE_ASSERT(expected_count > 0, "somebody arrives at a barrier");
  GYRE_ASSERT(expected_count <= max(), "a barrier expects max() at most");
}

barrier_base::~barrier_base() {
  GYRE_ASSERT((lock_.look() & short_lock::waited) == 0, "a barrier was destroyed while somebody waits in it");
}

// Returns false for the last one, who has completed the phase.
bool barrier_base::arrive(arrive_operation& entering) noexcept {
  const short_lock::word seen = lock_.lock();
  const std::uint64_t missing_count = short_lock::number_in(seen);
  GYRE_ASSERT(missing_count > 0, "no more arrive at a barrier than it expects");
  if (missing_count == 1) {
    complete_phase();
    return false;
  }
  waiting_.push_back(entering);
  lock_.unlock((seen - short_lock::one) | short_lock::waited);
  return true;
}

void barrier_base::arrive_and_drop() noexcept {
  const short_lock::word seen = lock_.lock();
  const std::uint64_t missing_count = short_lock::number_in(seen);
  GYRE_ASSERT(missing_count > 0, "no more arrive at a barrier than it expects");
  --expected_count_;
  if (missing_count == 1) return complete_phase();
  lock_.unlock(seen - short_lock::one);
}

// With the lock, which it opens. From then on the phase is over for who is stopped, and nobody can arrive before it is
// resumed: so the function finds everybody waiting.
void barrier_base::complete_phase() noexcept {
  granted_suspensions all;
  waiting_.move_all_to(all);
  lock_.unlock(expected_count_ * short_lock::one);
  complete_(*this);
  all.resume_all();
}

bool barrier_base::leave(arrive_operation& leaving) noexcept {
  const short_lock::word seen = lock_.lock();
  const bool was_waiting = waiting_.remove(leaving);
  const short_lock::word flag = waiting_.empty() ? 0 : short_lock::waited;
  lock_.unlock((short_lock::number_in(seen) + (was_waiting ? 1 : 0)) * short_lock::one | flag);
  return was_waiting;
}

bool barrier_base::arrive_operation::withdraw(suspension& self) noexcept {
  auto& mine = static_cast<arrive_operation&>(self);
  return mine.barrier_.leave(mine);
}

}  // namespace gyre::sync::detail
