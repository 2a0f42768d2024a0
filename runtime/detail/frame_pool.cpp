// SPDX-License-Identifier: MIT
// The slow paths of the frame pool: the heap, and a thread's end.
#include <gyre/runtime/detail/frame_pool.hpp>

#include <algorithm>

namespace gyre::detail {
namespace {

struct trim_at_thread_end {
  bool armed = false;
  ~trim_at_thread_end() { frame_pool::mine().trim(); }
};
thread_local trim_at_thread_end trimmer;

}  // namespace

thread_local constinit frame_pool this_thread_frames;

void* frame_pool::from_heap(std::size_t bytes) {
  ++heap_allocations_;
  return ::operator new((class_of(bytes) + 1) * class_bytes - heap_bytes, std::align_val_t{class_bytes});
}

void frame_pool::give_to_heap(void* memory) noexcept { ::operator delete(memory, std::align_val_t{class_bytes}); }

std::uint32_t frame_pool::frames_a_step(const size_class& chosen) const noexcept {
  const auto class_index = static_cast<std::size_t>(&chosen - classes_.data());
  return static_cast<std::uint32_t>(kept_bytes_step / ((class_index + 1) * class_bytes));
}

// Where a list is as long as it may be. Its first step is its own; the others are drawn from what all have in common.
bool frame_pool::may_keep_more(size_class& chosen) noexcept {
  trimmer.armed = true;  // its first use on this thread registers its destructor
  if (chosen.free_count_max > 0) {
    if (steps_left_ == 0) take_back_unused();
    if (steps_left_ == 0) return false;
    --steps_left_;
  }
  chosen.free_count_max += frames_a_step(chosen);
  return true;
}

void frame_pool::take_back_unused() noexcept {
  for (size_class& each : classes_) {
    const std::uint32_t step = frames_a_step(each);
    if (each.free_count_max == 0) continue;
    const std::uint32_t unused =
        std::min((each.free_count_max - each.free_count) / step, each.free_count_max / step - 1);
    each.free_count_max -= unused * step;
    steps_left_ += unused;
  }
}

void frame_pool::trim() noexcept {
  for (size_class& each : classes_) {
    while (each.free != nullptr) give_to_heap(std::exchange(each.free, each.free->next));
    each.free_count = 0;
  }
  take_back_unused();
}

}  // namespace gyre::detail
