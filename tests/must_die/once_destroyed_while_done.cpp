// SPDX-License-Identifier: MIT
// A once stays until whoever does it is done.
// must say: a once was destroyed while somebody does it
#include <gyre/runtime/executor.hpp>
#include <gyre/runtime/timer.hpp>
#include <gyre/sync/once.hpp>

#include <chrono>
#include <optional>

gyre::task<> take_long() { co_await gyre::sleep_for(std::chrono::hours{1}); }

int main() {
  gyre::executor loop;
  std::optional<gyre::sync::once> made{std::in_place};
  auto makes = loop.start(made->call(&take_long));
  loop.run_ready();
  made.reset();  // must stop here
}
