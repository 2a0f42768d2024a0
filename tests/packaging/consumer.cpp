// SPDX-License-Identifier: MIT
// A program of somebody else's, that finds an installed gyre through pkg-config: see installed.py.
#include <gyre/runtime/run.hpp>
#include <gyre/runtime/task.hpp>

gyre::task<> nothing() { co_return; }

int main() { return gyre::run(nothing()); }
