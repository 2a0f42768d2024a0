// SPDX-License-Identifier: MIT
// Permits are given back by who holds them, once.
// must say: permits are given back once
#include <gyre/sync/semaphore.hpp>

#include <utility>

int main() {
  gyre::sync::semaphore permits{1};
  auto held = permits.try_acquire();
  const auto elsewhere = std::move(*held);
  held->release();  // must stop here
}
