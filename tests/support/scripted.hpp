// SPDX-License-Identifier: MIT
// An executor on a scripted ring, and the two of them side by side for a test.
#pragma once

#include <gyre/runtime/detail/scripted_ring.hpp>
#include <gyre/runtime/executor.hpp>

#include <chrono>
#include <memory>
#include <utility>

namespace gyre::test {

struct scripted_executor {
  using ring_options = detail::scripted_ring::options;

  explicit scripted_executor(const ring_options& ring = {}, const executor_options& options = {})
      : scripted_executor{options, std::make_unique<detail::scripted_ring>(ring)} {}

  /// Lets `duration` pass, a millisecond at a time, and the executor turn in between.
  void run_for(std::chrono::milliseconds duration) {
    loop.run_ready();
    for (std::chrono::milliseconds passed{0}; passed < duration; ++passed) {
      script.advance(std::chrono::milliseconds{1});
      loop.run_ready();
    }
  }

  detail::scripted_ring& script;
  executor loop;

 private:
  scripted_executor(const executor_options& options, std::unique_ptr<detail::scripted_ring> ring)
      : script{*ring}, loop{std::move(ring), options} {}
};

/// With these the test answers cancels: nothing ends because it was asked to.
inline constexpr scripted_executor::ring_options by_hand{.on_cancel = detail::scripted_ring::cancels::by_hand};

}  // namespace gyre::test
