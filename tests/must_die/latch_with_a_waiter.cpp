// SPDX-License-Identifier: MIT
// A latch stays as long as somebody waits for it.
// must say: a latch was destroyed while somebody waits
#include <gyre/runtime/executor.hpp>
#include <gyre/sync/latch.hpp>

#include <optional>

gyre::task<> wait_for_it(gyre::sync::latch& waited_for) { co_await waited_for.wait(); }

int main() {
  gyre::executor loop;
  std::optional<gyre::sync::latch> waited_for{std::in_place, 1};
  auto waits = loop.start(wait_for_it(*waited_for));
  loop.run_ready();
  waited_for.reset();  // must stop here
}
