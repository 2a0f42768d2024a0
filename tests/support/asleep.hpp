// SPDX-License-Identifier: MIT
// Whether a thread sleeps, and in which system call, for tests in which another one acts when it does.
#pragma once

#include <sys/syscall.h>
#include <unistd.h>

#include <fstream>
#include <string>
#include <thread>

namespace gyre::test {

/// The number of the system call in which a thread of this process sleeps; -1 while it runs.
inline long sleeps_in(pid_t thread) {
  std::ifstream told{"/proc/self/task/" + std::to_string(thread) + "/syscall"};
  long number = -1;
  return told >> number ? number : -1;
}

/// Whether /proc tells: some sandboxes do not let it.
inline bool proc_tells_of_sleeps() {
  std::string anything;
  return static_cast<bool>(std::ifstream{"/proc/self/syscall"} >> anything);
}

/// Returns when the thread sleeps in that system call.
inline void wait_until_it_sleeps_in(pid_t thread, long number) {
  while (sleeps_in(thread) != number) std::this_thread::yield();
}

}  // namespace gyre::test
