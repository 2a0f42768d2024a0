// SPDX-License-Identifier: MIT
// A thread for what io_uring cannot do and would block the executor: here, reading directories.
//
// One thread, first come, first served: what waits is bounded by the number of connections.
#pragma once

#include <gyre/runtime/task.hpp>

#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <stop_token>
#include <thread>

namespace http {

class blocking_thread {
 public:
  blocking_thread() = default;

  /// Nothing may be queued or running.
  ~blocking_thread() = default;

  /// Runs `work` on the thread, and waits until it has run.
  ///
  /// @errors        What `work` throws; too_many_files_open when there is no descriptor to wait with.
  /// @cancellation  Not: the thread uses what the caller's frame holds.
  gyre::task<> run(std::function<void()> work);

 private:
  struct job;

  void enqueue(job& added);
  void serve(const std::stop_token& stop);
  static void run_one(job& next) noexcept;

  std::mutex mutex_;
  std::condition_variable_any changed_;
  std::deque<job*> jobs_;
  std::jthread thread_;  // begun by the first job; the last member, so that it ends before the others do
};

}  // namespace http
