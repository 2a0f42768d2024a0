// SPDX-License-Identifier: MIT
// A movable deadline is given to two waits at a time: a move could be meant for either.
// must say: a movable deadline limits one wait at a time
#include <gyre/runtime/deadline.hpp>
#include <gyre/runtime/timer.hpp>
#include <gyre/runtime/when_all.hpp>

using namespace std::chrono_literals;

gyre::task<> sleep_until_idle(gyre::movable_deadline<>& idle) {
  co_await gyre::with_deadline(idle, gyre::sleep_for(1h));  // the second must stop here
}

gyre::task<> share_one() {
  gyre::movable_deadline idle{1h};
  co_await gyre::when_all(sleep_until_idle(idle), sleep_until_idle(idle));
}

int main() {
  gyre::executor loop;
  loop.run(share_one());
}
