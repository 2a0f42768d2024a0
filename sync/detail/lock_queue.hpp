// SPDX-License-Identifier: MIT
// Those of one executor who wait for one lock: a queue in user space, behind one wait in the kernel.
//
// To others the queue is a single waiter: it sleeps in the kernel for all, and takes the lock for the first of them.
//
//   phase     in the kernel
//   idle      nothing. Nobody waits here; or the lock is held by a coroutine of this executor, whose unlock will look
//             here (`local` in the word)
//   asleep    a wait on the word as it was when we said `waits`
//   leaving   the same, and it is asked to end, as nobody waits here any more
//
//   somebody comes      idle: contend(). asleep or leaving: the wait's end will be for him, too
//   contend()           free: takes it for the first. Held here: says `local`. Held elsewhere: says `waits`, and sleeps
//   the last one goes   asleep -> leaving
//   unlocked here       hand_over(): the first has it, the word stays locked, and no system call is made. After
//                       hand_overs_max of these, while others sleep: let_others_in()
//
// How the wait in the kernel ends:
//
//   answer       somebody waits here             nobody does
//   0            contend(), and says `waits`     passes the wake on to the next in the kernel: it is not ours
//   -EAGAIN      contend(): the word had changed nothing
//   -ECANCELED   contend(): he came meanwhile    nothing: a wait that was cancelled has taken no wake
//
// A queue that was woken says `waits` because others may sleep of whom the word says nothing: who left the lock made 0
// of it. `leaving` keeps its answer apart from the next wait: there is one at a time, and a new one begins when the old
// one has ended. One that is not in the kernel yet when the word changes is answered -EAGAIN there: so its word is the
// one that says `waits`, and nobody can have left the lock in between without a change.
//
// let_others_in() leaves 0 | waits behind, which nobody of this executor takes, wakes one, and goes to sleep behind it
// on that word: the woken one will take the lock, and wake the next when it leaves it. Where none is asleep, the first
// here has it. The woken one may instead pass the wake on, as nobody waits there any more, before this queue's wait is
// in the kernel: then the lock stays free, and nothing tells it. So who sleeps on 0 | waits looks for itself now and
// then (look_interval).
//
// Whoever is woken for a robust lock may be killed before he has it. So a queue that sleeps for one looks for itself
// now and then (look_interval), and does not sleep on 0 | waits: it pauses for a moment instead.
//
// Where the kernel has no such wait a pause takes its place (word_wait.hpp): the word is looked at once a millisecond.
#pragma once

#include <gyre/runtime/suspension.hpp>
#include <gyre/sync/detail/lock_wait.hpp>
#include <gyre/sync/detail/mutex_word.hpp>
#include <gyre/sync/detail/word_wait.hpp>

#include <cstddef>
#include <cstdint>

struct io_uring_sqe;

namespace gyre::sync::detail {

/// How often in a row coroutines of one executor hand a lock on among themselves while others sleep for it.
inline constexpr std::uint32_t hand_overs_max = 64;

class lock_queue final : public word_wait {
 public:
  explicit lock_queue(word_queues& home) noexcept;
  lock_queue(const lock_queue&) = delete;
  lock_queue& operator=(const lock_queue&) = delete;
  ~lock_queue();

  /// Stays found until as many release_hold() as there were hold().
  void hold() noexcept { ++holds_count_; }
  void release_hold() noexcept;

  void enter(lock_wait& entering, mutex_word& lock) noexcept;
  [[nodiscard]] bool leave(lock_wait& leaving) noexcept;
  [[nodiscard]] bool has_waiters() const noexcept { return waiters_count_ > 0; }

  /// The lock, which is held here, is left. Somebody must wait.
  void hand_over(mutex_word& lock) noexcept;

  const void* address = nullptr;
  lock_queue* next_in_bucket = nullptr;

 private:
  enum class phase : std::uint8_t { idle, asleep, leaving };

  [[nodiscard]] std::uint32_t own_tag(const mutex_word& lock) const noexcept;
  void contend(mutex_word& lock, bool woken) noexcept;
  [[nodiscard]] bool try_take_for_first(mutex_word& lock, std::uint32_t& seen, std::uint32_t tag, bool woken) noexcept;
  [[nodiscard]] bool try_say(mutex_word& lock, std::uint32_t& seen, std::uint32_t said) noexcept;
  void say_local(mutex_word& lock) noexcept;
  void let_others_in(mutex_word& lock) noexcept;
  void grant_to_first(mutex_word& lock) noexcept;
  void refuse_all() noexcept;
  [[nodiscard]] lock_wait& pop_first() noexcept;
  void sleep_on(std::uint32_t expected) noexcept;
  void sleep_for_a_moment() noexcept;
  void look_later() noexcept;
  void rest() noexcept;
  static void describe(kernel_request& self, io_uring_sqe& sqe) noexcept;
  static void ended(kernel_request& self, std::int32_t res, std::uint32_t flags) noexcept;

  // Of a robust lock, and of one that others were let into: when it looks for itself.
  struct look_timer final : gyre::detail::timer {
    explicit look_timer(lock_queue& its_queue) noexcept : timer{kind_of_look}, queue{its_queue} {}
    static void expired(timer& self) noexcept;
    static const gyre::detail::timer_kind kind_of_look;
    lock_queue& queue;
  };

  const std::uint32_t tag_in_process_;
  look_timer look_timer_{*this};
  suspension_list waiting_;
  std::size_t waiters_count_ = 0;
  std::uint32_t holds_count_ = 0;
  std::uint32_t hand_overs_count_ = 0;
  std::uint32_t expected_ = 0;
  lock_sort sort_ = lock_sort::in_process;  // of the lock, which may be gone while the queue is leaving
  phase phase_ = phase::idle;
};

}  // namespace gyre::sync::detail
