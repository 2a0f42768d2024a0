// SPDX-License-Identifier: MIT
// How large a benchmark of files is: as its question says, or small, where it is only to be seen that it works.
#pragma once

#include <cstddef>
#include <cstdlib>

namespace bench {

/// `few` where GYRE_BENCH_QUICK is in the environment, as run.py --quick has it.
inline std::size_t size_of_run(std::size_t all, std::size_t few) {
  return std::getenv("GYRE_BENCH_QUICK") != nullptr ? few : all;
}

}  // namespace bench
