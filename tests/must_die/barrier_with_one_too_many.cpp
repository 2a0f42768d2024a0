// SPDX-License-Identifier: MIT
// Who has dropped arrives no more.
// must say: no more arrive at a barrier than it expects
#include <gyre/sync/barrier.hpp>

int main() {
  gyre::sync::barrier together{1};
  together.arrive_and_drop();
  together.arrive_and_drop();  // must stop here
}
