// SPDX-License-Identifier: MIT
// The mutex would be free again before what follows.
// compile with: -Werror=unused-result
// must say: a guard that nobody keeps unlocks at once: name it
#include <gyre/runtime/task.hpp>
#include <gyre/sync/mutex.hpp>

gyre::task<> change(gyre::sync::mutex& guarded) { co_await guarded.lock(); }
