// SPDX-License-Identifier: MIT
// The only door to the kernel: submission entries go in, completions come out.
//
// An executor knows this class and nothing of io_uring beyond it. Behind it stands the kernel (kernel_ring) or a
// test's script (scripted_ring), chosen at run time. What happens for each operation is inline here, on the two queues
// that both sides share; what happens once a turn is virtual.
//
// Order of a submission: try_sqe() hands out an entry, which the caller describes before anything else is called; the
// next enter() gives all of them to the kernel, in that order.
//
// Order of a completion: the other side writes it and moves the queue's tail; oldest_completions() shows it;
// free_oldest() gives back its place, before the next enter().
#pragma once

#include <gyre/runtime/detail/timer_heap.hpp>
#include <gyre/runtime/fd_ref.hpp>
#include <gyre/runtime/point_in_time.hpp>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

struct io_uring_sqe;

namespace gyre::detail {

/// One CQE.
struct completion {
  struct answer {
    std::int32_t res;
    std::uint32_t flags;
  };

  std::uint64_t user_data;
  std::int32_t res;
  std::uint32_t flags;

  [[nodiscard]] answer its_answer() const noexcept { return {res, flags}; }
};

/// A time to wait that does not end.
inline constexpr clock_ns for_ever = timer_links::end_of_time;

/// In what a ring differs from the plain one, as far as its machine has granted it.
struct ring_modes {
  bool sqpoll = false;    ///< A thread of the kernel's takes what is submitted, whenever it gets to it.
  bool iopoll = false;    ///< Completions come only to who asks for them: nothing signals, and nothing is waited for.
  bool big = false;       ///< Entries have 128 bytes and completions 32: for commands. See begin_run().
  bool min_wait = false;  ///< A wait for several completions is content with one after a while: see enter().
};

/// A ring of buffers from which the other side takes: IORING_REGISTER_PBUF_RING.
struct buffer_ring_request {
  void* entries = nullptr;   ///< `count` of struct io_uring_buf, at the beginning of a page.
  unsigned count = 0;        ///< A power of two.
  std::uint16_t group = 0;   ///< By which requests name it.
  bool incremental = false;  ///< A buffer is used bit by bit, by many requests.
};

/// A receive queue of a network device that is to put what comes into memory of this process:
/// IORING_REGISTER_ZCRX_IFQ. The memory begins with a page, and is the ring's until that is closed.
struct zero_copy_request {
  const char* interface = nullptr;   ///< The device's name.
  unsigned rx_queue = 0;             ///< Of its receive queues, from 0.
  std::span<std::byte> area;         ///< Where packets go: whole pages.
  std::span<std::byte> refill_ring;  ///< By which they come back: whole pages.
  unsigned refill_entries = 0;       ///< A power of two; `refill_ring` has room for them behind its first page.
};

/// Gives back what one completion has brought: struct io_uring_zcrx_rqe.
struct zero_copy_refill {
  std::uint64_t offset;
  std::uint32_t bytes;
  std::uint32_t reserved;
};

/// What the other side has made of it.
struct zero_copy_grant {
  std::uint32_t number = 0;                     ///< By which requests name the queue.
  std::uint64_t area_token = 0;                 ///< The high bits of each refill's offset.
  unsigned refill_entries = 0;                  ///< A power of two.
  std::uint32_t* refills_read = nullptr;        ///< How many the other side has read.
  std::uint32_t* refills_written = nullptr;     ///< How many it may read.
  zero_copy_refill* refills_or_null = nullptr;  ///< Not null once it is granted.
};

/// What a kernel can have and yet get wrong.
enum class buffer_use : std::uint8_t { incremental, bundles };

class ring {
 public:
  ring(const ring&) = delete;
  ring& operator=(const ring&) = delete;
  virtual ~ring() = default;

  /// A free submission entry, its contents unspecified; null when all are taken until the next enter().
  [[nodiscard]] io_uring_sqe* try_sqe() noexcept {
    return next_sqe_ != run_end_ || begin_run() ? sqe_at_hand_or_null() : nullptr;
  }

  /// The same for those in a hurry: may say no although entries are free. Then try_sqe() knows.
  [[nodiscard]] io_uring_sqe* sqe_at_hand_or_null() noexcept {
    std::byte* const entry = next_sqe_;
    if (entry == run_end_) [[unlikely]]
      return nullptr;
    if (entry == nullptr) __builtin_unreachable();  // spares who asks for null a second comparison
    next_sqe_ = entry + sqe_bytes;
    return reinterpret_cast<io_uring_sqe*>(entry);
  }

