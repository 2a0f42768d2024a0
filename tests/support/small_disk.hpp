// SPDX-License-Identifier: MIT
// A file system of one's own for a child process of a test: one with hardly any room, or of another sort.
#pragma once

#include "child.hpp"
#include "skip.hpp"

#include <doctest/doctest.h>
#include <sched.h>
#include <sys/mount.h>
#include <unistd.h>

#include <cstdio>
#include <exception>
#include <string>

namespace gyre::test {

/// Runs `fn(): bool` in a process in which `path` is a file system of some type, and returns whether that gave true.
/// Says so, and returns true, where this machine lets nobody make one, or `fn` could have no threads there.
template <class Fn>
bool holds_on_file_system(const char* type, const char* options, const std::string& path, Fn fn) {
  if (sanitizer_forbids_threads_in_child) {
    SAY_SKIPPED("ThreadSanitizer starts no threads in a child of a process with several");
    return true;
  }
  constexpr int refused = 77;
  child confined{[&] {
    const bool may = ::unshare(CLONE_NEWNS) == 0 || ::unshare(CLONE_NEWUSER | CLONE_NEWNS) == 0;
    if (!may || ::mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) return refused;
    if (::mount("none", path.c_str(), type, 0, options) != 0) return refused;
    try {
      return fn() ? 0 : 1;
    } catch (const std::exception& error) {
      std::fputs(error.what(), stderr);
      return 1;
    }
  }};
  const auto end = confined.wait();
  if (end.exit_status == refused) SAY_SKIPPED("mounting a file system takes root, or user namespaces");
  else if (end.exit_status != 0) std::fputs(end.errors.c_str(), stderr);
  return end.exit_status == 0 || end.exit_status == refused;
}

/// The same where that has room for 256 KiB.
template <class Fn>
bool holds_on_small_disk(const std::string& path, Fn fn) {
  return holds_on_file_system("tmpfs", "size=256k", path, fn);
}

}  // namespace gyre::test
