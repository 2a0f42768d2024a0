// SPDX-License-Identifier: MIT
// A compiler that was not told the standard says so first, and not only that it does not know what a concept is.
// compile with: -std=c++17
// must say: gyre needs C++20: compile with -std=c++20 or newer
#include <gyre/runtime/run.hpp>

gyre::task<> nothing() { co_return; }

int main() { return gyre::run(nothing()); }