  /// Has sqe_at_hand_or_null() say no until try_sqe() has given an entry: somebody else is to come first.
  void hold_back() noexcept { run_end_ = next_sqe_; }

  /// Makes an entry zero but for its user_data.
  static void blank(io_uring_sqe& sqe, std::uint64_t user_data) noexcept {
    using two_words [[gnu::vector_size(16)]] = std::uint64_t;  // four stores, where memset(3) and one more are five
    auto* const bytes = reinterpret_cast<std::byte*>(&sqe);
    const two_words zeros{0, 0};
    const two_words begins_with_user_data{user_data, 0};
    static_assert(sqe_bytes == 4 * sizeof zeros && user_data_offset == 2 * sizeof zeros);
    std::memcpy(bytes, &zeros, sizeof zeros);
    std::memcpy(bytes + sizeof zeros, &zeros, sizeof zeros);
    std::memcpy(bytes + user_data_offset, &begins_with_user_data, sizeof zeros);
    std::memcpy(bytes + 3 * sizeof zeros, &zeros, sizeof zeros);
  }

  /// The entry that was given after `position` others, until its place is given again; and its place, below
  /// sq_entries().
  [[nodiscard]] io_uring_sqe& sqe_at(std::uint64_t position) const noexcept {
    return *reinterpret_cast<io_uring_sqe*>(sqes_ + (index_of(position) << sqe_shift_));
  }
  [[nodiscard]] std::size_t index_of(std::uint64_t position) const noexcept { return position & (sq_entries_ - 1); }

  /// How many entries were ever given.
  [[nodiscard]] std::uint64_t sq_tail() const noexcept { return lap_begin_ + entries_before(next_sqe_); }

  /// How many entries were ever submitted.
  [[nodiscard]] std::uint64_t sq_head() const noexcept { return sq_taken_; }

  /// Entries that the next enter() has to submit.
  [[nodiscard]] unsigned unsubmitted() const noexcept { return unsubmitted_of(sq_tail()); }

  /// Entries that try_sqe() will give before it says no.
  [[nodiscard]] unsigned free_sqes() const noexcept {
    if (sq_reader_ == nullptr) [[likely]]
      return sq_entries_ - unsubmitted();
    return sq_entries_ -
           (static_cast<unsigned>(sq_tail()) - std::atomic_ref{*sq_reader_}.load(std::memory_order_acquire));
  }

  /// Whether an enter() would bring completions that has_completions() does not know of yet.
  [[nodiscard]] bool wants_enter() const noexcept {
    return (std::atomic_ref{*sq_flags_}.load(std::memory_order_relaxed) & (sq_task_work | sq_cq_overflow)) != 0;
  }

  /// Whether there is work of the kernel that an enter() would run, as far as it says so.
  [[nodiscard]] bool has_task_work() const noexcept {
    return (std::atomic_ref{*sq_flags_}.load(std::memory_order_relaxed) & sq_task_work) != 0;
  }

  /// Has the next enter() run the kernel's task work, whether there is any by now or not: what it submits makes some.
  void expect_task_work() noexcept { expects_task_work_ = true; }

  /// Whether completions are lost to the eye: they wait in the kernel because the completion queue was full.
  [[nodiscard]] bool overflowed() const noexcept {
    return (std::atomic_ref{*sq_flags_}.load(std::memory_order_relaxed) & sq_cq_overflow) != 0;
  }

  /// Whether there is a completion to take.
  [[nodiscard]] bool has_completions() const noexcept { return ready_completions() > 0; }

  /// How many there are to take.
  [[nodiscard]] unsigned ready_completions() const noexcept {
    return std::atomic_ref{*cq_tail_}.load(std::memory_order_acquire) - static_cast<unsigned>(cq_head_);
  }

  /// The oldest completions, at most `count_max`: as many as lie side by side in memory. They stay there until
  /// free_oldest().
  [[nodiscard]] std::span<const completion> oldest_completions(unsigned count_max) const noexcept {
    const unsigned first = static_cast<unsigned>(cq_head_) & (cq_entries_ - 1);
    if (modes_.big) [[unlikely]]
      return {&cqes_[2 * first], std::min({ready_completions(), count_max, 1U})};
    return {cqes_ + first, std::min({ready_completions(), count_max, cq_entries_ - first})};
  }

  /// Where modes().big: what else the oldest completion says.
  [[nodiscard]] std::array<std::uint64_t, 2> rest_of_oldest() const noexcept {
    std::array<std::uint64_t, 2> rest{};
    const unsigned first = static_cast<unsigned>(cq_head_) & (cq_entries_ - 1);
    std::memcpy(rest.data(), &cqes_[2 * first + 1], sizeof rest);
    return rest;
  }

