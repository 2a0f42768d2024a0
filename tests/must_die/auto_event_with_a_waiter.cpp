// SPDX-License-Identifier: MIT
// An auto_event stays as long as somebody waits for it.
// must say: an auto_event was destroyed while somebody waits
#include <gyre/runtime/executor.hpp>
#include <gyre/sync/auto_event.hpp>

#include <optional>

gyre::task<> wait_for_it(gyre::sync::auto_event& waited_for) { co_await waited_for.wait(); }

int main() {
  gyre::executor loop;
  std::optional<gyre::sync::auto_event> waited_for{std::in_place};
  auto waits = loop.start(wait_for_it(*waited_for));
  loop.run_ready();
  waited_for.reset();  // must stop here
}
