// SPDX-License-Identifier: MIT
// One executor's part in a condition variable: see condition_queue.hpp for the protocol.
#include <gyre/runtime/assert.hpp>
#include <gyre/sync/detail/condition_queue.hpp>
#include <gyre/sync/detail/condition_wait.hpp>
#include <gyre/sync/detail/word_queues.hpp>
#include <gyre/sync/futex.hpp>

#include <exception>
#include <limits>

namespace gyre::sync::detail {
namespace {

const std::atomic<std::uint32_t>& word_at(const void* address) noexcept {
  return static_cast<const condition_words*>(address)->word();
}

}  // namespace

condition_queue::condition_queue(word_queues& home) noexcept : word_wait{home, &ended, &describe} {}

condition_queue::~condition_queue() {
  GYRE_ASSERT(phase_ == phase::idle && waiters_count_ == 0, "nobody waits for a condition when the executor ends");
}

void condition_queue::enter(condition_wait_base& entering, condition_words& words) noexcept {
  words.waiters_count.fetch_add(1, std::memory_order_relaxed);
  entering.since_ = words.notifies.load(std::memory_order_relaxed);
  waiting_.push_back(entering);
  if (++waiters_count_ > 1) return;
  seen_ = entering.since_;  // also while it is leaving: its wait may be of another one, which was here before
  kind_ = words.kind;
  if (phase_ == phase::idle) sleep(words);
}

bool condition_queue::leave(condition_wait_base& leaving, condition_words& words) noexcept {
  if (!waiting_.remove(leaving)) return false;
  words.waiters_count.fetch_sub(1, std::memory_order_relaxed);
  --waiters_count_;
  somebody_went_ = true;
  rest();
  return true;
}

void condition_queue::notify_one(condition_words& words) noexcept {
  const bool others_wait = words.waiters_count.load(std::memory_order_relaxed) > waiters_count_;
  if (others_wait && ++own_notifies_count_ > own_notifies_max) {
    own_notifies_count_ = 0;
    if (futex_wake(words.word(), 1, words.kind) > 0) return;
  }
  seen_ += condition_words::one_notify;  // this one is dealt with here
  somebody_went_ = true;
  static_cast<void>(let_first_go(words, words.notifies.load(std::memory_order_relaxed)));
  rest();
}

void condition_queue::notify_all(condition_words& words) noexcept {
  seen_ = words.notifies.load(std::memory_order_acquire);
  while (let_first_go(words, seen_)) {
  }
  rest();
}

// The wait in the kernel has ended.
void condition_queue::look(condition_words& words, bool woken) noexcept {
  const std::uint64_t now = words.notifies.load(std::memory_order_acquire);
  const bool all = condition_words::count_of_all(now) != condition_words::count_of_all(seen_);
  std::uint32_t count = condition_words::count(now) - condition_words::count(seen_);
  if (all) count = std::numeric_limits<std::uint32_t>::max();
  else if (woken && count == 0) count = 1;  // passed on by somebody
  seen_ = now;

  bool is_taken = false;
  while (count-- > 0 && let_first_go(words, now)) is_taken = true;
  if (woken && !is_taken && somebody_went_) futex_wake(words.word(), every_waiter, words.kind);
  if (waiters_count_ > 0) sleep(words);
}

// Unless nobody waits here who came before the latest notify.
bool condition_queue::let_first_go(condition_words& words, std::uint64_t now) noexcept {
  auto* const first = static_cast<condition_wait_base*>(waiting_.front());
  if (first == nullptr || first->since_ == now) return false;
  waiting_.pop_front();
  --waiters_count_;
  words.waiters_count.fetch_sub(1, std::memory_order_relaxed);
  first->notified();
  return true;
}

void condition_queue::sleep(condition_words&) noexcept {
  somebody_went_ = false;
  phase_ = phase::asleep;
  wait_begins();
}

// When nobody waits here: wants its wait in the kernel back, or is of no use any more. It may be given back after this.
void condition_queue::rest() noexcept {
  if (waiters_count_ > 0) return;
  if (phase_ == phase::asleep) {
    phase_ = phase::leaving;
    wait_is_over();
  } else if (phase_ == phase::idle) {
    home_.conditions.give_back(*this);
  }
}

void condition_queue::describe(kernel_request& self, io_uring_sqe& sqe) noexcept {
  auto& queue = static_cast<condition_queue&>(self);
  ops::prepare_futex_wait(sqe, word_at(queue.address), condition_words::count(queue.seen_), queue.kind_);
}

void condition_queue::ended(kernel_request& self, std::int32_t res, std::uint32_t) noexcept {
  auto& queue = static_cast<condition_queue&>(self);
  queue.phase_ = phase::idle;
  const bool woken = queue.was_woken(res);
  if (auto* const first = static_cast<condition_wait_base*>(queue.waiting_.front())) queue.look(*first->words_, woken);
  else if (woken)
    futex_wake(word_at(queue.address), every_waiter, queue.kind_);  // it may be gone: only its address is used
  queue.rest();
}

// ---------------------------------------------------------------------------------------------------- who waits

void condition_wait_base::prepare() {
  prepare_to_wait();
  try {
    auto& home = executor::current().local<word_queues>();
    condition_ = &home.conditions.get(words_, home);
  } catch (...) {
    wait_no_more();
    throw;
  }
}

void condition_wait_base::sleep() noexcept {
  sleeps_ = true;
  condition_->enter(*this, *words_);
  mutex_word& held = lock();
  if (!held.try_unlock_at_once(tag_for(held))) unlock_with_waiters(held);
}

void condition_wait_base::sleep_no_more() noexcept {
  condition_->rest();
  wait_no_more();
}

void condition_wait_base::notified() noexcept {
  sleeps_ = false;
  wait_for_lock();
}

constinit const suspension_kind condition_wait_base::kind_of_condition{
    "condition_variable", &condition_wait_base::withdraw, &condition_wait_base::arrived};

bool condition_wait_base::withdraw(suspension& self) noexcept {
  auto& wait = static_cast<condition_wait_base&>(self);
  if (!wait.sleeps_) return false;
  static_cast<void>(wait.condition_->leave(wait, *wait.words_));
  wait.is_stopped_ = true;
  wait.notified();
  return false;
}

bool condition_wait_base::arrived(suspension& self) noexcept {
  auto& wait = static_cast<condition_wait_base&>(self);
  if (!wait.is_stopped_) return true;
  const bool waits = wait.wait_again();
  GYRE_ASSERT(!waits, "a scope that was cancelled stays so");
  return false;
}

}  // namespace gyre::sync::detail
