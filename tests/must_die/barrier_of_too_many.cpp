// SPDX-License-Identifier: MIT
// More than its word can count: a phase would seem complete long before all have arrived.
// must say: a barrier expects max() at most
#include <gyre/sync/barrier.hpp>

int main() {
  gyre::sync::barrier together{gyre::sync::barrier<>::max() + 1};  // must stop here
}
