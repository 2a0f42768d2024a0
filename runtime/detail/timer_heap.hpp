// SPDX-License-Identifier: MIT
// Timers of one executor, in user space, so that a sleep or a deadline costs no system call.
//
// Most programs know a few durations, and use each again and again: now + 30 s only grows. So a timer that is due no
// earlier than the last one of a lane is appended there, a link in and a link out. What fits no lane and is due within
// 17 ms or so goes into a 4-ary heap; what is due later goes into slots by its time, unsorted, and into the heap when
// its time comes near. So the heap is small, and a hundred thousand sleepers cost each other nothing. Arming cannot
// fail, and nothing that is done with timers needs memory to succeed.
//
// The first lane is for those in a hurry, the deadlines of operations: arm_in_first_lane() is one comparison, and who
// takes a timer out of there needs no heap at hand. So nobody counts what is in it.
//
// Slots. `reached_` is a time that is over, as far as anybody has said: reach(). It and the time of a timer are
// compared as numbers: the highest bit in which they differ tells how far away the timer is, and so its level; the
// digit of six bits there is its slot. So, counted from `reached_`, in blocks that begin at round numbers:
//
//   heap       to the end of the block of 17 ms; what is past; and what is beyond three days
//   level 0    to the end of a second, in slots of 17 ms         all of a level is due before all of the next,
//   level 1    to the end of a minute, in slots of a second      and all of a slot before all of the next slot
//   level 2    to the end of an hour, in slots of a minute
//   level 3    to the end of three days, in slots of an hour
//
// When time goes on, the slots that are over go into the heap, and the one in which time then stands into the slots of
// the levels below. So a timer is moved once a level; and no move touches a timer. They lie anywhere in memory, and a
// place there that nobody has looked at for long costs more than all the rest. Slots and heap have entries, which say
// when, and a number; under that number a table has who it is. Who is taken out is struck off the table.
//
//   `reached_` lags behind the clock    timers lie in farther slots than they need to; the order is the same
//   the clock was set back              what is due between there and `reached_` goes into the heap; the same
//   a timer is taken out                its entry stays until it comes to be the first of the heap. All that stay so
//                                       are dropped when they are the greater half
//   it was the earliest of a slot       where few are left, the next earliest is looked for. Otherwise earliest() is
//                                       early, but never late; who sleeps until then brings the slot nearer
//   there is no memory                  with its number a timer gets room in the heap, where it goes when a slot has
//                                       none. Who gets no number goes into a lane, at its place, which is linear
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace gyre::detail {

/// A point on the executor's clock (CLOCK_MONOTONIC, or a script's), in nanoseconds.
using clock_ns = std::int64_t;

class timer_heap;

/// A place in a lane, or the end of one: that is due at the end of time, so that an empty lane has no earlier timer.
struct timer_links {
  static constexpr clock_ns end_of_time = INT64_MAX;

  timer_links* previous;
  timer_links* next;
  clock_ns due;
};

class timer;

/// What the timers of one kind share.
struct timer_kind {
  /// Called when one is due, after it has left the queue. Must not run user code.
  void (*expire)(timer& self) noexcept;

  /// For diagnosis, of an operation's deadline: how much memory the two share, which begins with the timer. So who
  /// knows the one finds the other, and neither has to keep where that is.
  std::size_t bytes_with_operation = 0;
};

/// Something that happens at a point in time. Lives in whoever waits; is in at most one queue.
class timer : timer_links {
 public:
  explicit timer(const timer_kind& kind) noexcept : kind_{&kind} {}
  timer(const timer&) = delete;
  timer& operator=(const timer&) = delete;

  [[nodiscard]] bool armed() const noexcept { return place_ != not_armed; }

  /// When it is due, once it was armed; or when it would be, if somebody has to arm it in time.
  [[nodiscard]] clock_ns due() const noexcept { return timer_links::due; }
  void would_be_due(clock_ns due) noexcept { timer_links::due = due; }

  /// Takes it out of the first lane of its heap. Returns false when it is not there.
  bool leave_first_lane() noexcept {
    if (place_ != in_first_lane) [[unlikely]]
      return false;
    previous->next = next;
    next->previous = previous;
    place_ = not_armed;
    return true;
  }

  /// Says to the compiler what is so already, whoever took it out.
  void has_left() noexcept { place_ = not_armed; }

  [[nodiscard]] const timer_kind& its_kind() const noexcept { return *kind_; }

  /// It is due, and has left the queue.
  void expire() noexcept { kind_->expire(*this); }

 private:
  friend class timer_heap;
  static constexpr std::uint32_t not_armed = UINT32_MAX;
  static constexpr std::uint32_t in_first_lane = UINT32_MAX - 1;
  static constexpr std::uint32_t in_other_lane = UINT32_MAX - 2;
  const timer_kind* kind_;
  std::uint32_t place_ = not_armed;  // or its number
};

class timer_heap {
 public:
  timer_heap() noexcept {
    for (timer_links& lane : lanes_) lane = {&lane, &lane, timer_links::end_of_time};
  }
  timer_heap(const timer_heap&) = delete;
  timer_heap& operator=(const timer_heap&) = delete;
  ~timer_heap();

  [[nodiscard]] bool empty() const noexcept { return count_ == 0 && lanes_.front().next == &lanes_.front(); }

  /// How many there are. Walks the first lane.
  [[nodiscard]] std::size_t size() const noexcept;

  /// When the earliest timer is due, or somewhat before; the end of time when there is none.
  [[nodiscard]] clock_ns earliest() const noexcept {
    clock_ns due = heap_.empty() ? earliest_in_slots_ : std::min(heap_.front().due, earliest_in_slots_);
    for (const timer_links& lane : lanes_) due = std::min(due, lane.next->due);
    return due;
  }

  /// When the last of those is due that are due by `limit`, which is earliest() or later; `limit` itself where they are
  /// many.
  [[nodiscard]] clock_ns last_due_by(clock_ns limit) const noexcept;

  /// Arms `armed` for `due`, or moves it there.
  void arm(timer& armed, clock_ns due) noexcept;

  /// The same for one that is not armed, where the first lane has others and it is due after all of them. Returns
  /// whether it is so; otherwise nothing has happened.
  bool arm_in_first_lane(timer& armed, clock_ns due) noexcept {
    timer_links& lane = lanes_.front();
    timer_links& last = *lane.previous;
    if (last.due > due) [[unlikely]]  // the lane is empty, too: then `last` is its end
      return false;
    armed.would_be_due(due);
    link(armed, last, lane);
    armed.place_ = timer::in_first_lane;
    return true;
  }

  /// Takes it out. Does nothing when it is not armed.
  void disarm(timer& armed) noexcept {
    if (!armed.leave_first_lane()) take_out(armed);
  }

  /// Calls `visit(const timer&)` for each that is armed, in no order.
  template <class Visit>
  void for_each(Visit visit) const {
    for (const timer_links& lane : lanes_)
      for (const timer_links* links = lane.next; links != &lane; links = links->next)
        visit(static_cast<const timer&>(*links));
    for (const std::uintptr_t each : table_)
      if (is_timer(each)) visit(*reinterpret_cast<const timer*>(each));
  }

  /// Says that it is `now`. Nobody has to; but it brings timers nearer while there is time for it, and those that are
  /// armed from here on to nearer slots.
  void reach(clock_ns now) noexcept;

  /// Takes out the earliest timer when it is due at `now`; null otherwise. Of those that are due at the same time it is
  /// the one that was armed first, unless the last of a lane was taken out in between.
  [[nodiscard]] timer* pop_due(clock_ns now) noexcept;

  /// Whether lanes and heap are in the order that they are to be in; looked at as far as `most` of each. For
  /// GYRE_ASSERT_ALL.
  [[nodiscard]] bool is_sound(std::size_t most) const noexcept;

 private:
  struct entry {
    clock_ns due;
    std::uint32_t number;  // in the table
    std::uint32_t order;   // of those that are due at the same time, the lower one was armed first
  };
  struct piece {
    piece* next;
    std::uint32_t count;
    std::array<entry, 63> entries;  // the first `count`
  };
  static_assert(sizeof(piece) == 1024);
  struct slot {
    piece* newest = nullptr;  // the others are full
    clock_ns earliest = 0;    // when there are entries: no later than any of them
  };
  struct slot_place {
    unsigned level;
    unsigned digit;
  };
  static constexpr std::uint32_t arity = 4;  // shallower than a binary heap: one cache line of children a level
  static constexpr int near_bits = 24;       // the heap's share of a time
  static constexpr int digit_bits = 6;
  static constexpr unsigned slots_a_level = 1U << digit_bits;
  static constexpr unsigned levels_count = 4;

  static bool before(const entry& one, const entry& other) noexcept {
    if (one.due != other.due) [[likely]]
      return one.due < other.due;
    return static_cast<std::int32_t>(one.order - other.order) < 0;
  }
  // Times as numbers from zero on, in the same order.
  static constexpr std::uint64_t digits_of(clock_ns time) noexcept {
    return static_cast<std::uint64_t>(time) ^ (std::uint64_t{1} << 63U);
  }
  static constexpr unsigned lowest(std::uint64_t bits) noexcept {
    return static_cast<unsigned>(std::countr_zero(bits));
  }
  [[nodiscard]] slot_place place_of(clock_ns due) const noexcept;
  [[nodiscard]] slot& at(slot_place where) noexcept { return slots_[where.level * slots_a_level + where.digit]; }
  [[nodiscard]] const slot& at(slot_place where) const noexcept {
    return slots_[where.level * slots_a_level + where.digit];
  }
  [[nodiscard]] slot_place first_slot() const noexcept;
  [[nodiscard]] clock_ns last_in_heap_by(clock_ns limit) const noexcept;
  [[nodiscard]] clock_ns last_in_slots_by(clock_ns limit) const noexcept;

  [[nodiscard]] timer* first_in_lanes() const noexcept;
  static void link(timer& armed, timer_links& before, timer_links& after) noexcept {
    armed.previous = &before;
    armed.next = &after;
    before.next = after.previous = &armed;
  }
  void enter_lane(timer& armed, timer_links& lane, timer_links& before) noexcept;
  void insert_into_lane(timer& armed) noexcept;
  void take_out(timer& armed) noexcept;

  [[nodiscard]] bool has_free_number() noexcept;
  [[nodiscard]] std::uint32_t take_number(timer& armed) noexcept;
  void give_back_number(std::uint32_t number) noexcept;
  [[nodiscard]] timer* who(const entry& asked) const noexcept { return reinterpret_cast<timer*>(table_[asked.number]); }
  void strike_off(std::uint32_t number) noexcept;
  bool drop_if_taken_out(const entry& asked) noexcept;
  void drop_all_taken_out() noexcept;

  void file(const entry& filed) noexcept;
  [[nodiscard]] bool enter_slot(const entry& entering, slot_place where) noexcept;
  enum class with { all, those_armed };
  void file_anew(slot_place where, with whom) noexcept;
  [[nodiscard]] piece* take_piece() noexcept;
  void give_back_piece(piece& emptied) noexcept;
  void mark_empty(slot_place where) noexcept { occupied_[where.level] &= ~(std::uint64_t{1} << where.digit); }
  void look_for_earliest_in_slots() noexcept;

  void push(const entry& pushed) noexcept;
  void sift_up(std::size_t index, entry rising) noexcept;
  void sift_down(std::size_t index, entry sinking) noexcept;
  timer& pop_front() noexcept;
  void drop_front() noexcept;
  void prefetch_next() const noexcept;

  std::array<timer_links, 4> lanes_;
  std::size_t count_ = 0;  // without those in the first lane

  // What a number stands for:
  //   the address of a timer      it is armed, and one entry has its number
  //   0                           it was taken out, and its entry is still there
  //   an odd number               nobody; half of that is the next such number, or `no_number`
  static constexpr std::uint32_t no_number = UINT32_MAX;
  static bool is_timer(std::uintptr_t word) noexcept { return word != 0 && word % 2 == 0; }
  std::vector<std::uintptr_t> table_;
  std::uint32_t free_number_ = no_number;
  std::uint32_t last_order_ = 0;
  std::size_t taken_out_count_ = 0;

  std::vector<entry> heap_;  // its capacity is the table's size, or more; its first is armed
  clock_ns earliest_in_slots_ = timer_links::end_of_time;  // none there is due before that
  clock_ns reached_ = INT64_MIN;
  std::array<std::uint64_t, levels_count> occupied_{};  // a bit for each slot that has entries
  std::array<slot, levels_count * slots_a_level> slots_;
  piece* free_pieces_ = nullptr;
  std::uint32_t free_pieces_count_ = 0;
};

}  // namespace gyre::detail
