// SPDX-License-Identifier: MIT
// Threads and CPUs: which a thread may use, and how it is kept on one of them.
//
// A thread that is started inherits the mask of the one that starts it, and with that a pin which was meant for an
// executor. So a pinned thread knows which CPUs it had before, for those that it starts: cpus_before_pinning.
#pragma once

#include <cstddef>
#include <memory>
#include <system_error>
#include <vector>

namespace gyre::detail {

/// The mask of the calling thread, as it is now; restore() gives it to the thread that calls that.
class cpus_of_this_thread {
 public:
  cpus_of_this_thread();

  [[nodiscard]] std::vector<unsigned> numbers() const;
  void restore() const noexcept;

 private:
  std::vector<unsigned long> mask_;  // as sched_setaffinity(2) takes it
};

/// Keeps the thread that makes it on one CPU, until it is destroyed there.
class pinned_thread {
 public:
  explicit pinned_thread(unsigned cpu);
  ~pinned_thread();
  pinned_thread(const pinned_thread&) = delete;
  pinned_thread& operator=(const pinned_thread&) = delete;

  /// Why the thread runs where it ran before: there is no such CPU, or it may not use it.
  [[nodiscard]] std::error_code error() const noexcept { return error_; }

  /// What the calling thread had before it was pinned for the first time. Null: it is not pinned.
  [[nodiscard]] static std::shared_ptr<const cpus_of_this_thread> before() noexcept;

 private:
  static thread_local pinned_thread* latest;

  pinned_thread* older_;  // of the same thread
  std::shared_ptr<const cpus_of_this_thread> before_;
  const std::error_code error_;
};

}  // namespace gyre::detail
