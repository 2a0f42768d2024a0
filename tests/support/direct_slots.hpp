// SPDX-License-Identifier: MIT
// What the kernel says of an executor's direct descriptors.
#pragma once

#include <gyre/runtime/executor.hpp>

#include <doctest/doctest.h>

#include <cstddef>
#include <fstream>
#include <string>

namespace gyre::test {

/// How many slots of the executor's table hold a file, by /proc. On its thread, and outside a turn or inside one.
inline std::size_t used_slots_count(const executor& loop) {
  std::ifstream told{"/proc/self/fdinfo/" + std::to_string(loop.ring().descriptor())};
  std::string line;
  while (std::getline(told, line) && !line.starts_with("UserFiles:")) {
  }
  REQUIRE_MESSAGE(told.good(), "the kernel tells nothing of its tables");
  std::size_t count = 0;
  while (std::getline(told, line) && !line.starts_with("UserBufs:"))
    if (line.find("<none>") == std::string::npos) ++count;
  return count;
}

}  // namespace gyre::test
