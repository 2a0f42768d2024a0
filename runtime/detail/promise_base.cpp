// SPDX-License-Identifier: MIT
// The walk of a stop: from the coroutine that waited to the nearest boundary.
#include <gyre/runtime/assert.hpp>
#include <gyre/runtime/detail/promise_base.hpp>

#include <utility>

namespace gyre::detail {

std::coroutine_handle<> unwind(std::coroutine_handle<> leaf) noexcept {
  for (;;) {
    const promise_base& promise = promise_of(leaf);
    const auto awaiting = promise.continuation;
    frame_slot* const slot = promise.slot;
    GYRE_ASSERT(slot != nullptr && slot->frame == leaf, "a stopped coroutine has an owner that holds its frame");

    boundary& reached = *promise.bound;
    std::exchange(slot->frame, nullptr).destroy();
    leaf = awaiting;
    if (awaiting) continue;

    const next_step step = reached.ended(reached, ending::stopped);
    if (!step.stops) return step.coroutine;
    leaf = step.coroutine;
  }
}

}  // namespace gyre::detail
