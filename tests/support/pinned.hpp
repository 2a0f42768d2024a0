// SPDX-License-Identifier: MIT
// What the kernel says of an executor's registered buffers, and of the memory that they keep.
#pragma once

#include <gyre/runtime/executor.hpp>

#include <doctest/doctest.h>

#include <cstddef>
#include <fstream>
#include <string>

namespace gyre::test {

/// How many slots of the executor's table hold a buffer, by /proc. On its thread, and outside a turn or inside one.
inline std::size_t used_buffers_count(const executor& loop) {
  std::ifstream told{"/proc/self/fdinfo/" + std::to_string(loop.ring().descriptor())};
  std::string line;
  while (std::getline(told, line) && !line.starts_with("UserBufs:")) {
  }
  REQUIRE_MESSAGE(told.good(), "the kernel tells nothing of its tables");
  std::size_t count = 0;
  while (std::getline(told, line) && line.find(": ") < 6)
    if (line.find("<none>") == std::string::npos) ++count;
  return count;
}

/// Memory of this process that the kernel keeps in its place, in KiB.
inline long pinned_kib() {
  std::ifstream told{"/proc/self/status"};
  for (std::string word; told >> word;) {
    if (word != "VmPin:") continue;
    long kib = -1;
    told >> kib;
    return kib;
  }
  return -1;
}

}  // namespace gyre::test
