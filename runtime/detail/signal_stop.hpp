// SPDX-License-Identifier: MIT
// The signals that end a program, or ask what it does: SIGINT, SIGTERM, SIGQUIT; for run() and for a runtime.
//
// A signal handler may do little: it posts one node to the executor, which has the tasks cancelled in its next turn, or
// told. It runs on any thread, and not after leave(): detail/signal_table.hpp. There a signal_set comes first: while
// one has a signal, that is the set's, and nothing is stopped by it.
#pragma once

#include <gyre/runtime/assert.hpp>
#include <gyre/runtime/detail/runnable.hpp>
#include <gyre/runtime/detail/signal_table.hpp>
#include <gyre/runtime/detail/timer_heap.hpp>
#include <gyre/runtime/executor.hpp>

#include <atomic>
#include <chrono>
#include <csignal>
#include <string>
#include <string_view>

namespace gyre::detail {

/// What signals are for. Called in turns of the executor that takes them.
class stoppable {
 public:
  [[nodiscard]] virtual bool done() const noexcept = 0;
  [[nodiscard]] virtual bool stop_requested() noexcept = 0;
  virtual void stop(std::string_view reason) noexcept = 0;

  /// The tree of its tasks: dump_tasks().
  [[nodiscard]] virtual std::string tasks() = 0;

 protected:
  ~stoppable() = default;
};

/// Logs who waits for what, in a turn of the executor. Asked for again before that, it is one request.
class dump_request : runnable {
 public:
  dump_request(stoppable& told, executor& loop) noexcept : runnable{kind_of_dump}, told_{told}, loop_{loop} {}

  /// In a signal handler.
  void post() noexcept {
    if (!queued_.exchange(true)) loop_.post(*this);
  }

  [[nodiscard]] bool queued() const noexcept { return queued_; }

 private:
  static void run(runnable& self) noexcept;
  static const runnable_kind kind_of_dump;

  stoppable& told_;
  executor& loop_;
  std::atomic<bool> queued_ = false;
};

/// Takes the signals of the process for as long as it lives: one at a time in a process.
class signal_stop : runnable, timer, signal_hearer {
 public:
  signal_stop(stoppable& stopped, executor& loop, std::chrono::nanoseconds grace);
  ~signal_stop();
  signal_stop(const signal_stop&) = delete;
  signal_stop& operator=(const signal_stop&) = delete;

 private:
  void heard(int number, const ::siginfo_t& about) noexcept override;
  static void run(runnable& self) noexcept;
  static void grace_ended(timer& self) noexcept;
  [[noreturn]] void give_up(const char* why) noexcept;

  static std::atomic<signal_stop*> taker;
  static const runnable_kind kind_of_stop;
  static const timer_kind kind_of_grace;

  stoppable& stopped_;
  executor& loop_;
  std::chrono::nanoseconds grace_;
  std::atomic<int> signals_count_ = 0;
  std::atomic<bool> queued_ = false;
  dump_request dump_{stopped_, loop_};
  struct ::sigaction sigpipe_before_{};
};

}  // namespace gyre::detail
