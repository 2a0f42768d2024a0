// SPDX-License-Identifier: MIT
// The 4-ary heap: moves along one path from root to leaf, and tells each timer where it is. Which lane a timer fits.
#include <gyre/runtime/assert.hpp>
#include <gyre/runtime/detail/timer_heap.hpp>

#include <algorithm>
#include <new>

namespace gyre::detail {

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
  push(armed);
}

void timer_heap::enter_lane(timer& armed, timer_links& lane, timer_links& before) noexcept {
  link(armed, before, *before.next);
  const bool is_first = &lane == &lanes_.front();
  armed.index_ = is_first ? timer::in_first_lane : timer::in_other_lane;
  if (!is_first) ++count_;
}

void timer_heap::place(std::uint32_t index, const entry& placed) noexcept {
  entries_[index] = placed;
  placed.what->index_ = index;
}

void timer_heap::sift_up(std::uint32_t index, entry rising) noexcept {
  while (index > 0) {
    const std::uint32_t parent = (index - 1) / arity;
    if (entries_[parent].due <= rising.due) break;
    place(index, entries_[parent]);
    index = parent;
  }
  place(index, rising);
}

void timer_heap::sift_down(std::uint32_t index, entry sinking) noexcept {
  const auto count = static_cast<std::uint32_t>(entries_.size());
  for (;;) {
    const std::uint32_t first = index * arity + 1;
    if (first >= count) break;
    std::uint32_t least = first;
    for (std::uint32_t child = first + 1; child < std::min(first + arity, count); ++child)
      if (entries_[child].due < entries_[least].due) least = child;
    if (sinking.due <= entries_[least].due) break;
    place(index, entries_[least]);
    index = least;
  }
  place(index, sinking);
}

void timer_heap::push(timer& armed) noexcept {
  GYRE_ASSERT(entries_.size() < timer::in_other_lane, "no more timers than an index can count");
  try {
    entries_.push_back({armed.due(), &armed});
  } catch (const std::bad_alloc&) {
    return insert_into_lane(armed);
  }
  sift_up(static_cast<std::uint32_t>(entries_.size() - 1), {armed.due(), &armed});
  ++count_;
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
  if (armed.index_ != timer::in_other_lane) return remove_at(armed.index_);
  armed.previous->next = armed.next;
  armed.next->previous = armed.previous;
  armed.index_ = timer::not_armed;
}

timer* timer_heap::first() const noexcept {
  timer* earliest = entries_.empty() ? nullptr : entries_.front().what;
  for (const timer_links& lane : lanes_) {
    if (lane.next == &lane) continue;
    auto* const candidate = static_cast<timer*>(lane.next);
    if (earliest == nullptr || candidate->due() < earliest->due()) earliest = candidate;
  }
  return earliest;
}

void timer_heap::remove_at(std::uint32_t index) noexcept {
  entries_[index].what->index_ = timer::not_armed;
  const entry last = entries_.back();
  entries_.pop_back();
  if (index == entries_.size()) return;
  const bool rises = index > 0 && last.due < entries_[(index - 1) / arity].due;
  if (rises) sift_up(index, last);
  else sift_down(index, last);
}

timer* timer_heap::pop_due(clock_ns now) noexcept {
  if (earliest() > now) return nullptr;
  timer* const due = first();
  if (due != nullptr) disarm(*due);  // there is none where `now` is the end of time
  return due;
}

}  // namespace gyre::detail
