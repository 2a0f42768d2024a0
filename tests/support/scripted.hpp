// SPDX-License-Identifier: MIT
// An executor on a scripted ring, and the two of them side by side for a test.
#pragma once

#include <gyre/runtime/detail/scripted_ring.hpp>
#include <gyre/runtime/executor.hpp>

#include <memory>
#include <utility>

namespace gyre::test {

struct scripted_executor {
  using ring_options = detail::scripted_ring::options;

  explicit scripted_executor(const ring_options& ring = {}, const executor_options& options = {})
      : scripted_executor{options, std::make_unique<detail::scripted_ring>(ring)} {}

  detail::scripted_ring& script;
  executor loop;

 private:
  scripted_executor(const executor_options& options, std::unique_ptr<detail::scripted_ring> ring)
      : script{*ring}, loop{std::move(ring), options} {}
};

}  // namespace gyre::test
