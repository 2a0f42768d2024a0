// SPDX-License-Identifier: MIT
// A coroutine blocks its executor's thread for a mutex, instead of awaiting it.
// must say: a turn of an executor never blocks
#include <gyre/runtime/executor.hpp>
#include <gyre/sync/mutex.hpp>

namespace {

gyre::task<> block_for(gyre::sync::mutex& locked) {
  static_cast<void>(locked.lock_blocking());
  co_return;
}

}  // namespace

int main() {
  gyre::executor loop;
  gyre::sync::mutex locked;
  const auto held = locked.lock_blocking();
  loop.run(block_for(locked));
}
