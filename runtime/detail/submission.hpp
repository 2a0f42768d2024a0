// SPDX-License-Identifier: MIT
// Everything between a request and the kernel: entries are described while there are some, the rest waits in lists.
//
//   submit()          describes the request in an entry; where none is free, or others wait already: into a backlog
//   submit_cancel()   into a list of cancels
//   flush()           cancels first, so that a full queue never delays one; then the backlogs, oldest first; and one
//                     enter() gives the kernel all of it. Again, as long as something waits and the kernel takes all.
//                     Between cancels it runs what they have caused in the kernel: see flush_cancels()
//   submit_move()     into a list of timeouts to be moved, which goes out with the cancels: one request a turn for each
//   refused           for want of room: what is left stays where it is. Completions that are taken make room, and the
//                     next flush() goes on
//
// An operation nearly always takes its entry from the ring by itself, and nothing here is called for it but flush():
// operation::begin_plainly().
#pragma once

#include <gyre/runtime/detail/clock_timers.hpp>
#include <gyre/runtime/detail/coarse_clock.hpp>
#include <gyre/runtime/detail/completion_handler.hpp>
#include <gyre/runtime/detail/intrusive.hpp>
#include <gyre/runtime/detail/kernel_times.hpp>
#include <gyre/runtime/detail/ring.hpp>
#include <gyre/runtime/detail/runnable.hpp>

#include <cstddef>
#include <cstdint>

namespace gyre {
class operation;
}

namespace gyre::detail {

class chain;
struct linked_timeout;

class submission {
 public:
  /// See executor_statistics.
  struct counts {
    std::uint64_t cancels = 0;
    std::uint64_t overflows = 0;
    std::uint64_t refusals = 0;
    std::uint64_t backlogged = 0;
    std::uint64_t growths = 0;
  };

  submission(ring& its_ring, coarse_clock& its_clock, timer_heap& its_timers);
  ~submission();

  /// Describes `op` to the ring, or lets it wait for a place.
  void submit(operation& op) noexcept;

  /// Has the kernel asked to stop `op`, before anything else is submitted.
  void submit_cancel(operation& op) noexcept;

  /// Ends `op`, which the kernel has not seen, as cancelled.
  void drop_queued(operation& op) noexcept;

  /// The operation has completed: a cancel of it that was not sent yet is not sent.
  void forget_cancel(operation& op) noexcept;

  /// An operation that went alone has ended: others may begin again.
  void end_alone() noexcept;

  /// The same for a handler's request. One that is still waiting for a place ends at once, with -ECANCELED.
  void submit(completion_handler& handler) noexcept;
  void submit_cancel(completion_handler& handler) noexcept;

  /// Arms `armed` on the clock of `when`, or moves it there on the same clock. Takes it out.
  void arm(point_in_time when, timer& armed) noexcept;
  void disarm(clock_id clock, timer& armed) noexcept;
  [[nodiscard]] const timer_heap& timers_on(clock_id clock) const noexcept;

  /// Describes a timeout that is not linked, in an entry of its own that was taken last.
  void describe_timeout(movable_timeout& described, io_uring_sqe& sqe) noexcept;

  /// Has the kernel told of what `moved.when` says now. The move is forgotten when its timeout has ended.
  void submit_move(movable_timeout& moved) noexcept;
  void forget_move(movable_timeout& moved) noexcept;

  /// The operation of `link` is back: it hears nothing more of it. The kernel has ended `link`.
  void forget_operation(linked_timeout& link) noexcept;
  void take_back(linked_timeout& link) noexcept;

  /// Counts a cancel request that an operation has described.
  void count_cancel() noexcept { ++counted_.cancels; }

  /// A handler's last completion has come.
  void end_request(completion_handler& handler) noexcept;

  /// A completion has come that ends no request.
  void note_no_end() noexcept { --not_requests_; }

  /// Before cancels go out: has the kernel take what is described, and do its work, so that a cancel finds what waits.
  /// Returns whether that is so; completions that are taken make room.
  [[nodiscard]] [[gnu::cold]] bool let_all_wait() noexcept;

  /// Describes a cancel of all that is in the kernel. There must be a free entry, and nothing that waits for one.
  void submit_cancel_of_all() noexcept;

  /// An entry whose completion nobody waits for, zero but for its user_data. There must be a free one.
  [[nodiscard]] io_uring_sqe& take_nobodys_sqe() noexcept;

  /// Gives the kernel everything there is.
  [[gnu::always_inline]] void flush() noexcept {
    if (has_queued()) [[unlikely]]
      return flush_and_queue();
    if (ring_.unsubmitted() > 0 || ring_.wants_enter()) enter(/*wait_count=*/0);
  }

  /// flush() when has_queued().
  [[gnu::cold]] void flush_and_queue() noexcept;

  /// An operation is back, and its linked timeout may have fired and wait for its turn in the kernel: see
  /// end_late_links().
  void note_late_link() noexcept { has_late_link_ = true; }

  /// Submits what is described, and waits for `wait_count` completions, no longer than `wait_max`. Returns whether the
  /// kernel took all: none, where completions are to be taken before.
  bool enter(unsigned wait_count, clock_ns wait_max = for_ever) noexcept {
    if (has_late_link_) [[unlikely]]
      if (!end_late_links()) return false;
    if (times_are_old_) [[unlikely]]
      set_times_anew();
    if (ring_.overflowed()) [[unlikely]]
      note_overflow();

    const int error = ring_.enter(wait_count, wait_max);
    if (alone_count_ > 0) [[unlikely]]
      ring_.hold_back();
    return error == 0 || !refused(error);
  }

