// SPDX-License-Identifier: MIT
// The scopes of responses, and their common end.
#include "graceful_stop.hpp"

#include <gyre/runtime/as_result.hpp>
#include <gyre/runtime/executor.hpp>
#include <gyre/runtime/scope.hpp>
#include <gyre/runtime/timer.hpp>

#include <utility>

namespace http {

gyre::task<> graceful_stop::watch() {
  // Never wakes: the one thing that ends it is the stop, told as an error instead of unwinding.
  (void)co_await gyre::as_result(
      gyre::stopped_as_error(gyre::sleep_until(std::chrono::steady_clock::time_point::max())));
  requested_ = true;
  end_ = std::chrono::steady_clock::now() + grace_period_;
  for (auto& response : responses_) limit(response.scope);
}

gyre::task<bool> graceful_stop::finish(gyre::task<bool> response) {
  auto region =
      gyre::with_cancel_scope([this, &response](gyre::cancel_scope& scope) { return run(std::move(response), scope); });
  const auto kept_open = co_await gyre::shield(std::move(region));
  co_return kept_open.value_or(false);
}

gyre::task<bool> graceful_stop::run(gyre::task<bool> response, gyre::cancel_scope& scope) {
  under_way listed{scope};
  responses_.push_back(listed);
  if (requested_) limit(scope);  // its request was complete in the very turn of the stop
  co_return co_await std::move(response);
}

void graceful_stop::limit(gyre::cancel_scope& scope) const { scope.set_deadline(end_); }

}  // namespace http
