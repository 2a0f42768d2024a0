// SPDX-License-Identifier: MIT
// A linked timeout is asked for on an operation that a kernel worker runs, where it would never fire.
// must say: a linked timeout never fires on what a kernel worker runs
#include <gyre/runtime/ops/file.hpp>
#include <gyre/runtime/ops/timeout.hpp>

#include <chrono>

int main() { static_cast<void>(gyre::ops::link_timeout(gyre::ops::fsync(0), std::chrono::seconds{1})); }
