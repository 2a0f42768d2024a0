// SPDX-License-Identifier: MIT
// A program of somebody else's, that finds gyre through pkg-config: see installed.py. Its awaits would overflow the
// stack of a compiler that was not told how gyre's headers want to be compiled.
#include <gyre/runtime/run.hpp>
#include <gyre/runtime/task.hpp>

gyre::task<> nothing() { co_return; }

gyre::task<> a_million_times_nothing() {
  for (int i = 0; i < 1'000'000; ++i) co_await nothing();
}

int main() { return gyre::run(a_million_times_nothing()); }
