// SPDX-License-Identifier: MIT
// What is for one executor is used on its thread only.
// must say: a wait is ended by resume() on the thread of its executor
#include <gyre/runtime/executor.hpp>
#include <gyre/sync/event.hpp>

#include <thread>

gyre::task<> wait_for(gyre::sync::local_event& waited_for) { co_await waited_for.wait(); }

int main() {
  gyre::executor loop;
  gyre::sync::local_event happened;
  auto waits = loop.start(wait_for(happened));
  loop.run_ready();
  std::thread{[&] { happened.set(); }}.join();  // must stop here
}
