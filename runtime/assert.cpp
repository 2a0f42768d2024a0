// SPDX-License-Identifier: MIT
// The end of a program whose contract was broken.
#include <gyre/runtime/assert.hpp>
#include <gyre/runtime/last_words.hpp>

#include <cstdio>
#include <cstdlib>

namespace gyre::detail {

void assertion_failed(const char* condition, const char* reason, std::source_location where) noexcept {
  std::fprintf(stderr, "gyre: %s\n  broken: %s\n  at:     %s:%u, %s\n", reason, condition, where.file_name(),
               static_cast<unsigned>(where.line()), where.function_name());
  last_words::say_all();
  std::abort();
}

}  // namespace gyre::detail
