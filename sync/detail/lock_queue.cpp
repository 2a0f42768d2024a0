// SPDX-License-Identifier: MIT
// One executor's part in a lock: see lock_queue.hpp for the protocol, mutex_word.hpp for the word.
#include <gyre/runtime/assert.hpp>
#include <gyre/sync/detail/lock_queue.hpp>
#include <gyre/sync/detail/robust_lock.hpp>
#include <gyre/sync/detail/word_queues.hpp>
#include <gyre/sync/futex.hpp>

#include <utility>

namespace gyre::sync::detail {
namespace {

const std::atomic<std::uint32_t>& word_at(const void* address) noexcept {
  return *static_cast<const std::atomic<std::uint32_t>*>(address);
}

ops::futex_kind kind_of(lock_sort sort) noexcept {
  return sort == lock_sort::in_process ? ops::futex_kind::process_private : ops::futex_kind::process_shared;
}

}  // namespace

lock_queue::lock_queue(word_queues& home) noexcept
    : word_wait{home, &ended, &describe}, tag_in_process_{home.loop.number() + 1} {}

lock_queue::~lock_queue() {
  GYRE_ASSERT(phase_ == phase::idle && waiters_count_ == 0, "nobody waits for a lock when the executor ends");
}

void lock_queue::release_hold() noexcept {
  --holds_count_;
  rest();
}

void lock_queue::enter(lock_wait& entering, mutex_word& lock) noexcept {
  waiting_.push_back(entering);
  ++waiters_count_;
  sort_ = lock.sort;
  if (phase_ == phase::idle && waiters_count_ == 1) contend(lock, /*woken=*/false);
  else say_local(lock);
  rest();
}

bool lock_queue::leave(lock_wait& leaving) noexcept {
  if (!waiting_.remove(leaving)) return false;
  --waiters_count_;
  rest();
  return true;
}

void lock_queue::hand_over(mutex_word& lock) noexcept {
  const bool others_sleep = (lock.value.load(std::memory_order_relaxed) & mutex_word::waits) != 0;
  if (others_sleep && ++hand_overs_count_ > hand_overs_max) let_others_in(lock);
  else grant_to_first(lock);
  rest();
}

// tag_for(), without a look at who runs here.
std::uint32_t lock_queue::own_tag(const mutex_word& lock) const noexcept {
  return sort_ == lock_sort::in_process ? tag_in_process_ : tag_for(lock);
}

// Nothing of this queue is in the kernel, and somebody waits here.
void lock_queue::contend(mutex_word& lock, bool woken) noexcept {
  const std::uint32_t tag = own_tag(lock);
  std::uint32_t seen = lock.value.load(std::memory_order_relaxed);
  for (;;) {
    seen = lock.without_bias(seen, tag);
    if (mutex_word::owner(seen) == 0) {
      if (!try_take_for_first(lock, seen, tag, woken)) continue;
      // The word says nothing of those who are left; that they wait here is told to an executor's own lock alone.
      if (waiters_count_ == 0 || sort_ == lock_sort::in_process) return;
      woken = false;
      seen = lock.value.load(std::memory_order_relaxed);
    } else if (sort_ == lock_sort::in_process && mutex_word::owner(seen) == tag) {
      if (try_say(lock, seen, seen | mutex_word::local | (woken ? mutex_word::waits : 0))) return;
    } else if (try_say(lock, seen, seen | mutex_word::waits)) {
      return sleep_on(seen | mutex_word::waits);
    }
  }
}

bool lock_queue::try_take_for_first(mutex_word& lock, std::uint32_t& seen, std::uint32_t tag, bool woken) noexcept {
  const bool others_here = waiters_count_ > 1 && sort_ == lock_sort::in_process;
  const bool others_sleep = woken || (seen & mutex_word::waits) != 0;
  claimed how = claimed::cleanly;
  if (!try_claim(lock, seen, tag | (others_sleep ? mutex_word::waits : 0) | (others_here ? mutex_word::local : 0), how))
    return false;
  hand_overs_count_ = 0;
  if (how == claimed::but_given_up_on) refuse_all();
  else pop_first().granted(how);
  return true;
}

bool lock_queue::try_say(mutex_word& lock, std::uint32_t& seen, std::uint32_t said) noexcept {
  return seen == said || lock.value.compare_exchange_weak(seen, said, std::memory_order_relaxed);
}

// One more waits here. Where a coroutine of this executor holds the lock, its unlock is to find him.
void lock_queue::say_local(mutex_word& lock) noexcept {
  if (sort_ != lock_sort::in_process) return;
  const std::uint32_t tag = own_tag(lock);
  std::uint32_t seen = lock.value.load(std::memory_order_relaxed);
  if (seen == (tag | mutex_word::biased)) seen = lock.without_bias(seen, tag);
  while (mutex_word::owner(seen) == tag && !try_say(lock, seen, seen | mutex_word::local)) {
  }
}

// Those who sleep come before those who wait here; of those who sleep, the first.
void lock_queue::let_others_in(mutex_word& lock) noexcept {
  hand_overs_count_ = 0;
  if (sort_ == lock_sort::robust) {
    give_up_and_wake(lock);
    if (phase_ == phase::idle) sleep_for_a_moment();
    return;
  }
  give_up(lock, mutex_word::waits);
  const std::size_t woken_count = futex_wake(lock.value, 1, kind_of(sort_));
  if (phase_ != phase::idle) return;  // it is in the kernel itself, and its turn comes there
  std::uint32_t seen = mutex_word::waits;
  if (woken_count == 0) {  // nobody slept, and who comes now finds it free
    lock.value.compare_exchange_strong(seen, 0, std::memory_order_relaxed);
    return contend(lock, /*woken=*/false);
  }
  seen = lock.value.load(std::memory_order_relaxed);
  if (seen == mutex_word::waits) sleep_on(seen);
  else contend(lock, /*woken=*/false);
}

// The word stays locked: no other executor, thread or process sees anything of it.
void lock_queue::grant_to_first(mutex_word& lock) noexcept {
  lock_wait& first = pop_first();
  if (sort_ == lock_sort::in_process) {
    const std::uint32_t mine = own_tag(lock) | (waiters_count_ > 0 ? mutex_word::local : 0);
    std::uint32_t seen = lock.value.load(std::memory_order_relaxed);
    while (!try_say(lock, seen, mine | (seen & mutex_word::waits))) {
    }
  }
  first.granted(claimed::cleanly);
}

// What the lock protects was left half done, and nobody made it good: whoever wants it hears so.
void lock_queue::refuse_all() noexcept {
  while (waiters_count_ > 0) pop_first().granted(claimed::but_given_up_on);
}

lock_wait& lock_queue::pop_first() noexcept {
  --waiters_count_;
  return static_cast<lock_wait&>(*waiting_.pop_front());
}

void lock_queue::sleep_on(std::uint32_t expected) noexcept {
  expected_ = expected;
  phase_ = phase::asleep;
  wait_begins();
  if (sort_ == lock_sort::robust || mutex_word::owner(expected) == 0) look_later();
}

// Sleeps for a moment, whatever the word says.
void lock_queue::sleep_for_a_moment() noexcept {
  phase_ = phase::asleep;
  pause();
}

void lock_queue::look_later() noexcept {
  const auto due = gyre::detail::later(home_.loop.now(), look_interval);
  home_.loop.arm_on({gyre::detail::clock_id::steady, due}, look_timer_);
}

constinit const gyre::detail::timer_kind lock_queue::look_timer::kind_of_look{&look_timer::expired};

void lock_queue::look_timer::expired(timer& self) noexcept {
  lock_queue& queue = static_cast<look_timer&>(self).queue;
  if (queue.phase_ != phase::asleep) return;
  const bool is_free = mutex_word::owner(word_at(queue.address).load(std::memory_order_relaxed)) == 0;
  if (is_free) queue.wait_is_over();  // it takes the lock when that has ended
  else queue.look_later();
}

// When nobody waits here: wants its wait in the kernel back, or is of no use any more. It may be given back after this.
void lock_queue::rest() noexcept {
  if (waiters_count_ > 0) return;
  if (phase_ == phase::asleep) {
    phase_ = phase::leaving;
    wait_is_over();
  } else if (phase_ == phase::idle && holds_count_ == 0) {
    home_.locks.give_back(*this);
  }
}

void lock_queue::describe(kernel_request& self, io_uring_sqe& sqe) noexcept {
  auto& queue = static_cast<lock_queue&>(self);
  ops::prepare_futex_wait(sqe, word_at(queue.address), queue.expected_, kind_of(queue.sort_));
}

void lock_queue::ended(kernel_request& self, std::int32_t res, std::uint32_t) noexcept {
  auto& queue = static_cast<lock_queue&>(self);
  queue.phase_ = phase::idle;
  if (queue.look_timer_.armed()) queue.home_.loop.disarm_on(gyre::detail::clock_id::steady, queue.look_timer_);
  const bool woken = queue.was_woken(res);
  if (queue.waiters_count_ > 0) {
    auto& first = static_cast<lock_wait&>(*queue.waiting_.front());
    queue.contend(first.lock(), woken);
  } else if (woken) {
    futex_wake(word_at(queue.address), 1,
               kind_of(queue.sort_));  // the lock may be gone: its address is all that is used
  }
  queue.rest();
}

// ---------------------------------------------------------------------------------------------------- who waits

void lock_wait::prepare_to_wait() {
  auto& home = executor::current().local<word_queues>();
  queue_ = &home.locks.get(&lock_->value, home);
  queue_->hold();
}

void lock_wait::wait_no_more() noexcept { queue_->release_hold(); }

void lock_wait::wait_for_lock() noexcept {
  queue_->enter(*this, *lock_);
  queue_->release_hold();
}

bool lock_wait::leave_queue() noexcept { return queue_->leave(*this); }

bool lock_operation_base::try_at_once() {
  require_robust_list();
  if (try_lock_at_once()) return true;
  prepare_to_wait();
  return false;
}

constinit const suspension_kind lock_operation_base::kind_of_lock{"mutex", &lock_operation_base::withdraw};

bool lock_operation_base::withdraw(suspension& self) noexcept {
  return static_cast<lock_operation_base&>(self).leave_queue();
}

}  // namespace gyre::sync::detail
