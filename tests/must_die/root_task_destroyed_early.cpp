// SPDX-License-Identifier: MIT
// A root task goes away before it has ended.
// must say: a root task was destroyed before it ended
#include <gyre/runtime/executor.hpp>
#include <gyre/runtime/timer.hpp>

#include <chrono>

namespace {

gyre::task<> sleeps() { co_await gyre::sleep_for(std::chrono::hours{1}); }

}  // namespace

int main() {
  gyre::executor loop;
  const auto root = loop.start(sleeps());
  loop.run_ready();
}
