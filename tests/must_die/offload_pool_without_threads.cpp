// SPDX-License-Identifier: MIT
// A pool that may have no thread would never run anything.
// must say: a pool without a thread runs nothing
#include <gyre/runtime/offload.hpp>

int main() { const gyre::offload_pool pool{{.threads_max = 0}}; }
