// SPDX-License-Identifier: MIT
// A coroutine is not run by a pool's thread: it belongs to an executor.
// must say: offload() runs a function to its end on another thread; a task is awaited where it is
#include <gyre/runtime/offload.hpp>

gyre::task<int> number();

gyre::task<> awaits() {
  co_await gyre::offload([] { return number(); });
}
