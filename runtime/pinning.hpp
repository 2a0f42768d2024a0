// SPDX-License-Identifier: MIT
// Which CPUs threads may use: those that a program is given, and those of threads that are started on a pinned one.
//
// Which executors a runtime pins, and where, is said in runtime.hpp.
#pragma once

#include <memory>
#include <vector>

namespace gyre {
namespace detail {
class cpus_of_this_thread;
}

/// The CPUs that the calling thread may use: what cpusets and taskset(1) leave of those that are there. The quota of a
/// control group (cpu.max) is none of this.
///
/// @source  sched_getaffinity(2).
[[nodiscard]] std::vector<unsigned> allowed_cpus();

/// The CPUs for a thread that is started here. A new thread inherits those of the thread that starts it; where that is
/// pinned by a runtime, it is one, which is busy with an executor. This has those from before the pinning:
///
///     std::thread beside{[cpus = gyre::cpus_before_pinning{}] {
///       cpus.restore();
///       compute();
///     }};
///
/// The threads of an offload_pool, and of a net::resolver, do so themselves.
class cpus_before_pinning {
 public:
  /// Those of the calling thread. It is remembered where no runtime has pinned it, too.
  cpus_before_pinning() noexcept;

  /// Gives them to the calling thread. Nothing, where the one that made this was not pinned: whatever else it was kept
  /// on is meant for its threads as well. CPUs that have gone meanwhile are left out.
  ///
  /// @threads  Any.
  /// @source   sched_setaffinity(2).
  void restore() const noexcept;

 private:
  std::shared_ptr<const detail::cpus_of_this_thread> cpus_;  // null: not pinned
};

}  // namespace gyre
