// SPDX-License-Identifier: MIT
// The main() of every test program: doctest's own. Compiled once, linked into each.
#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include <doctest/doctest.h>
