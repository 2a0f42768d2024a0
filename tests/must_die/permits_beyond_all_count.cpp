// SPDX-License-Identifier: MIT
// No more permits are given than can be counted, also where somebody waits for some of them.
// must say: more permits were given than can be counted
#include <gyre/runtime/executor.hpp>
#include <gyre/sync/semaphore.hpp>

#include <cstdint>

int main() {
  gyre::executor loop;
  gyre::sync::semaphore permits{1};
  auto waiting = loop.start(
      [](gyre::sync::semaphore& from) -> gyre::task<> { const auto held = co_await from.acquire(3); }(permits));
  loop.run_ready();
  permits.release(UINT64_MAX);  // must stop here
}
