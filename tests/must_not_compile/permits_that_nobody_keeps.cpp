// SPDX-License-Identifier: MIT
// They would be given back before what follows.
// compile with: -Werror=unused-result
// must say: permits that nobody keeps are given back at once: name them
#include <gyre/runtime/task.hpp>
#include <gyre/sync/semaphore.hpp>

gyre::task<> use(gyre::sync::semaphore& connections) { co_await connections.acquire(); }
