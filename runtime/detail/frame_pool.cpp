// SPDX-License-Identifier: MIT
// The slow paths of the frame pool: the heap, and a thread's end.
#include <gyre/runtime/detail/frame_pool.hpp>

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
  takes_its_first(classes_[class_of(bytes)]);
  ++heap_allocations_;
  return ::operator new((class_of(bytes) + 1) * class_bytes - heap_bytes, std::align_val_t{class_bytes});
}

void frame_pool::give_to_heap(void* memory) noexcept { ::operator delete(memory, std::align_val_t{class_bytes}); }

// Whether a class that says that it is full was only never used. From here on it is, on a thread that may have done
// nothing but free frames of others.
bool frame_pool::takes_its_first(size_class& chosen) noexcept {
  if (chosen.free != nullptr) return false;
  trimmer.armed = true;  // its first use on this thread registers its destructor
  chosen.free_count = 0;
  return true;
}

void frame_pool::trim() noexcept {
  for (size_class& each : classes_) {
    while (each.free != nullptr) give_to_heap(std::exchange(each.free, each.free->next));
    each.free_count = free_frames_max;
  }
}

}  // namespace gyre::detail
