// SPDX-License-Identifier: MIT
// A full fence on every thread of the process at once: who comes rarely pays for the fences of who comes often.
//
// Thread A stores, and then looks; thread B stores, calls fence_everywhere(), and then looks. A needs nothing but that
// the compiler keeps its order, and yet one of the two sees what the other has stored: the fence comes wherever A is
// just then, before its store, which then comes after B's, or after it.
#pragma once

namespace gyre::sync::detail {

/// Whether the kernel has it: membarrier(2), MEMBARRIER_CMD_PRIVATE_EXPEDITED. Linux 4.14.
[[nodiscard]] bool can_fence_everywhere() noexcept;

/// Some microseconds. Only where it can be had.
void fence_everywhere() noexcept;

/// For who waits until another thread has done a few instructions. If that takes long, the thread has lost its
/// processor: spins at first, then gives way, and at last sleeps for moments.
class patience {
 public:
  void wait() noexcept;

 private:
  unsigned rounds_count_ = 0;
};

}  // namespace gyre::sync::detail
