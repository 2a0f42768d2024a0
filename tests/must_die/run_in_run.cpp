// SPDX-License-Identifier: MIT
// A run() inside another: which of them would a signal stop?
// must say: one run() at a time in a process
#include <gyre/runtime/run.hpp>

int main() {
  return gyre::run([]() -> gyre::task<> {
    gyre::run([]() -> gyre::task<> { co_return; }());
    co_return;
  }());
}
