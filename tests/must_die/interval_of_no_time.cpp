// SPDX-License-Identifier: MIT
// An interval with a period of zero would tick for ever without time passing.
// must say: an interval has a period of more than zero
#include <gyre/runtime/executor.hpp>
#include <gyre/runtime/timer.hpp>

gyre::task<> tick() {
  gyre::interval ticks{std::chrono::nanoseconds{0}};  // must stop here
  co_await ticks.next();
}

int main() {
  gyre::executor loop;
  loop.run(tick());
}
