// SPDX-License-Identifier: MIT
// What happens at a gate that somebody waits at.
#include <gyre/sync/detail/gate.hpp>

namespace gyre::sync::detail {

template <class Lock>
void gate<Lock>::let_all_through() noexcept {
  granted_suspensions all;
  static_cast<void>(lock_.lock());
  waiting_.move_all_to(all);
  lock_.unlock(0);
  resume_all<Lock>(all);
}

template <class Lock>
bool gate<Lock>::enter(suspension& entering) noexcept {
  const word seen = lock_.lock();
  const bool waits = number_in(seen) != 0;
  if (waits) waiting_.push_back(entering);
  lock_.unlock(waits ? seen | waited : seen);
  return waits;
}

template <class Lock>
bool gate<Lock>::leave(suspension& leaving) noexcept {
  const word seen = lock_.lock();
  const bool was_waiting = waiting_.remove(leaving);
  lock_.unlock(waiting_.empty() ? seen & ~waited : seen);
  return was_waiting;
}

template class gate<short_lock>;
template class gate<no_lock>;

}  // namespace gyre::sync::detail
