// SPDX-License-Identifier: MIT
// Memory that goes to and fro between a program and the kernel: AddressSanitizer, where it is there, finds who uses
// what is the kernel's.
#pragma once

#include <gyre/runtime/detail/sanitizers.hpp>

#include <unistd.h>

#include <cstddef>

#if GYRE_DETAIL_ADDRESS_SANITIZER
#include <sanitizer/asan_interface.h>
#endif

namespace gyre::detail {

[[nodiscard]] inline std::size_t page_bytes() noexcept { return static_cast<std::size_t>(::sysconf(_SC_PAGESIZE)); }

[[nodiscard]] inline std::size_t whole_pages(std::size_t bytes) noexcept {
  const std::size_t page = page_bytes();
  return (bytes + page - 1) / page * page;
}

inline void give_to_kernel([[maybe_unused]] const std::byte* begin, [[maybe_unused]] std::size_t bytes) noexcept {
#ifdef ASAN_POISON_MEMORY_REGION
  ASAN_POISON_MEMORY_REGION(begin, bytes);
#endif
}
inline void take_from_kernel([[maybe_unused]] const std::byte* begin, [[maybe_unused]] std::size_t bytes) noexcept {
#ifdef ASAN_UNPOISON_MEMORY_REGION
  ASAN_UNPOISON_MEMORY_REGION(begin, bytes);
#endif
}

}  // namespace gyre::detail
