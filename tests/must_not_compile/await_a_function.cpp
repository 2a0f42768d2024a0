// SPDX-License-Identifier: MIT
// A function that returns a task is no task: it has to be called.
// must say: this is a function that returns a task: call it, co_await f()
#include <gyre/runtime/task.hpp>

gyre::task<int> number();

gyre::task<int> awaits() { co_return co_await number; }
