// SPDX-License-Identifier: MIT
// A mutex goes while somebody holds it.
// must say: a mutex was destroyed while somebody holds it
#include <gyre/sync/mutex.hpp>

#include <memory>

int main() {
  auto locked = std::make_unique<gyre::sync::mutex>();
  const auto held = locked->try_lock();
  locked.reset();
}
