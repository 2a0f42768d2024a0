// SPDX-License-Identifier: MIT
// Memory that a fiber runs on: mapped, with a guard below it, and kept by the thread for its next fibers.
//
// A stack grows down. Below it lie 64 KiB that nobody may touch, so that a fiber whose stack is too small ends the
// program instead of writing over its neighbour. What it then says is fiber_overflow's business. Each stack is two of
// the maps that a process may have (vm.max_map_count, 65,530 by default): some 32,000 fibers at a time.
//
// To map and unmap one costs a hundred times what a fiber does, mostly in page faults. So a thread keeps those that
// were given back, last in, first out, up to 16 MiB of them; the pages that were used stay with them until it ends.
#pragma once

#include <cstddef>

namespace gyre::detail {

class fiber_stack {
 public:
  static constexpr std::size_t guard_bytes = std::size_t{64} << 10U;
  static constexpr std::size_t kept_bytes_max = std::size_t{16} << 20U;  // by a thread

  /// One that the thread has kept, or a new one. Rounded up to whole pages. Throws std::system_error.
  explicit fiber_stack(std::size_t bytes);
  fiber_stack(const fiber_stack&) = delete;
  fiber_stack& operator=(const fiber_stack&) = delete;
  /// On the thread that has made it.
  ~fiber_stack();

  [[nodiscard]] std::byte* bottom() const noexcept { return bottom_; }
  [[nodiscard]] std::byte* top() const noexcept { return bottom_ + bytes_; }
  [[nodiscard]] std::size_t bytes() const noexcept { return bytes_; }

  /// Whether who touched `address` has come to the end of the stack.
  [[nodiscard]] bool guards(const void* address) const noexcept {
    const auto* const at = static_cast<const std::byte*>(address);
    return at >= bottom_ - guard_bytes && at < bottom_;
  }

 private:
  std::size_t bytes_;
  std::byte* bottom_;
};

}  // namespace gyre::detail