  /// Gives back the places of the `count` oldest.
  void free_oldest(unsigned count) noexcept {
    cq_head_ += count;
    std::atomic_ref{*cq_freed_}.store(static_cast<unsigned>(cq_head_), std::memory_order_release);
  }

  /// How many completions were ever taken.
  [[nodiscard]] std::uint64_t cq_head() const noexcept { return cq_head_; }

  /// Whether the other side has an opcode, as far as it was asked: IORING_REGISTER_PROBE.
  [[nodiscard]] bool knows(std::uint8_t opcode) const noexcept {
    return (known_opcodes_[opcode / 64] >> (opcode % 64) & 1) != 0;
  }

  /// Takes an opcode for one that the other side lacks: what a probe says of it, or what a test wants to see.
  void mask(std::uint8_t opcode) noexcept { known_opcodes_[opcode / 64] &= ~(std::uint64_t{1} << opcode % 64); }

  /// The number of an opcode that no kernel has.
  static constexpr std::uint8_t no_opcode = 0xff;

  /// Submits every entry, runs the kernel's task work, and waits for `wait_count` completions, no longer than
  /// `wait_max`. Where modes().min_wait, one that waits for several is content with one after the time that the ring
  /// was set up with.
  ///
  /// @return   0 when all were taken, or a positive errno: EBUSY and EAGAIN mean reap and try again, EINTR that a
  ///           signal cut the wait short. What was not taken stays queued, of a link the rest; see unsubmitted().
  [[nodiscard]] virtual int enter(unsigned wait_count, clock_ns wait_max) noexcept = 0;
  [[nodiscard]] int enter(unsigned wait_count) noexcept { return enter(wait_count, for_ever); }

  /// Runs a portion of the kernel's task work, and submits nothing.
  virtual void run_task_work() noexcept = 0;

  /// Makes the queues larger, to at least so many entries, and keeps what is in them. When all is submitted, and nobody
  /// looks at a completion.
  ///
  /// @return  Whether they are; a ring that has said no once says no again.
  [[nodiscard]] virtual bool grow(unsigned /*sq_entries*/, unsigned /*cq_entries*/) noexcept { return false; }

  /// Gives the ring a table of `count` direct descriptors, all free, of which the kernel gives away none of the first
  /// `numbered_count`. Once, before anything is submitted. Returns 0 or an errno.
  [[nodiscard]] virtual int register_direct_table(unsigned count, unsigned numbered_count) noexcept = 0;

  /// Has a slot of that table be for the file of a plain descriptor from here on, or for none: -1. On an error it stays
  /// as it is. Returns 0 or an errno.
  [[nodiscard]] virtual int set_direct(unsigned /*slot*/, int /*plain*/) noexcept { return EOPNOTSUPP; }

  /// Gives the ring a table of `count` registered buffers, all free. Once, before anything is submitted. Returns 0 or
  /// an errno.
  [[nodiscard]] virtual int register_buffer_table(unsigned count) noexcept = 0;

  /// Has a slot of that table be for `memory` from here on, or for none where that is empty; on an error it stays as it
  /// is. Returns 0 or an errno.
  [[nodiscard]] virtual int set_buffer(unsigned slot, std::span<std::byte> memory) noexcept = 0;

  /// Has a slot be for what a slot in another ring's table is for, without pinning it anew. Returns 0 or an errno.
  [[nodiscard]] virtual int clone_buffer(unsigned /*slot*/, int /*of_ring*/, unsigned /*of_slot*/) noexcept {
    return EOPNOTSUPP;
  }

  /// Has the ring keep the calling thread's rights. Returns their number, 1 and up, or a negative errno. And no longer.
  [[nodiscard]] virtual int register_personality() noexcept { return -EOPNOTSUPP; }
  virtual void unregister_personality(int /*number*/) noexcept {}

  /// Has requests take buffers from a ring of them, which stays where it is until it is given back. Returns 0 or an
  /// errno. unregister_buffer_ring(): nobody takes from it any more, and no request is in flight that might.
  [[nodiscard]] virtual int register_buffer_ring(const buffer_ring_request&) noexcept { return EOPNOTSUPP; }
  virtual void unregister_buffer_ring(std::uint16_t /*group*/) noexcept {}

  /// Up to where the other side has taken buffers, counted from the first: its low bits. Returns 0 or an errno.
  [[nodiscard]] virtual int look_at_buffer_ring(std::uint16_t /*group*/, std::uint16_t& /*head*/) noexcept {
    return EOPNOTSUPP;
  }

