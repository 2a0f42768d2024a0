// SPDX-License-Identifier: MIT
// What happens to permits while somebody waits for them.
#include <gyre/runtime/assert.hpp>
#include <gyre/sync/detail/permits.hpp>

namespace gyre::sync::detail {

// Under the lock. Returns what the word says afterwards.
template <class Lock>
lock_word::word permits<Lock>::grant(std::uint64_t available, granted_suspensions& granted) noexcept {
  while (auto* const first = static_cast<permits_wait<Lock>*>(waiting_.front())) {
    if (first->count_ > available) return available * one | waited;
    available -= first->count_;
    waiting_.pop_front();
    granted.push_back(*first);
  }
  GYRE_ASSERT(available <= count_max, "more permits were given than can be counted");
  return available * one;
}

template <class Lock>
void permits<Lock>::serve(std::uint64_t count) noexcept {
  GYRE_ASSERT(count <= count_max, "more permits were given than can be counted");
  granted_suspensions granted;
  const word seen = lock_.lock();
  lock_.unlock(grant(number_in(seen) + count, granted));
  resume_all<Lock>(granted);
}

template <class Lock>
void permits<Lock>::serve_one_at_most() noexcept {
  granted_suspensions granted;
  static_cast<void>(lock_.lock());
  lock_.unlock(grant(1, granted));
  resume_all<Lock>(granted);
}

template <class Lock>
bool permits<Lock>::take_or_enter(permits_wait<Lock>& entering) noexcept {
  const word seen = lock_.lock();
  const bool waits = (seen & waited) != 0 || number_in(seen) < entering.count_;
  if (waits) waiting_.push_back(entering);
  lock_.unlock(waits ? seen | waited : seen - entering.count_ * one);
  return waits;
}

template <class Lock>
bool permits<Lock>::leave(permits_wait<Lock>& leaving) noexcept {
  granted_suspensions granted;
  const word seen = lock_.lock();
  const bool was_waiting = waiting_.remove(leaving);
  lock_.unlock(was_waiting ? grant(number_in(seen), granted) : seen);
  resume_all<Lock>(granted);
  return was_waiting;
}

template class permits<short_lock>;
template class permits<no_lock>;

}  // namespace gyre::sync::detail
