// SPDX-License-Identifier: MIT
// What a process without root's rights may not do, shown by a root's child as well.
#pragma once

#include "child.hpp"
#include "skip.hpp"

#include <doctest/doctest.h>
#include <grp.h>
#include <unistd.h>

#include <cstdio>
#include <exception>

namespace gyre::test {

/// Runs `fn(): bool` in a process that is not root, and returns whether that gave true. `fn` may use an offload_pool:
/// where its threads cannot be in such a child, it is left out.
template <class Fn>
bool holds_for_nobody(Fn fn) {
  if (sanitizer_forbids_threads_in_child) {
    SAY_SKIPPED("ThreadSanitizer starts no threads in a child of a process with several");
    return true;
  }
  constexpr ::uid_t nobody = 65534;
  child unprivileged{[&] {
    if (::geteuid() == 0 && (::setgroups(0, nullptr) != 0 || ::setgid(nobody) != 0 || ::setuid(nobody) != 0)) return 2;
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
