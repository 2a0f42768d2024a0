// SPDX-License-Identifier: MIT
// An executor on a scripted ring, and the two of them side by side for a test.
#pragma once

#include <gyre/runtime/detail/scripted_ring.hpp>
#include <gyre/runtime/executor.hpp>
#include <gyre/runtime/root_task.hpp>

#include <chrono>
#include <memory>
#include <utility>

namespace gyre::test {

struct scripted_executor {
  using ring_options = detail::scripted_ring::options;

  explicit scripted_executor(const ring_options& ring = {}, const executor_options& options = {})
      : scripted_executor{options, std::make_unique<detail::scripted_ring>(ring)} {}

  /// Lets time pass, and then the executor turn until nothing is ready.
  void advance(std::chrono::nanoseconds by) {
    script.advance(by);
    loop.run_ready();
  }

  /// The same a millisecond at a time.
  void run_for(std::chrono::milliseconds duration) {
    loop.run_ready();
    for (std::chrono::milliseconds passed{0}; passed < duration; ++passed) advance(std::chrono::milliseconds{1});
  }

  /// Cancels a task, and lets end what ends by that.
  template <class T>
  void stop(root_task<T>& root) {
    root.cancel();
    loop.run_ready();
  }

  detail::scripted_ring& script;
  executor loop;

 private:
  scripted_executor(const executor_options& options, std::unique_ptr<detail::scripted_ring> ring)
      : script{*ring}, loop{std::move(ring), options} {}
};

/// With these the test answers cancels: nothing ends because it was asked to.
inline constexpr scripted_executor::ring_options by_hand{.on_cancel = detail::scripted_ring::cancels::by_hand};

/// With these a turn resumes one, so that a test sees every state in between.
inline const executor_options one_at_a_time{.turn_budget = 1};

}  // namespace gyre::test
