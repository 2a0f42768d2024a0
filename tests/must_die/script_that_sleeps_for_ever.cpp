// SPDX-License-Identifier: MIT
// A test's script leaves an executor with nothing to wait for: better to stop than to hang.
// must say: the script sleeps for ever: nothing is scheduled
#include "../support/scripted.hpp"

int main() {
  gyre::test::scripted_executor on;
  on.loop.turn(/*may_park=*/true);
}
