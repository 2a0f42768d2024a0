// SPDX-License-Identifier: MIT
// Memory for coroutine frames: free lists by size, one set a thread, no lock.
//
// A frame that is freed on another thread than it came from joins the list of that other thread. Frames begin at a
// cache line: one that begins within one touches another more each time that it is resumed, a twentieth of a no-op
// where 256 coroutines take turns. Under AddressSanitizer and ThreadSanitizer the pool steps aside, so that they see
// every frame as an allocation of its own.
//
// What a thread keeps is bounded, so that it gives memory back when its load is over, and when all it does is to free.
// The bound is in bytes: 64 MiB for all sizes together, which is a hundred thousand coroutines of a common size. A list
// draws on them by 16 KiB, and may be as long as what it has drawn, until another needs what it does not use. Where
// nothing is left, a size still keeps 16 KiB of its own. Beyond that the heap takes a frame back, which costs some five
// times as much: it looks at the frame's neighbours, wherever they were last used.
#pragma once

#include <gyre/runtime/detail/sanitizers.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <new>
#include <utility>

#define GYRE_DETAIL_POOLED_FRAMES (!GYRE_DETAIL_ADDRESS_SANITIZER && !GYRE_DETAIL_THREAD_SANITIZER)

namespace gyre::detail {

class frame_pool {
 public:
  static constexpr std::size_t class_bytes = 64;  // a cache line: sizes are rounded up to whole ones, of which
  static constexpr std::size_t heap_bytes = 8;    // the heap takes these for itself, as glibc's malloc(3) does
  static constexpr std::size_t pooled_bytes_max = 64 * class_bytes - heap_bytes;  // larger ones come from operator new
  static constexpr std::size_t kept_bytes_max = std::size_t{64} << 20U;           // by a thread, beside the next
  static constexpr std::size_t kept_bytes_step = std::size_t{16} << 10U;          // in any class

  /// The pool of the calling thread.
  [[nodiscard]] static frame_pool& mine() noexcept;

  [[nodiscard]] void* allocate(std::size_t bytes) {
    if (bytes > pooled_bytes_max) [[unlikely]]
      return ::operator new(bytes);
    size_class& chosen = classes_[class_of(bytes)];
    if (chosen.free == nullptr) [[unlikely]]
      return from_heap(bytes);
    --chosen.free_count;
    return std::exchange(chosen.free, chosen.free->next);
  }

  void deallocate(void* memory, std::size_t bytes) noexcept {
    if (bytes > pooled_bytes_max) [[unlikely]]
      return ::operator delete(memory);
    size_class& chosen = classes_[class_of(bytes)];
    if (chosen.free_count == chosen.free_count_max && !may_keep_more(chosen)) [[unlikely]]
      return give_to_heap(memory);
    chosen.free = ::new (memory) free_frame{chosen.free};
    ++chosen.free_count;
  }

  /// Gives every free frame back to the heap. Runs by itself when the thread ends.
  void trim() noexcept;

  /// Frames that this thread's pool had to take from the heap: stands still once it is warm.
  [[nodiscard]] std::uint64_t heap_allocations() const noexcept { return heap_allocations_; }

 private:
  struct free_frame {
    free_frame* next;
  };
  struct size_class {
    free_frame* free = nullptr;
    std::uint32_t free_count = 0;
    std::uint32_t free_count_max = 0;  // grows by steps, none before its first use
  };

  static constexpr std::size_t class_of(std::size_t bytes) noexcept { return (bytes + heap_bytes - 1) / class_bytes; }
  void* from_heap(std::size_t bytes);
  static void give_to_heap(void* memory) noexcept;
  [[nodiscard]] std::uint32_t frames_a_step(const size_class& chosen) const noexcept;
  bool may_keep_more(size_class& chosen) noexcept;
  void take_back_unused() noexcept;

  std::array<size_class, (pooled_bytes_max + heap_bytes) / class_bytes> classes_{};
  std::uint32_t steps_left_ = kept_bytes_max / kept_bytes_step;
  std::uint64_t heap_allocations_ = 0;
};

// Trivially destructible and constant-initialised, so that a use is a plain thread-local access without a guard;
// a second variable, touched when a class is first used, empties it at the thread's end.
[[gnu::tls_model("initial-exec")]] extern thread_local constinit frame_pool this_thread_frames;

inline frame_pool& frame_pool::mine() noexcept { return this_thread_frames; }

/// A frame of `bytes` bytes; std::bad_alloc when there is no memory.
[[nodiscard]] inline void* allocate_frame(std::size_t bytes) {
#if GYRE_DETAIL_POOLED_FRAMES
  return frame_pool::mine().allocate(bytes);
#else
  return ::operator new(bytes);
#endif
}

/// Gives back what allocate_frame(bytes) gave, on any thread.
inline void deallocate_frame(void* memory, [[maybe_unused]] std::size_t bytes) noexcept {
#if GYRE_DETAIL_POOLED_FRAMES
  frame_pool::mine().deallocate(memory, bytes);
#else
  ::operator delete(memory);
#endif
}

}  // namespace gyre::detail
