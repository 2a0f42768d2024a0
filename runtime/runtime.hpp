// SPDX-License-Identifier: MIT
// Several executors, one a thread, one thread a CPU: a root task on each of them, and one end for all.
//
// The executors share nothing. Each has its ring, its timers, and the tasks that were started on it; a connection stays
// with the executor that has accepted it. What has to cross goes by on() (on.hpp), or by executor::post().
//
// Life of a runtime:
//
//   constructed   the calling thread's executor is made, and the threads of the others; those park
//   run()         each executor runs the root task that it is given; returns when the last of them has ended
//   destroyed     tasks that visit an executor from elsewhere are stopped; when none is left on any of them, each
//                 thread drains its executor, destroys it, and ends
//
// Between two run()s, and before the first, the other executors park: they take visits and posts.
#pragma once

#include <gyre/runtime/executor.hpp>
#include <gyre/runtime/pinning.hpp>
#include <gyre/runtime/run.hpp>
#include <gyre/runtime/task.hpp>

#include <chrono>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

namespace gyre {

/// Whether each executor's thread stays on one CPU. Threads that a program starts in a task inherit that, unless they
/// restore cpus_before_pinning.
enum class pinning : std::uint8_t {
  if_one_each,  ///< Where there are as many executors as CPUs. With fewer the kernel knows better which are idle.
  always,
  never
};

/// What a runtime is made with.
struct runtime_options {
  /// How many; 0: as many as there are CPUs in `cpus`.
  unsigned executors = 0;

  /// Which CPUs to use, by their numbers: executor i is pinned on cpus[i % cpus.size()]. Empty: all that the calling
  /// thread may use, allowed_cpus().
  std::vector<unsigned> cpus = {};

  pinning pin = pinning::if_one_each;

  /// For each of them.
  executor_options executor = {};

  /// As run_options::grace_period.
  std::chrono::nanoseconds grace_period = std::chrono::seconds{30};

  /// Threads are called this, a slash, and the executor's index, as far as 15 characters go. The calling thread keeps
  /// its name.
  std::string thread_name = "gyre";
};

namespace detail {

/// Makes the root task of an executor, on its thread.
struct root_maker {
  task<int> (*make)(void* fn, std::size_t index);
  void* fn;
};

template <class Fn>
task<int> make_root(void* fn, std::size_t index) {
  Fn& make = *static_cast<Fn*>(fn);
  if constexpr (std::invocable<Fn&, std::size_t>) return with_status(std::invoke(make, index));
  else return with_status(std::invoke(make));
}

template <class Fn>
concept makes_roots = std::invocable<Fn&, std::size_t> || std::invocable<Fn&>;

class runtime_member;

}  // namespace detail

/// Several executors and their threads: see above.
///
///     gyre::runtime all{{.executors = 4}};
///     return all.run([](std::size_t index) -> gyre::task<> { co_await serve(index); });
class runtime {
 public:
  /// Makes the executors. The first is the calling thread's; each of the others has a thread of its own.
  ///
  /// @errors  std::system_error: a ring that the kernel does not give, as for an executor; a thread that it does not
  ///          give. A CPU that a thread cannot be pinned on is no error, and is told by notes().
  explicit runtime(runtime_options options = {});
  runtime(const runtime&) = delete;
  runtime& operator=(const runtime&) = delete;

  /// On the thread that made it, outside any turn. Tasks that visit its executors from elsewhere are stopped. In the
  /// child of a fork, where the other threads are not, it leaves their executors as they are, memory and all.
  ~runtime();

  [[nodiscard]] std::size_t size() const noexcept { return members_.size(); }

  /// The executor with that index; 0 is that of the thread that made the runtime, and is turned in run() only.
  ///
  /// @threads  Any, for what an executor offers to any thread: post(), and on().
  [[nodiscard]] executor& operator[](std::size_t index) noexcept;

  /// Runs a root task on each executor, and returns when all of them have ended.
  ///
  /// The first to fail has the others cancelled, and when they have ended its exception is rethrown; what else fails by
  /// then is logged. SIGINT, SIGTERM and SIGQUIT do what they do in gyre::run(), to all of the root tasks.
  ///
  /// @param make_root  Called once for each executor, on its thread, several at a time: with the executor's index if it
  ///                   takes one. Returns task<> or task<int>. Stays, captures and all, until the last task has ended.
  /// @return           EXIT_SUCCESS, or the first status by index that is another one. A task that was stopped counts
  ///                   as EXIT_SUCCESS.
  /// @errors           The exception of the first task that failed.
  /// @threads          The thread that made the runtime, outside any turn. One run() at a time in a process.
  template <detail::makes_roots Fn>
  int run(Fn make_root) {
    return run_all({&detail::make_root<Fn>, std::addressof(make_root)});
  }

  /// What each executor has counted.
  ///
  /// @threads  Any, but not where several executors may call it at once: waits for each executor's next turn, with the
  ///           calling thread. In a task, co_await on(all[i], …) has executor::current().statistics() instead.
  [[nodiscard]] std::vector<executor_statistics> statistics();

  /// Where the machine has given less than was asked for, in sentences: rings, CPUs. Empty when it is all.
  [[nodiscard]] std::string notes() const;

 private:
  int run_all(detail::root_maker maker);
  std::exception_ptr make_all() noexcept;
  void stop_visits() noexcept;
  void end_threads() noexcept;
  void leave_to_parent() noexcept;

  const runtime_options options_;
  std::vector<std::unique_ptr<detail::runtime_member>> members_;
};

}  // namespace gyre
