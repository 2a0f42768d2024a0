// SPDX-License-Identifier: MIT
// A benchmark that cannot be set up has no result to report: it says which step failed, and ends.
#pragma once

#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace bench {

[[noreturn]] inline void die(const char* step, int error) {
  std::fprintf(stderr, "%s: %s\n", step, std::strerror(error));
  std::exit(EXIT_FAILURE);
}

}  // namespace bench
