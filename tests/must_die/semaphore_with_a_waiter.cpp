// SPDX-License-Identifier: MIT
// A semaphore stays as long as somebody waits for its permits.
// must say: a semaphore was destroyed while somebody waits
#include <gyre/runtime/executor.hpp>
#include <gyre/sync/semaphore.hpp>

#include <optional>

gyre::task<> wait_for_it(gyre::sync::semaphore& waited_for) { const auto held = co_await waited_for.acquire(); }

int main() {
  gyre::executor loop;
  std::optional<gyre::sync::semaphore> waited_for{std::in_place, 0};
  auto waits = loop.start(wait_for_it(*waited_for));
  loop.run_ready();
  waited_for.reset();  // must stop here
}
