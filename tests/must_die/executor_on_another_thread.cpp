// SPDX-License-Identifier: MIT
// An executor is run by another thread than the one that made it.
// must say: an executor was used from another thread
#include <gyre/runtime/executor.hpp>

#include <thread>

int main() {
  gyre::executor loop;
  std::thread{[&] { loop.turn(/*may_park=*/false); }}.join();
}
