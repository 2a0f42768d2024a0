// SPDX-License-Identifier: MIT
// Nothing is locked before it is awaited.
// compile with: -Werror=unused-result
// must say: a lock is awaited: what is not locks nothing
#include <gyre/sync/mutex.hpp>

void change(gyre::sync::mutex& guarded) { guarded.lock(); }
