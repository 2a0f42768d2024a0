// SPDX-License-Identifier: MIT
// Something that nobody can await.
// must say: this is no task, has no operator co_await, and lacks await_ready() or await_resume()
#include <gyre/runtime/task.hpp>

#include <chrono>

gyre::task<> awaits() { co_await std::chrono::seconds{1}; }
