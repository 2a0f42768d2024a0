// SPDX-License-Identifier: MIT
// A shared_mutex is free when it ends: its guard would unlock what is not there.
// must say: a shared_mutex was destroyed while somebody holds it
#include <gyre/sync/shared_mutex.hpp>

#include <optional>

int main() {
  std::optional<gyre::sync::shared_mutex> guarded{std::in_place};
  const auto reading = guarded->try_lock_shared();
  guarded.reset();  // must stop here
}
