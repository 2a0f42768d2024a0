// SPDX-License-Identifier: MIT
// Threads and CPUs: which a thread may use, and how it is kept on one of them.
#pragma once

#include <cstddef>
#include <system_error>
#include <vector>

namespace gyre::detail {

/// Keeps the calling thread on one CPU. An error where there is no such CPU, or it may not use it.
[[nodiscard]] std::error_code pin_this_thread(unsigned cpu);

/// The mask of the calling thread, as it is now; restore() sets it again.
class cpus_of_this_thread {
 public:
  cpus_of_this_thread();

  [[nodiscard]] std::vector<unsigned> numbers() const;
  void restore() const noexcept;

 private:
  std::vector<unsigned long> mask_;  // as sched_setaffinity(2) takes it
};

}  // namespace gyre::detail
