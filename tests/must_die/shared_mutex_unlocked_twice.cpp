// SPDX-License-Identifier: MIT
// A guard unlocks what it holds, once.
// must say: a guard is unlocked once
#include <gyre/sync/shared_mutex.hpp>

int main() {
  gyre::sync::shared_mutex guarded;
  auto writing = guarded.try_lock();
  writing->unlock();
  writing->unlock();  // must stop here
}