  /// Whether the other side does this, and does it right.
  [[nodiscard]] virtual bool is_trusted_with(buffer_use) const noexcept { return false; }

  /// Has a receive queue of a network device put what comes into memory, until the ring is closed: it cannot be undone.
  /// Returns 0 or an errno: ENODEV where there is no such device.
  [[nodiscard]] virtual int register_zero_copy_queue(const zero_copy_request&, zero_copy_grant&) noexcept {
    return EOPNOTSUPP;
  }

  /// Keeps what the other side was given for good, until the ring is closed. There must be room.
  void keep(std::shared_ptr<void> memory) noexcept { kept_.push_back(std::move(memory)); }
  void make_room_to_keep() { kept_.reserve(kept_.size() + 1); }

  /// Polls the network device behind a NAPI id in waits from here on, or no longer. Returns 0 or an errno.
  [[nodiscard]] virtual int poll_napi_id(unsigned /*id*/, bool /*on*/) noexcept { return EOPNOTSUPP; }

  /// Passes a moment of a spin, some 200 ns; false where nobody should spin.
  [[nodiscard]] virtual bool pause() noexcept { return false; }

  /// Whether completions signal the event descriptor.
  virtual void notify_completions(bool on) noexcept = 0;

  /// The descriptor that is readable when there is something to do: a completion while notify_completions(true), or
  /// wake().
  [[nodiscard]] virtual int event_fd() const noexcept = 0;

  /// Sleeps until the event descriptor is signalled, and takes the signal; no longer than `longest`. May return before
  /// that, and without a signal.
  virtual void sleep(clock_ns longest) noexcept = 0;

  /// The descriptor of the ring itself, which other rings send messages to. From any thread.
  [[nodiscard]] virtual int descriptor() const noexcept = 0;

  /// Signals the event descriptor. From any thread, and from a signal handler.
  virtual void wake() noexcept = 0;

  /// Ends all that is in flight on `fd`, and waits up to `timeout` until nothing there is: their completions are then
  /// there to be taken, or wait for an enter(). Blocks.
  ///
  /// @return  How many were found, or a negative errno: -ETIME when a worker still runs one, -EBADF, -EINVAL where the
  ///          kernel knows no such call.
  [[nodiscard]] virtual int cancel_sync(fd_ref fd, std::chrono::nanoseconds timeout) noexcept = 0;

  /// Wakes up to `count_max` of those who wait on a word, at once. Returns how many.
  virtual std::size_t futex_wake(const std::atomic<std::uint32_t>& word, std::uint32_t count_max,
                                 bool process_private) noexcept = 0;

  /// The clock that timers and deadlines go by: CLOCK_MONOTONIC for the kernel. Entries tell spans of it and never
  /// points: a time namespace shifts what a program reads, and not what io_uring goes by.
  [[nodiscard]] virtual clock_ns now() const noexcept = 0;

  /// What another clock says: the one that the kernel's timeouts on it go by, but for what a time namespace shifts.
  [[nodiscard]] virtual clock_ns now_on(clock_id clock) const noexcept = 0;

  /// In the child of a fork(2), for a ring of the parent's: from here on it is used no more, and what was shared with
  /// the parent is not.
  virtual void part_from_parent() noexcept { is_parents_ = true; }
  [[nodiscard]] bool is_parents() const noexcept { return is_parents_; }

  /// What was not granted at set-up, in sentences; empty when all was.
  [[nodiscard]] virtual std::string notes() const { return {}; }

  // For who sleeps on the event descriptor elsewhere: embedded.hpp.

  /// Takes what signals the event descriptor holds, and waits for none. Returns 0, or a positive errno where the
  /// machine lets nobody look without waiting.
  virtual int take_signals() noexcept = 0;

  /// Registers the event descriptor anew, so that completions signal it again which another eventfd causes: see
  /// parker::sleep_in_ring_from_now_on().
  virtual void renew_event_fd() noexcept = 0;

  [[nodiscard]] unsigned sq_entries() const noexcept { return sq_entries_; }
  [[nodiscard]] unsigned cq_entries() const noexcept { return cq_entries_; }
  [[nodiscard]] const ring_modes& modes() const noexcept { return modes_; }

  /// How often the kernel was entered: system calls, where there is one behind it.
  [[nodiscard]] std::uint64_t enters_count() const noexcept { return enters_count_; }

 protected:
  ring() noexcept = default;

  [[nodiscard]] unsigned unsubmitted_of(std::uint64_t tail) const noexcept {
    return static_cast<unsigned>(tail - sq_taken_);
  }

