// SPDX-License-Identifier: MIT
// Assertions that stop the program, in every build, with the reason as text.
//
// An assertion checks what only a programmer can get wrong. What a peer, a disk, a user or the kernel
// can cause is an error (error.hpp).
//
// GYRE_ASSERT costs a comparison, and is always there. GYRE_ASSERT_ALL may walk a queue, and is there where gyre was
// built with -Dinvariants=all, as `./dev build debug`, asan and tsan do.
#pragma once

// Here, as nearly every header of gyre comes to this one first: without it a compiler only says what it does not know.
#if __cplusplus < 202002L
#error "gyre needs C++20: compile with -std=c++20 or newer"
#endif

#include <source_location>

namespace gyre::detail {

/// Prints the broken condition, its reason and its place to standard error, has last words said (last_words.hpp), and
/// aborts.
[[noreturn]] void assertion_failed(const char* condition, const char* reason, std::source_location where) noexcept;

}  // namespace gyre::detail

#define GYRE_ASSERT(condition, reason)                                                       \
  do {                                                                                       \
    if (!(condition)) [[unlikely]]                                                           \
      ::gyre::detail::assertion_failed(#condition, reason, std::source_location::current()); \
  } while (false)

#if defined(GYRE_INVARIANTS)
#define GYRE_ASSERT_ALL(condition, reason) GYRE_ASSERT(condition, reason)
#else
#define GYRE_ASSERT_ALL(condition, reason) static_cast<void>(0)
#endif
