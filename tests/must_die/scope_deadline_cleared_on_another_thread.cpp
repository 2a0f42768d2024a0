// SPDX-License-Identifier: MIT
// A thread clears the deadline of a scope of an executor that it does not run.
// must say: a scope's deadline is set and cleared on its executor's thread
#include <gyre/runtime/executor.hpp>

#include <thread>

int main() {
  gyre::executor loop;
  std::thread{[&] { loop.root_scope().clear_deadline(); }}.join();  // must stop here
}
