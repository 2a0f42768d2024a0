// SPDX-License-Identifier: MIT
// An executor goes away while a task is still running on it.
// must say: an executor was destroyed while tasks are still running on it
#include <gyre/runtime/executor.hpp>
#include <gyre/runtime/timer.hpp>

#include <chrono>
#include <memory>

namespace {

gyre::task<> sleeps() { co_await gyre::sleep_for(std::chrono::hours{1}); }

}  // namespace

int main() {
  auto loop = std::make_unique<gyre::executor>();
  auto* const left_behind = new gyre::root_task<void>{*loop, sleeps()};
  loop->run_ready();
  loop.reset();  // must stop here
  delete left_behind;
}
