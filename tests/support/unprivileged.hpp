// SPDX-License-Identifier: MIT
// What a process without root's rights may not do, shown by a root's child as well.
#pragma once

#include "child.hpp"

#include <unistd.h>

#include <cstdio>
#include <exception>

namespace gyre::test {

/// Runs `fn(): bool` in a process that is not root, and returns whether that gave true.
template <class Fn>
bool holds_for_nobody(Fn fn) {
  constexpr ::uid_t nobody = 65534;
  child unprivileged{[&] {
    if (::geteuid() == 0 && (::setgid(nobody) != 0 || ::setuid(nobody) != 0)) return 2;
    try {
      return fn() ? 0 : 1;
    } catch (const std::exception& error) {
      std::fputs(error.what(), stderr);
      return 1;
    }
  }};
  const auto end = unprivileged.wait();
  if (end.exit_status != 0) std::fputs(end.errors.c_str(), stderr);
  return end.exit_status == 0;
}

}  // namespace gyre::test
