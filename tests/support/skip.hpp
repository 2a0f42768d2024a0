// SPDX-License-Identifier: MIT
// What a test case says when the machine lacks what it needs. tests/support/summarize.py counts these lines.
#pragma once

#include <doctest/doctest.h>

#include <cstdint>
#include <string>

/// The case checks nothing here: it returns, and counts as skipped and not as passed. The reason, in parts.
#define SAY_SKIPPED(...) MESSAGE("skipped: ", __VA_ARGS__)

/// The case goes on without something: it counts as passed, and that a part was left out is told.
#define SAY_LEFT_OUT(...) MESSAGE("left out in part: ", __VA_ARGS__)

namespace gyre::test {

/// What becomes of a case for which something is missing.
enum class without_it : std::uint8_t { skipped, goes_on };

inline void say_missing(without_it then, const std::string& why) {
  if (then == without_it::skipped) SAY_SKIPPED(why);
  else SAY_LEFT_OUT(why);
}

}  // namespace gyre::test
