// SPDX-License-Identifier: MIT
// A mutex goes while somebody holds it.
// must say: a mutex was destroyed while somebody holds it
#include <gyre/sync/mutex.hpp>

int main() {
  gyre::sync::mutex::guard held;
  gyre::sync::mutex locked;
  held = locked.try_lock();
}
