// SPDX-License-Identifier: MIT
// A task is no operation, and cannot be a member of a chain.
// must say: a chain is made of operations that are one request each
#include <gyre/runtime/ops/link.hpp>
#include <gyre/runtime/ops/misc.hpp>
#include <gyre/runtime/task.hpp>

auto linked(gyre::task<> body) { return gyre::ops::link(gyre::ops::nop(), std::move(body)); }
