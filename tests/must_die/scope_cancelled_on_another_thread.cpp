// SPDX-License-Identifier: MIT
// A thread cancels a scope of an executor that it does not run, instead of posting the cancel.
// must say: post() what cancels it
#include <gyre/runtime/executor.hpp>

#include <thread>

int main() {
  gyre::executor loop;
  std::thread{[&] { loop.root_scope().cancel(); }}.join();  // must stop here
}
