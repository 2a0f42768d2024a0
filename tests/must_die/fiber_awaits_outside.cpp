// SPDX-License-Identifier: MIT
// A coroutine awaits by co_await.
// must say: fiber::await() is for code that on_fiber() runs; a coroutine says co_await
#include <gyre/runtime/executor.hpp>
#include <gyre/runtime/fiber.hpp>
#include <gyre/runtime/timer.hpp>

#include <chrono>

gyre::task<> await_as_a_fiber() {
  gyre::fiber::await(gyre::sleep_for(std::chrono::seconds{1}));  // must stop here
  co_return;
}

int main() {
  gyre::executor loop;
  loop.run(await_as_a_fiber());
}
