// SPDX-License-Identifier: MIT
// The first of no tasks at all is awaited: it would never come.
// must say: to wait for the first of several takes at least one
#include <gyre/runtime/executor.hpp>
#include <gyre/runtime/when_any.hpp>

#include <vector>

int main() {
  gyre::executor loop;
  loop.run([]() -> gyre::task<> { co_await gyre::when_any(std::vector<gyre::task<>>{}); });
}
