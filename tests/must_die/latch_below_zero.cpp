// SPDX-License-Identifier: MIT
// A latch counts as many things as it was told of.
// must say: a latch is counted down to zero and not below
#include <gyre/sync/latch.hpp>

int main() {
  gyre::sync::latch counted{2};
  counted.count_down();
  counted.count_down(2);  // must stop here
}
