// SPDX-License-Identifier: MIT
// The frame pool: what it keeps, what it gives back, and frames that cross threads.
#include <gyre/runtime/detail/frame_pool.hpp>

#include <doctest/doctest.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <thread>
#include <vector>

namespace gyre::detail {

TEST_CASE("a frame that was freed is used again for the next of its size class") {
  frame_pool pool;

  void* const first = pool.allocate(100);
  std::memset(first, 1, 100);
  pool.deallocate(first, 100);
  void* const second = pool.allocate(120);  // 57 to 120 bytes are one class

  CHECK(second == first);
  CHECK(pool.heap_allocations() == 1);
  pool.deallocate(second, 120);
  pool.trim();
}

TEST_CASE("frames of any size can be written from end to end, and do not overlap") {
  frame_pool pool;
  struct frame {
    unsigned char* memory;
    std::size_t bytes;
  };
  std::vector<frame> frames;

  for (std::size_t bytes = 1; bytes <= frame_pool::pooled_bytes_max + 200; bytes += 37) {
    auto* const memory = static_cast<unsigned char*>(pool.allocate(bytes));
    const bool pooled = bytes <= frame_pool::pooled_bytes_max;
    const std::size_t alignment = pooled ? frame_pool::class_bytes : alignof(std::max_align_t);
    CHECK(reinterpret_cast<std::uintptr_t>(memory) % alignment == 0);
    std::memset(memory, static_cast<int>(bytes % 251), bytes);
    frames.push_back({memory, bytes});
  }

  for (const auto& [memory, bytes] : frames) {
    bool intact = true;
    for (std::size_t i = 0; i < bytes; ++i) intact = intact && memory[i] == bytes % 251;
    CHECK(intact);
    pool.deallocate(memory, bytes);
  }
  pool.trim();
}

TEST_CASE("frames larger than the pool's largest class come from the heap, and are not kept") {
  frame_pool pool;

  void* const large = pool.allocate(frame_pool::pooled_bytes_max + 1);
  pool.deallocate(large, frame_pool::pooled_bytes_max + 1);

  CHECK(pool.heap_allocations() == 0);
}

namespace {

constexpr std::size_t frame_bytes = 4 * frame_pool::class_bytes - frame_pool::heap_bytes;
constexpr std::size_t frames_a_step = frame_pool::kept_bytes_step / (4 * frame_pool::class_bytes);

std::vector<void*> make_frames(frame_pool& pool, std::size_t count, std::size_t bytes) {
  std::vector<void*> frames(count);
  for (void*& each : frames) each = pool.allocate(bytes);
  return frames;
}

void free_frames(frame_pool& pool, const std::vector<void*>& frames, std::size_t bytes) {
  for (void* each : frames) pool.deallocate(each, bytes);
}

// How many of `count` frames the pool has.
std::size_t kept_of(frame_pool& pool, std::size_t count, std::size_t bytes) {
  const auto before = pool.heap_allocations();
  const auto frames = make_frames(pool, count, bytes);
  const auto from_heap = pool.heap_allocations() - before;
  free_frames(pool, frames, bytes);
  return count - from_heap;
}

}  // namespace

TEST_CASE("a pool keeps so many bytes of free frames, and gives the rest back") {
  frame_pool pool;
  constexpr std::size_t kept = frame_pool::kept_bytes_max / (4 * frame_pool::class_bytes) + frames_a_step;
  const auto frames = make_frames(pool, kept + 10, frame_bytes);

  free_frames(pool, frames, frame_bytes);

  CHECK(kept_of(pool, kept + 10, frame_bytes) == kept);
  pool.trim();
}

TEST_CASE("where frames of one size have taken all that a pool keeps, another size still keeps a little") {
  frame_pool pool;
  constexpr std::size_t all = frame_pool::kept_bytes_max / (4 * frame_pool::class_bytes) + frames_a_step;
  constexpr std::size_t small_bytes = frame_pool::class_bytes - frame_pool::heap_bytes;
  constexpr std::size_t small_a_step = frame_pool::kept_bytes_step / frame_pool::class_bytes;
  free_frames(pool, make_frames(pool, all, frame_bytes), frame_bytes);

  free_frames(pool, make_frames(pool, 2 * small_a_step, small_bytes), small_bytes);

  CHECK(kept_of(pool, 2 * small_a_step, small_bytes) == small_a_step);
  CHECK(kept_of(pool, all, frame_bytes) == all);
  pool.trim();
}

TEST_CASE("what a size was given and does not use, goes to a size that needs it") {
  frame_pool pool;
  constexpr std::size_t all = frame_pool::kept_bytes_max / (4 * frame_pool::class_bytes) + frames_a_step;
  constexpr std::size_t small_bytes = frame_pool::class_bytes - frame_pool::heap_bytes;
  constexpr std::size_t small_a_step = frame_pool::kept_bytes_step / frame_pool::class_bytes;
  free_frames(pool, make_frames(pool, all, frame_bytes), frame_bytes);
  const auto in_use = make_frames(pool, all, frame_bytes);

  free_frames(pool, make_frames(pool, 4 * small_a_step, small_bytes), small_bytes);

  CHECK(kept_of(pool, 4 * small_a_step, small_bytes) == 4 * small_a_step);
  free_frames(pool, in_use, frame_bytes);
  CHECK(kept_of(pool, all, frame_bytes) == all - 3 * frames_a_step);
  pool.trim();
}

TEST_CASE("after trim() the pool starts anew") {
  frame_pool pool;
  pool.deallocate(pool.allocate(64), 64);

  pool.trim();
  pool.deallocate(pool.allocate(64), 64);

  CHECK(pool.heap_allocations() == 2);
  pool.trim();
}

// Straight to the pools: a sanitizer's build has allocate_frame() go round them, and LeakSanitizer would see nothing.
TEST_CASE("a frame may be freed on another thread than it came from, also on one that does nothing else") {
  std::vector<void*> frames;
  for (int i = 0; i < 1000; ++i) frames.push_back(frame_pool::mine().allocate(200));

  std::thread{[&] {
    for (void* each : frames) frame_pool::mine().deallocate(each, 200);
  }}.join();  // its pool gives them back when it ends: LeakSanitizer would tell

  CHECK(frame_pool::mine().heap_allocations() >= 1000);
}

TEST_CASE("a pool that was given a frame before it made one keeps it") {
  frame_pool giver;
  frame_pool taker;
  void* const frame = giver.allocate(64);

  taker.deallocate(frame, 64);

  CHECK(taker.allocate(64) == frame);
  CHECK(taker.heap_allocations() == 0);
  taker.deallocate(frame, 64);
  taker.trim();
}

}  // namespace gyre::detail
