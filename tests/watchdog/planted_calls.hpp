// SPDX-License-Identifier: MIT
// Calls planted for the watchdog to find, or to let pass: they are made as the library's own are.
#pragma once

#include <span>
#include <string>

namespace gyre::test {

/// What they are made on: open, and made by somebody who is not watched.
struct planted_scene {
  std::string folder;
  int file = -1;  // to read and write
  int file_to_read = -1;
  int quiet_pipe = -1;   // the end to read of one with nothing in it
  int quiet_queue = -1;  // the same of a pipe that does not block
  int datagrams = -1;
};

struct planted_call {
  const char* name;  // as the watchdog says it
  void (*make)(const planted_scene& scene);
};

/// Each may wait, or asks a file system.
[[nodiscard]] std::span<const planted_call> planted_calls_that_wait();

/// The same functions, with arguments with which they return at once.
[[nodiscard]] std::span<const planted_call> planted_calls_that_do_not();

}  // namespace gyre::test
