// SPDX-License-Identifier: MIT
// An event stays as long as somebody waits for it.
// must say: an event was destroyed while somebody waits
#include <gyre/runtime/executor.hpp>
#include <gyre/sync/event.hpp>

#include <optional>

gyre::task<> wait_for_it(gyre::sync::event& waited_for) { co_await waited_for.wait(); }

int main() {
  gyre::executor loop;
  std::optional<gyre::sync::event> waited_for{std::in_place};
  auto waits = loop.start(wait_for_it(*waited_for));
  loop.run_ready();
  waited_for.reset();  // must stop here
}
