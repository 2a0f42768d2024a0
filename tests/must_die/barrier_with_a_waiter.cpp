// SPDX-License-Identifier: MIT
// A barrier stays as long as somebody waits in it.
// must say: a barrier was destroyed while somebody waits
#include <gyre/runtime/executor.hpp>
#include <gyre/sync/barrier.hpp>

#include <optional>

gyre::task<> wait_for_it(gyre::sync::barrier<>& waited_for) { co_await waited_for.arrive_and_wait(); }

int main() {
  gyre::executor loop;
  std::optional<gyre::sync::barrier<>> waited_for{std::in_place, 2};
  auto waits = loop.start(wait_for_it(*waited_for));
  loop.run_ready();
  waited_for.reset();  // must stop here
}
