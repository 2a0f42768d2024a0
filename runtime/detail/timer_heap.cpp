// SPDX-License-Identifier: MIT
// Which lane a timer fits; which slot, and what becomes of it when time goes on; the 4-ary heap, which moves entries
// along one path from root to leaf.
#include <gyre/runtime/assert.hpp>
#include <gyre/runtime/detail/timer_heap.hpp>

#include <algorithm>
#include <array>
#include <new>
#include <utility>

namespace gyre::detail {
namespace {

constexpr std::size_t few = 32;  // entries: to look at them all is cheap

// A timer lies in who waits, and that in the frame of who is resumed, nearly always: that begins before it. What is not
// there is not fetched, and does no harm.
void prefetch_with_frame(const timer* expiring) noexcept {
  constexpr std::uintptr_t line_bytes = 64;
  const auto its = reinterpret_cast<std::uintptr_t>(expiring);  // a number: it may point to nothing that there is
  for (unsigned lines = 0; lines < 3; ++lines)
    __builtin_prefetch(reinterpret_cast<const void*>(its - line_bytes * lines), /*for writing=*/1);
}

}  // namespace

std::size_t timer_heap::size() const noexcept {
  std::size_t count = count_;
  const timer_links& lane = lanes_.front();
  for (const timer_links* each = lane.next; each != &lane; each = each->next) ++count;
  return count;
}

void timer_heap::arm(timer& armed, clock_ns due) noexcept {
  disarm(armed);
  armed.would_be_due(due);
  for (timer_links& lane : lanes_) {
    timer_links& last = *lane.previous;
    if (&last == &lane || last.due <= due) return enter_lane(armed, lane, last);
  }
  if (!has_free_number()) return insert_into_lane(armed);
  file({due, take_number(armed), ++last_order_});
  ++count_;
}

void timer_heap::enter_lane(timer& armed, timer_links& lane, timer_links& before) noexcept {
  link(armed, before, *before.next);
  const bool is_first = &lane == &lanes_.front();
  armed.place_ = is_first ? timer::in_first_lane : timer::in_other_lane;
  if (!is_first) ++count_;
}

// Linear, and needs no memory.
void timer_heap::insert_into_lane(timer& armed) noexcept {
  timer_links& lane = lanes_.back();
  timer_links* before = lane.previous;
  while (before != &lane && before->due > armed.due()) before = before->previous;
  enter_lane(armed, lane, *before);
}

// What is not in the first lane.
void timer_heap::take_out(timer& armed) noexcept {
  if (!armed.armed()) return;
  --count_;
  const std::uint32_t number = std::exchange(armed.place_, timer::not_armed);
  if (number == timer::in_other_lane) {
    armed.previous->next = armed.next;
    armed.next->previous = armed.previous;
    return;
  }
  strike_off(number);
  if (!heap_.empty() && heap_.front().number == number) drop_front();
  else if (armed.due() == earliest_in_slots_) look_for_earliest_in_slots();
  if (taken_out_count_ > few + table_.size() / 2) drop_all_taken_out();
}

timer* timer_heap::first_in_lanes() const noexcept {
  timer_links* earliest = nullptr;
  for (const timer_links& lane : lanes_)
    if (lane.next != &lane && (earliest == nullptr || lane.next->due < earliest->due)) earliest = lane.next;
  return static_cast<timer*>(earliest);
}

// Of two at the same time the one in the lane was there first: the other found that lane's last one due after it. So it
// is with two lanes.
timer* timer_heap::pop_due(clock_ns now) noexcept {
  if (earliest() > now) return nullptr;
  if (earliest_in_slots_ <= now) reach(now);
  timer* const in_lane = first_in_lanes();
  const clock_ns due_in_lane = in_lane != nullptr ? in_lane->due() : timer_links::end_of_time;
  if (!heap_.empty() && (in_lane == nullptr || heap_.front().due < due_in_lane))
    return heap_.front().due <= now ? &pop_front() : nullptr;
  if (in_lane == nullptr || due_in_lane > now) return nullptr;  // earliest() was early
  disarm(*in_lane);
  return in_lane;
}

// Who was taken out and has an entry still may be counted: a sleep that waits for that one, too, ends no later than it
// may. Timers in lanes lie anywhere in memory, so that fewer of them are looked at. In the heap no child is due before
// its parent.
clock_ns timer_heap::last_due_by(clock_ns limit) const noexcept {
  clock_ns last = earliest();
  for (const timer_links& lane : lanes_) {
    const timer_links* each = lane.next;
    for (int left = 4; each != &lane && each->due <= limit; each = each->next) {
      if (--left == 0) return limit;
      last = std::max(last, each->due);
    }
  }
  return std::max(std::max(last, last_in_heap_by(limit)), last_in_slots_by(limit));
}

// Those that a sleep until then brings about are fetched from memory while it lasts: a twentieth of what a sleeper
// costs among a hundred thousand.
clock_ns timer_heap::last_in_heap_by(clock_ns limit) const noexcept {
  clock_ns last = INT64_MIN;
  std::array<std::size_t, few * arity> left;  // to be looked at
  std::size_t left_count = 0;
  const auto consider = [&](std::size_t index) {
    if (index < heap_.size() && heap_[index].due <= limit) left[left_count++] = index;
  };
  consider(0);
  for (std::size_t looked_at_count = 0; left_count > 0; ++looked_at_count) {
    if (looked_at_count == few) return limit;
    const std::size_t index = left[--left_count];
    last = std::max(last, heap_[index].due);
    prefetch_with_frame(who(heap_[index]));
    for (std::size_t child = index * arity + 1; child <= (index + 1) * arity; ++child) consider(child);
  }
  return last;
}

clock_ns timer_heap::last_in_slots_by(clock_ns limit) const noexcept {
  if (earliest_in_slots_ > limit) return INT64_MIN;
  const slot_place where = first_slot();
  if (where.level == levels_count) return INT64_MIN;
  const piece& newest = *at(where).newest;
  if (newest.next != nullptr) return limit;
  clock_ns last = INT64_MIN;
  for (std::uint32_t index = 0; index < newest.count; ++index)
    if (newest.entries[index].due <= limit) last = std::max(last, newest.entries[index].due);
  return last;
}

// ----------------------------------------------------------------------------------------------------------- numbers

bool timer_heap::has_free_number() noexcept {
  constexpr std::size_t first_capacity = 64;
  if (free_number_ != no_number) return true;
  GYRE_ASSERT(table_.size() < timer::in_other_lane, "no more timers than an index can count");
  try {
    if (heap_.capacity() == table_.size()) heap_.reserve(std::max(first_capacity, 2 * table_.size()));
    table_.push_back(std::uintptr_t{no_number} * 2 + 1);
  } catch (const std::bad_alloc&) {
    return false;
  }
  free_number_ = static_cast<std::uint32_t>(table_.size() - 1);
  return true;
}

std::uint32_t timer_heap::take_number(timer& armed) noexcept {
  const std::uint32_t number = free_number_;
  free_number_ = static_cast<std::uint32_t>(table_[number] / 2);
  table_[number] = reinterpret_cast<std::uintptr_t>(&armed);
  armed.place_ = number;
  return number;
}

void timer_heap::give_back_number(std::uint32_t number) noexcept {
  table_[number] = std::uintptr_t{free_number_} * 2 + 1;
  free_number_ = number;
}

void timer_heap::strike_off(std::uint32_t number) noexcept {
  table_[number] = 0;
  ++taken_out_count_;
}

// Returns true for an entry that its place shall forget.
bool timer_heap::drop_if_taken_out(const entry& asked) noexcept {
  if (who(asked) != nullptr) return false;
  --taken_out_count_;
  give_back_number(asked.number);
  return true;
}

void timer_heap::drop_all_taken_out() noexcept {
  std::erase_if(heap_, [this](const entry& each) { return drop_if_taken_out(each); });
  for (std::size_t index = heap_.size() / arity + 1; index-- > 0;)
    if (index < heap_.size()) sift_down(index, heap_[index]);
  for (unsigned level = 0; level < levels_count; ++level)
    for (std::uint64_t left = occupied_[level]; left != 0; left &= left - 1)
      file_anew({level, lowest(left)}, with::those_armed);
  look_for_earliest_in_slots();
}

// ------------------------------------------------------------------------------------------------------------- slots

// The level is no level for what belongs into the heap.
timer_heap::slot_place timer_heap::place_of(clock_ns due) const noexcept {
  const std::uint64_t digits = digits_of(due);
  const int bits = static_cast<int>(std::bit_width(digits ^ digits_of(reached_)));
  if (due <= reached_ || bits <= near_bits) return {levels_count, 0};
  const int level = (bits - near_bits - 1) / digit_bits;
  return {static_cast<unsigned>(level),
          static_cast<unsigned>(digits >> (near_bits + level * digit_bits)) % slots_a_level};
}

void timer_heap::file(const entry& filed) noexcept {
  const slot_place where = place_of(filed.due);
  if (where.level >= levels_count || !enter_slot(filed, where)) push(filed);
}

bool timer_heap::enter_slot(const entry& entering, slot_place where) noexcept {
  slot& entered = at(where);
  piece* newest = entered.newest;
  if (newest == nullptr || newest->count == newest->entries.size()) {
    newest = take_piece();
    if (newest == nullptr) return false;
    newest->next = std::exchange(entered.newest, newest);
  }
  newest->entries[newest->count++] = entering;
  const bool is_first = newest->next == nullptr && newest->count == 1;
  entered.earliest = is_first ? entering.due : std::min(entered.earliest, entering.due);
  earliest_in_slots_ = std::min(earliest_in_slots_, entering.due);
  occupied_[where.level] |= std::uint64_t{1} << where.digit;
  return true;
}

// To the heap, to a level below, as it no longer differs from `reached_` in the slot's own digit, or back here.
void timer_heap::file_anew(slot_place where, with whom) noexcept {
  mark_empty(where);
  for (piece* each = std::exchange(at(where).newest, nullptr); each != nullptr;) {
    for (std::uint32_t index = 0; index < each->count; ++index) {
      const entry& filed = each->entries[index];
      if (whom == with::all || !drop_if_taken_out(filed)) file(filed);
    }
    give_back_piece(*std::exchange(each, each->next));
  }
}

// Null when there is no memory.
timer_heap::piece* timer_heap::take_piece() noexcept {
  piece* const taken = free_pieces_;
  if (taken == nullptr) return new (std::nothrow) piece{.next = nullptr, .count = 0, .entries = {}};
  free_pieces_ = taken->next;
  --free_pieces_count_;
  taken->count = 0;
  return taken;
}

// As many are kept as there are slots to begin with when a slot of the next level is emptied, which gives one back for
// each that it takes.
void timer_heap::give_back_piece(piece& emptied) noexcept {
  if (free_pieces_count_ == slots_a_level) return delete &emptied;
  emptied.next = std::exchange(free_pieces_, &emptied);
  ++free_pieces_count_;
}

timer_heap::~timer_heap() {
  const auto free_all = [](piece* each) {
    while (each != nullptr) delete std::exchange(each, each->next);
  };
  for (const slot& each : slots_) free_all(each.newest);
  free_all(free_pieces_);
}

// The level is no level when all are empty.
timer_heap::slot_place timer_heap::first_slot() const noexcept {
  unsigned level = 0;
  while (level < levels_count && occupied_[level] == 0) ++level;
  return {level, level < levels_count ? lowest(occupied_[level]) : 0};
}

// Only of a slot with few entries is it known which of them still count. It can have a million, and who takes the
// earliest out again and again would have them all looked at each time.
void timer_heap::look_for_earliest_in_slots() noexcept {
  for (;;) {
    earliest_in_slots_ = timer_links::end_of_time;
    const slot_place where = first_slot();
    if (where.level == levels_count) return;
    const piece& newest = *at(where).newest;
    if (newest.next == nullptr && newest.count <= few) file_anew(where, with::those_armed);
    if (at(where).newest == nullptr) continue;
    earliest_in_slots_ = at(where).earliest;
    return;
  }
}

// Below the highest digit that changes, every slot is over; there, those before the new digit are, and in the slot of
// the new digit are some that have come nearer.
void timer_heap::reach(clock_ns now) noexcept {
  if (now <= reached_) return;
  const std::uint64_t digits = digits_of(now);
  const int changed_bits = static_cast<int>(std::bit_width(digits ^ digits_of(reached_)));
  reached_ = now;
  if (changed_bits <= near_bits) return;
  for (unsigned level = 0; level < levels_count; ++level) {
    const int shift = near_bits + static_cast<int>(level) * digit_bits;
    const bool all_over = changed_bits > shift + digit_bits;
    const unsigned last_digit = all_over ? slots_a_level - 1 : static_cast<unsigned>(digits >> shift) % slots_a_level;
    while (occupied_[level] != 0 && lowest(occupied_[level]) <= last_digit)
      file_anew({level, lowest(occupied_[level])}, with::all);
    if (!all_over) break;
  }
  drop_front();
  look_for_earliest_in_slots();
}

// ---------------------------------------------------------------------------------------------------------- the heap

void timer_heap::push(const entry& pushed) noexcept {
  heap_.push_back(pushed);  // it has room: has_free_number()
  sift_up(heap_.size() - 1, pushed);
}

void timer_heap::sift_up(std::size_t index, entry rising) noexcept {
  while (index > 0) {
    const std::size_t parent = (index - 1) / arity;
    if (!before(rising, heap_[parent])) break;
    heap_[index] = heap_[parent];
    index = parent;
  }
  heap_[index] = rising;
}

void timer_heap::sift_down(std::size_t index, entry sinking) noexcept {
  for (;;) {
    const std::size_t first = index * arity + 1;
    if (first >= heap_.size()) break;
    std::size_t least = first;
    for (std::size_t child = first + 1; child < std::min(first + arity, heap_.size()); ++child)
      if (before(heap_[child], heap_[least])) least = child;
    if (!before(heap_[least], sinking)) break;
    heap_[index] = heap_[least];
    index = least;
  }
  heap_[index] = sinking;
}

timer& timer_heap::pop_front() noexcept {
  const std::uint32_t number = heap_.front().number;
  timer& popped = *who(heap_.front());
  strike_off(number);
  --count_;
  popped.has_left();
  drop_front();
  prefetch_next();
  return popped;
}

// The first, which has been taken out, and those that come to be first and have been taken out before.
void timer_heap::drop_front() noexcept {
  while (!heap_.empty() && drop_if_taken_out(heap_.front())) {
    const entry last = heap_.back();
    heap_.pop_back();
    if (!heap_.empty()) sift_down(0, last);
  }
}

// Who comes next is most likely among these. Each lies somewhere else in memory, where nobody looked for long: to fetch
// it from there takes longer than all that is done with it here, and goes on while others are expired, or in a sleep.
void timer_heap::prefetch_next() const noexcept {
  for (std::size_t index = 0; index < std::min<std::size_t>(heap_.size(), 1 + arity); ++index)
    __builtin_prefetch(who(heap_[index]), /*for writing=*/1);
}

bool timer_heap::is_sound(std::size_t most) const noexcept {
  for (const timer_links& lane : lanes_) {
    const timer_links* each = lane.next;
    for (std::size_t left = most; each != &lane && left > 0; --left, each = each->next) {
      const bool comes_later = each->previous == &lane || each->previous->due <= each->due;
      if (!comes_later || each->next->previous != each) return false;
    }
  }
  for (std::size_t index = 1; index < std::min(heap_.size(), most); ++index)
    if (before(heap_[index], heap_[(index - 1) / arity])) return false;
  return true;
}

}  // namespace gyre::detail
