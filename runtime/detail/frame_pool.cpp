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
  trimmer.armed = true;  // its first use on this thread registers its destructor
  ++heap_allocations_;
  return ::operator new((class_of(bytes) + 1) * class_bytes);
}

void frame_pool::trim() noexcept {
  for (size_class& each : classes_) {
    while (each.free != nullptr) ::operator delete(std::exchange(each.free, each.free->next));
    each.free_count = 0;
  }
}

}  // namespace gyre::detail
