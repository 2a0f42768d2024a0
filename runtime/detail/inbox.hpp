// SPDX-License-Identifier: MIT
// What other threads hand to an executor, who of them has to wake it for that, and when the last of them has gone.
//
// A stack for the work, and one word for everything else. All that changes the word are read-modify-writes, which have
// one order that all threads agree on; the protocol rests on that and needs no fence.
//
//   poster: post()                            executor
//   P1  one more under way     (relaxed)      S1  begin_sleep(): parked           (acquire, release)
//   P2  push the work          (release)      S2  look: empty()
//   P3  leave: one less, or parked is         S3  nothing: sleep
//       taken away    (acquire, release)      S4  end_sleep(): not parked
//   P4  who took parked away wakes it         D1  before it goes: wait_for_posters(), and take what they left
//   P5  and leaves             (release)
//
//   the order of the word    what follows
//   P3 before S1             S1 reads what P3 has released, the push among it: the look finds the work, no sleep
//   P3 between S1 and S4     P3 sees parked, takes it away, and wakes: the first of several posters, the others see
//                            that it is awake. Where the look has found something, a later sleep ends early
//   P3 after S4              the executor is awake, and looks again before it sleeps
//   D1 between P1 and P3/P5  D1 waits: the poster still uses the inbox, and what lies behind the wake
//
// A signal handler may post in the middle of any of this, on any thread: no step waits for another one's, but D1.
// tests/runtime/inbox_model_test.cpp runs this very code in every order of its steps.
#pragma once

#include <gyre/runtime/detail/mpsc_stack.hpp>
#include <gyre/runtime/detail/runnable.hpp>

#include <atomic>
#include <cstdint>
#include <thread>

namespace gyre::detail {

/// The memory that an inbox lies in; the model of the tests has another one.
struct real_memory {
  template <class T>
  using atomic = std::atomic<T>;

  /// Waits until `done(value)`; not for long: no reason to sleep.
  template <class T, class Done>
  static void wait_until(const std::atomic<T>& word, Done done) noexcept {
    while (!done(word.load(std::memory_order_acquire))) std::this_thread::yield();
  }
};

template <class Element, class Memory>
class basic_inbox {
 public:
  /// Leaves `work` for take_all(), and calls `wake()` if the executor sleeps, or is about to. Any thread, and signal
  /// handlers. When it returns, or before that, the work may have run, and be gone; the inbox stays until then.
  template <class Wake>
  void post(Element& work, Wake wake) {
    word_.fetch_add(one_under_way, std::memory_order_relaxed);
    posted_.push(work);
    if (!leave_or_take_parked()) return;
    wake();
    word_.fetch_sub(one_under_way, std::memory_order_release);
  }

  [[nodiscard]] bool empty() const { return posted_.empty(); }

  /// How many posts were made.
  [[nodiscard]] std::uint64_t posts_count() const { return word_.load(std::memory_order_relaxed) / one_post; }

  // The executor's thread only.

  /// Everything that was posted, oldest first, linked through `next`.
  [[nodiscard]] Element* take_all() { return posted_.take_all(); }

  /// From here on a post wakes. Look for posts after it, and not before.
  void begin_sleep() { word_.fetch_or(parked, std::memory_order_acq_rel); }
  void end_sleep() { word_.fetch_and(~parked, std::memory_order_acq_rel); }

  /// Waits until nobody is in post().
  void wait_for_posters() {
    Memory::wait_until(word_, [](std::uint64_t word) { return word % one_post < one_under_way; });
  }

 private:
  // Whether the executor was parked. Then it is no longer, and the poster, still under way, has to wake it.
  bool leave_or_take_parked() {
    std::uint64_t before = word_.load(std::memory_order_relaxed);
    std::uint64_t after = 0;
    do after = before + one_post - ((before & parked) != 0 ? parked : one_under_way);
    while (!word_.compare_exchange_weak(before, after, std::memory_order_acq_rel, std::memory_order_relaxed));
    return (before & parked) != 0;
  }

  // What the word says, from its lowest bit on:
  //   1 bit     the executor sleeps, or is about to, and nobody has undertaken to wake it
  //   15 bits   how many are in post(): threads, and the signal handlers on top of them
  //   48 bits   how many posts were made: for statistics, and free of charge here
  static constexpr std::uint64_t parked = 1;
  static constexpr std::uint64_t one_under_way = 2;
  static constexpr std::uint64_t one_post = 0x1'0000;

  using word = typename Memory::template atomic<std::uint64_t>;
  word word_{0};
  basic_mpsc_stack<Element, Memory> posted_;
};

using inbox = basic_inbox<runnable, real_memory>;
static_assert(std::atomic<std::uint64_t>::is_always_lock_free, "a signal handler posts too");

}  // namespace gyre::detail
