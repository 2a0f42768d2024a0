// SPDX-License-Identifier: MIT
// What the fuzz targets have in common: a condition that stops the program where it does not hold.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <source_location>

namespace gyre::test {

/// Stops where the condition does not hold: libFuzzer keeps the input, and the sanitizer prints the stack.
inline void require(bool holds, std::source_location where = std::source_location::current()) {
  if (holds) [[likely]]
    return;
  std::fprintf(stderr, "%s:%u: does not hold\n", where.file_name(), static_cast<unsigned>(where.line()));
  std::abort();
}

}  // namespace gyre::test

/// One input, as libFuzzer calls it: https://llvm.org/docs/LibFuzzer.html
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);
