// SPDX-License-Identifier: MIT
// Memory that begins at a multiple of something: what direct I/O reads into and writes from.
#pragma once

#include <gyre/runtime/assert.hpp>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <new>
#include <span>

namespace gyre::fs {

/// Owns memory whose address and size are multiples of an alignment. Its bytes are zeros at first.
///
/// Converts to the spans that operations take, and can be registered: registered_buffer{loop, buffer.bytes()}.
class aligned_buffer {
 public:
  /// @param size       In bytes; rounded up to a multiple of the alignment.
  /// @param alignment  A power of two: direct_alignment::memory_bytes or offset_bytes, whichever is more; or a page's.
  /// @errors           std::bad_alloc, also for a size that cannot be rounded up
  explicit aligned_buffer(std::size_t size, std::size_t alignment = 4096)
      : size_{rounded_up(size, alignment)},
        memory_{static_cast<std::byte*>(::operator new(size_, std::align_val_t{alignment})), deleter{alignment}} {
    std::memset(memory_.get(), 0, size_);
  }

  [[nodiscard]] std::span<std::byte> bytes() noexcept { return {memory_.get(), size()}; }
  [[nodiscard]] std::span<const std::byte> bytes() const noexcept { return {memory_.get(), size()}; }
  operator std::span<std::byte>() noexcept { return bytes(); }
  operator std::span<const std::byte>() const noexcept { return bytes(); }

  [[nodiscard]] std::byte* data() noexcept { return memory_.get(); }
  [[nodiscard]] const std::byte* data() const noexcept { return memory_.get(); }
  [[nodiscard]] std::size_t size() const noexcept { return memory_ ? size_ : 0; }

 private:
  struct deleter {
    void operator()(std::byte* memory) const noexcept { ::operator delete(memory, std::align_val_t{alignment}); }
    std::size_t alignment;
  };

  static std::size_t rounded_up(std::size_t size, std::size_t alignment) {
    GYRE_ASSERT(alignment != 0 && (alignment & (alignment - 1)) == 0, "an alignment is a power of two");
    // No object is larger. Beyond it the sum might begin again at 0, and the buffer be smaller than was asked for.
    constexpr std::size_t most = PTRDIFF_MAX;
    if (alignment > most || size > most - alignment) throw std::bad_array_new_length{};
    return (size + alignment - 1) & ~(alignment - 1);
  }

  std::size_t size_;
  std::unique_ptr<std::byte, deleter> memory_;
};

}  // namespace gyre::fs