  // io_uring.h, IORING_SQ_TASKRUN and IORING_SQ_CQ_OVERFLOW; kernel_ring asserts that they agree.
  static constexpr unsigned sq_cq_overflow = 1u << 1;
  static constexpr unsigned sq_task_work = 1u << 2;
  static constexpr std::size_t sqe_bytes = 64;
  static constexpr std::size_t user_data_offset = 32;

  /// The other side has taken all entries before the one with the number `taken`, that is all but `left`: after each
  /// enter().
  void set_taken(std::uint64_t taken, unsigned left) noexcept {
    sq_taken_ = taken;
    run_end_ = sqes_end_;
    if (left > 0 || next_sqe_ >= run_limit_) [[unlikely]]
      begin_run();
  }

  /// The same for a side that takes them when it gets to it: all are given to it.
  void set_given() noexcept {
    sq_taken_ = sq_tail();
    begin_run();
  }

  /// Where the entries lie, a power of two of them. When modes_ are known.
  void set_sqes(std::byte* entries, unsigned count) noexcept {
    sq_entries_ = count;
    sqe_shift_ = modes_.big ? 7 : 6;
    sqes_ = next_sqe_ = entries;
    sqes_end_ = run_end_ = entries + entries_size();
    run_limit_ = modes_.big ? entries : sqes_end_;
    if (modes_.big) begin_run();
  }
  [[nodiscard]] std::size_t entries_size() const noexcept { return std::size_t{sq_entries_} << sqe_shift_; }

  /// The same when there were others, all of them taken: the numbers of entries go on.
  void move_sqes(std::byte* entries, unsigned count) noexcept {
    const std::uint64_t tail = sq_tail();
    set_sqes(entries, count);
    next_sqe_ = entries + (index_of(tail) << sqe_shift_);
    lap_begin_ = tail - index_of(tail);
  }

  // Set by the derived class.
  std::byte* sqes_ = nullptr;
  unsigned sq_entries_ = 0;
  unsigned* sq_flags_ = nullptr;
  const completion* cqes_ = nullptr;
  unsigned cq_entries_ = 0;
  unsigned* cq_tail_ = nullptr;
  unsigned* cq_freed_ = nullptr;
  unsigned* sq_reader_ = nullptr;  // of a side that takes entries when it gets to it: how many it has read
  ring_modes modes_;
  bool expects_task_work_ = false;
  std::uint64_t enters_count_ = 0;

 private:
  // How many entries begin before `place`; behind an entry of 128 bytes that was taken, it is in its middle.
  [[nodiscard]] std::size_t entries_before(const std::byte* place) const noexcept {
    const std::size_t begun = (std::size_t{1} << sqe_shift_) - sqe_bytes;
    return (static_cast<std::size_t>(place - sqes_) + begun) >> sqe_shift_;
  }

  // Entries are given from runs that lie side by side, so that taking one is a comparison and an addition. Returns
  // whether there are any. Big entries are runs of their own, of which the first half is taken: so nobody else has to
  // know of them.
  bool begin_run() noexcept {
    if (modes_.big) [[unlikely]]
      next_sqe_ = sqes_ + (entries_before(next_sqe_) << sqe_shift_);
    if (next_sqe_ == sqes_end_) {
      lap_begin_ += sq_entries_;
      next_sqe_ = sqes_;
    }
    const auto to_end = static_cast<std::size_t>(sqes_end_ - next_sqe_);
    const std::size_t longest = modes_.big ? sqe_bytes : to_end;
    run_end_ = next_sqe_ + std::min(free_sqes() * sqe_bytes, longest);
    return next_sqe_ != run_end_;
  }

  std::byte* next_sqe_ = nullptr;
  std::byte* run_end_ = nullptr;
  std::byte* sqes_end_ = nullptr;
  std::byte* run_limit_ = nullptr;  // from here on no run goes on: the end, or where all entries are runs of their own
  unsigned sqe_shift_ = 6;          // log2 of an entry's size
  std::uint64_t lap_begin_ = 0;     // how many entries were given before the one at sqes_
  std::uint64_t sq_taken_ = 0;      // how many the other side has taken, or was given to take
  std::uint64_t cq_head_ = 0;
  std::array<std::uint64_t, 4> known_opcodes_{~0ULL, ~0ULL, ~0ULL, ~0ULL};
  bool is_parents_ = false;
  std::vector<std::shared_ptr<void>> kept_;  // goes behind the derived class's destructor, which closes the ring
};

/// Puts a completion into the queue of another program's part, or thread, that has a ring with this descriptor: for who
/// has none. Returns 0 or an errno.
[[nodiscard]] int post_to_ring(int descriptor, const completion& posted) noexcept;  // kernel_ring.cpp

}  // namespace gyre::detail
