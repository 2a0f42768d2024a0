// SPDX-License-Identifier: MIT
// What goes when a fiber is stopped waits for nothing any more.
// must say: the destructors of a fiber that is stopped await nothing
#include <gyre/runtime/executor.hpp>
#include <gyre/runtime/fiber.hpp>
#include <gyre/runtime/this_task.hpp>
#include <gyre/runtime/timer.hpp>

#include <chrono>

struct says_goodbye {
  ~says_goodbye() { gyre::fiber::await(gyre::this_task::yield()); }  // must stop here
};

int main() {
  gyre::executor loop;
  auto waiting = loop.start(gyre::on_fiber([] {
    const says_goodbye local;
    gyre::fiber::await(gyre::sleep_for(std::chrono::hours{1}));
  }));
  loop.run_ready();
  waiting.cancel();
  loop.run_ready();
}