  /// Whether a queue of the ring was too small since grow_ring().
  [[nodiscard]] bool may_want_more() const noexcept { return may_want_more_; }

  /// Makes it larger, if that is what is missing, up to so many entries. When nobody looks at a completion.
  [[gnu::cold]] void grow_ring(unsigned sq_entries_max, unsigned cq_entries_max) noexcept;

  /// Whether its lists end where they say; looked at as far as `most` elements. For GYRE_ASSERT_ALL.
  [[nodiscard]] bool is_sound(std::size_t most) const noexcept {
    return backlog_.is_sound(most) && handler_backlog_.is_sound(most) && handler_cancels_.is_sound(most) &&
           moves_.is_sound(most);
  }

  /// Requests that have no submission entry yet.
  [[nodiscard]] bool has_queued() const noexcept {
    if (!may_have_queued_) [[likely]]
      return false;
    return has_listed();
  }

  /// Whether there is something to tell the kernel.
  [[nodiscard]] bool has_work() const noexcept { return has_queued() || ring_.unsubmitted() > 0; }

  /// Requests in flight in the kernel that are operations'.
  [[nodiscard]] std::uint32_t operations_in_kernel() const noexcept { return in_kernel_count() - apart_count_; }

  /// Requests in flight in the kernel.
  [[nodiscard]] std::uint32_t in_kernel_count() const noexcept {
    return static_cast<std::uint32_t>(ring_.sq_tail() - ring_.cq_head()) - not_requests_;
  }

  [[nodiscard]] const counts& counted() const noexcept { return counted_; }

 private:
  [[nodiscard]] io_uring_sqe& take_sqe() noexcept;
  void describe(operation& op) noexcept;
  [[gnu::cold]] void describe(chain& together) noexcept;
  static void describe_in(io_uring_sqe& sqe, operation& op) noexcept;
  void describe(completion_handler& handler) noexcept;
  [[gnu::cold]] void put_first(operation& op) noexcept;
  [[nodiscard]] bool may_begin(const operation& op) const noexcept;
  void describe_cancel(std::uint64_t user_data) noexcept;
  void describe_move(movable_timeout& moved) noexcept;
  [[gnu::cold]] void link_heard(operation& op, io_uring_sqe& described) noexcept;
  [[nodiscard]] linked_timeout* link_or_null() noexcept;
  [[gnu::cold]] void keep_lost_deadline(operation& op) noexcept;
  [[gnu::cold]] void keep_deadline(operation& op) noexcept;
  [[gnu::cold]] void cut_chain() noexcept;
  [[gnu::cold]] static void fit_for_polling(operation& op, io_uring_sqe& described) noexcept;
  [[nodiscard]] clock_ns on_steady_clock(point_in_time when) const noexcept;
  [[gnu::cold]] void note_overflow() noexcept {
    ++counted_.overflows;
    may_want_more_ = true;
  }
  [[nodiscard]] std::size_t last_index() const noexcept { return ring_.index_of(ring_.sq_tail() - 1); }
  void flush_cancels() noexcept;
  [[nodiscard]] operation* pop_cancel() noexcept;
  [[nodiscard]] bool finish_cancelled() noexcept;
  void flush_moves() noexcept;
  void flush_backlogs() noexcept;
  [[gnu::cold]] [[nodiscard]] bool end_late_links() noexcept;
  [[gnu::cold]] bool refused(int error) noexcept;
  [[gnu::cold]] void set_times_anew() noexcept;
  void flush_queued() noexcept;
  [[nodiscard]] bool has_listed() const noexcept;
  [[nodiscard]] bool has_cancels() const noexcept { return newest_cancel_ != nullptr || !handler_cancels_.empty(); }

  ring& ring_;
  coarse_clock& clock_;
  timer_heap& timers_;
  bool may_have_queued_ = false;  // something was put into one of the lists of what has no entry yet
  bool times_are_old_ = false;    // entries were refused: what they say of timeouts counts from a moment that is past
  bool has_late_link_ = false;    // work of the kernel comes before entries: see end_late_links()
  bool may_want_more_ = false;    // a queue of the ring was full
  std::uint64_t overflows_before_ = 0;  // up to what was counted when the ring last grew, or was looked at for it
  std::uint64_t backlogged_before_ = 0;
  unsigned not_requests_ = 0;   // entries that are nobody's request, less completions that ended no request
  unsigned apart_count_ = 0;    // requests of handlers in the kernel
  unsigned alone_count_ = 0;    // operations that go alone: those that wait for that, and the one that does
  operation* alone_ = nullptr;  // the one that does
  counts counted_;
  kernel_times times_;
  intrusive_queue<runnable> backlog_;   // operations without a submission entry
  operation* newest_cancel_ = nullptr;  // of operations in the kernel: a list, newest first
  intrusive_queue<completion_handler> handler_backlog_;
  intrusive_queue<completion_handler> handler_cancels_;
  intrusive_queue<completion_handler> moves_;        // of timeouts in the kernel
  intrusive_queue<completion_handler> spare_links_;  // linked_timeouts, as many as were in flight at a time
  clock_timers boot_timers_{clock_id::boot, ring_, *this};
  clock_timers system_timers_{clock_id::system, ring_, *this};
};

}  // namespace gyre::detail
